//! Annotations, the dataset, transforms, batches, the loader.
