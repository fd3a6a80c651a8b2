use super::{Limits, Pickle, PickleError, Value};

/// Reads a dict of text to integers: the reference's `token_to_ix.pkl`. Pairs in file order.
pub fn read_index(bytes: &[u8]) -> Result<Vec<(String, i64)>, PickleError> {
    let pickle = Pickle::read(bytes, &[], Limits::default())?;
    if pickle.length() < bytes.len() {
        let more = bytes.len() - pickle.length();
        return Err(PickleError::Content(format!("{more} bytes follow the pickle; expected a single dict")));
    }
    let pairs = pickle.pairs(pickle.root()).ok_or_else(|| {
        let found = pickle.describe(pickle.root());
        PickleError::Content(format!("the pickle is {found}, expected a dict of words and their indices"))
    })?;
    let pair = |&(key, value): &(Value, Value)| match (pickle.text(key), value) {
        (Some(word), Value::Int(index)) => Ok((word.to_owned(), index)),
        _ => {
            let (key, value) = (pickle.describe(key), pickle.describe(value));
            Err(PickleError::Content(format!("{key} has {value}, expected a word and its index")))
        }
    };
    pairs.iter().map(pair).collect()
}
