//! What data can be.

use super::{WIDTH, at_most, demand};
use crate::config::{ConfigError, DataConfig, Transform};

pub(super) fn check(data: &DataConfig) -> Result<(), ConfigError> {
    at_most([
        ("data.image_size", data.image_size, 1 << 14),
        ("data.max_words", data.max_words, WIDTH),
        ("data.referents_per_image", data.referents_per_image, WIDTH),
        ("data.workers", data.workers, 1024),
    ])?;
    demand(data.image_size > 0, "data.image_size", 0, "must be positive")?;
    demand(data.max_words > 0, "data.max_words", 0, "must be positive")?;
    demand(data.referents_per_image > 0, "data.referents_per_image", 0, "must be at least 1")?;
    demand(
        data.jitter[0] > 0.0 && data.jitter[0] <= data.jitter[1],
        "data.jitter",
        format!("{:?}", data.jitter),
        "smallest and largest factor, both positive",
    )?;
    demand(
        data.train_transform != Transform::CloseUp || data.referents_per_image == 1,
        "data.referents_per_image",
        data.referents_per_image,
        "must be 1 with close-ups, which referents don't share",
    )?;
    let close_up = &data.close_up;
    for (key, number, most) in [
        ("data.close_up.margin", close_up.margin, 10.0),
        ("data.close_up.jitter", close_up.jitter, 1.0),
        ("data.close_up.rotation", close_up.rotation, 180.0),
        ("data.close_up.mirrored", close_up.mirrored, 1.0),
    ] {
        demand((0.0..=most).contains(&number), key, number, format!("must be between 0 and {most}"))?;
    }
    Ok(())
}
