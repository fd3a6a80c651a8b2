#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::config::Config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(config) = Config::from_toml(text, "fuzz") {
        assert_eq!(Config::from_toml(&config.to_toml(), "again").expect("what was written is read"), config);
    }
});
