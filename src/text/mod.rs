//! Expressions: cleaning, vocabulary, word vectors.
