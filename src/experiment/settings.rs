//! What of a configuration decides about a result.

use serde_json::{Map, Value, json};

use crate::config::Config;

/// What a configuration says beyond the defaults, without what has no influence on the result: a key
/// that is added with a default that changes nothing leaves the keys of steps as they are.
pub fn settings(config: &Config) -> Value {
    let neutral = Config::default();
    let mut config = config.clone();
    config.data.root.clone_from(&neutral.data.root);
    config.data.train_annotations.clone_from(&neutral.data.train_annotations);
    config.data.test_splits.clone_from(&neutral.data.test_splits);
    config.data.workers = neutral.data.workers;
    config.train.finetune_from = None;
    // By its content among the inputs.
    config.train.backbone = None;
    config.train.log_every = neutral.train.log_every;
    config.train.save_every = neutral.train.save_every;
    config.train.keep = neutral.train.keep;
    let json = |config: &Config| serde_json::to_value(config).expect("plain data");
    difference(json(&config), &json(&neutral)).unwrap_or_else(|| json!({}))
}

/// What of `ours` differs from `theirs`.
fn difference(ours: Value, theirs: &Value) -> Option<Value> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let differing = ours.into_iter().filter_map(|(name, value)| {
                let difference = difference(value, theirs.get(&name).unwrap_or(&Value::Null))?;
                Some((name, difference))
            });
            let differing: Map<String, Value> = differing.collect();
            (!differing.is_empty()).then_some(Value::Object(differing))
        }
        (ours, theirs) => (ours != *theirs).then_some(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_influence_is_in_the_settings() {
        let plain = Config::default();
        assert_eq!(settings(&plain), json!({}));
        let mut config = plain.clone();
        config.data.root = "elsewhere".into();
        config.data.workers = 3;
        config.train.log_every = 1;
        config.train.finetune_from = Some("somewhere".into());
        assert_eq!(settings(&config), json!({}));
        config.train.lr = 1.0;
        config.model.darknet.frozen = 0;
        config.data.images.insert("toy".into(), "toy/{image_id}.png".into());
        let expected = json!({
            "train": {"lr": 1.0},
            "model": {"darknet": {"frozen": 0}},
            "data": {"images": {"toy": "toy/{image_id}.png"}},
        });
        assert_eq!(settings(&config), expected);
    }
}
