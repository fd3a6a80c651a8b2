#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::pickle::{Limits, Pickle, Value, read_index};

fuzz_target!(|bytes: &[u8]| {
    drop(read_index(bytes));
    let allowed = [("collections", "OrderedDict"), ("torch", "FloatStorage")];
    if let Ok(pickle) = Pickle::read(bytes, &allowed, Limits::default()) {
        let mut values: Vec<Value> = vec![pickle.root()];
        for _ in 0..1000 {
            let Some(value) = values.pop() else { break };
            pickle.describe(value);
            values.extend(pickle.items(value).unwrap_or_default().iter().take(100));
            values.extend(pickle.pairs(value).unwrap_or_default().iter().take(100).map(|pair| pair.1));
        }
    }
});
