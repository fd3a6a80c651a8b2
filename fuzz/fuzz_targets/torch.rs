#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::torch::Container;

fuzz_target!(|bytes: &[u8]| {
    let Ok(container) = Container::open(bytes) else { return };
    let Ok(file) = container.read() else { return };
    let mut values = vec![file.root()];
    for _ in 0..200 {
        let Some(value) = values.pop() else { break };
        file.describe(value);
        file.number(value);
        file.bytes(value);
        if let Some(Ok(tensor)) = file.tensor(value)
            && tensor.elements() < 1 << 16
        {
            tensor.to_f32();
            tensor.to_i64();
        }
        values.extend(file.items(value).unwrap_or_default().iter().take(100));
        values.extend(file.pairs(value).unwrap_or_default().iter().take(100).map(|pair| pair.1));
    }
});
