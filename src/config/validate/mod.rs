//! Values that contradict each other or make no sense.

mod data;
mod model;
mod train;

use super::{Config, ConfigError};

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    config.model.check()?;
    data::check(&config.data)?;
    train::check(&config.train)
}

fn demand(
    holds: bool,
    key: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Value { key, found: found.to_string(), expected: expected.into() })
    }
}

/// Widths of layers, and rows of tables.
const WIDTH: usize = 1 << 16;
/// Layers of a kind.
const LAYERS: usize = 1000;
/// Epochs, steps, rows.
const COUNT: usize = 1_000_000_000;

/// Key, value, the most that makes sense. No network or training comes near these. A configuration that came with a
/// stranger's checkpoint must not take all memory, nor let counters overflow.
fn at_most<const N: usize>(values: [(&'static str, usize, usize); N]) -> Result<(), ConfigError> {
    values.into_iter().try_for_each(|(key, found, most)| {
        demand(found <= most, key, found, format!("must be at most {most}"))
    })
}

/// Key and value.
fn not_negative<const N: usize>(values: [(&'static str, f64); N]) -> Result<(), ConfigError> {
    values.into_iter().try_for_each(|(key, number)| {
        demand(number.is_finite() && number >= 0.0, key, number, "must be a number that is not negative")
    })
}
