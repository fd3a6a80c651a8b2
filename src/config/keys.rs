//! Unknown keys, and which known one was probably meant.

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Tables whose keys are the user's own.
const FREE: [&str; 1] = ["data.images"];
/// Keys that have no value by default and so do not show in a printed default.
const OPTIONAL: [&str; 2] = ["train.finetune_from", "train.backbone"];

/// Every key of `table` must be a key of [`Config`].
pub(super) fn check(table: &Table, place: &str) -> Result<(), ConfigError> {
    let known = known();
    for key in paths(table) {
        let free = FREE.iter().any(|free| key == *free || key.starts_with(&format!("{free}.")));
        let section = known.iter().any(|k| k.starts_with(&format!("{key}.")));
        if !free && !section && !known.contains(&key) {
            let nearest = nearest(&key, &known);
            return Err(ConfigError::UnknownKey { place: place.into(), key, nearest });
        }
    }
    Ok(())
}

fn known() -> Vec<String> {
    let table = Table::try_from(Config::default()).expect("a Config holds nothing that TOML can't say");
    paths(&table).into_iter().chain(OPTIONAL.map(str::to_owned)).collect()
}

fn paths(table: &Table) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                all.extend(paths(inner).into_iter().map(|rest| format!("{key}.{rest}")));
            }
            _ => all.push(key.clone()),
        }
    }
    all
}

/// By the whole path, or by the last part when the section is wrong or left out.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |candidate: &String| {
        let whole = strsim::jaro_winkler(key, candidate);
        let tail = strsim::jaro_winkler(&last(key), &last(candidate)) - 0.02;
        whole.max(tail)
    };
    known
        .iter()
        .map(|candidate| (score(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.8)
        .map(|(_, candidate)| candidate.clone())
}
