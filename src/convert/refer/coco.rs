//! COCO's `instances.json`, read as a stream: of hundreds of megabytes only what is wanted stays.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Image {
    id: u64,
    pub width: u64,
    pub height: u64,
}

#[derive(Deserialize)]
pub(super) struct Instance {
    id: u64,
    pub image_id: u64,
    /// As they stand in the file.
    pub bbox: Value,
    pub segmentation: Value,
    pub category_id: u64,
}

pub(super) type Coco = (HashMap<u64, Image>, HashMap<u64, Instance>);

/// All images, and the annotations in `wanted`, by their ids.
pub(super) fn read(file: File, wanted: &HashSet<u64>) -> Result<Coco, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 20, file));
    let coco = reader.deserialize_map(Top { wanted })?;
    reader.end()?;
    Ok(coco)
}

struct Top<'a> {
    wanted: &'a HashSet<u64>,
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Coco;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("COCO's {\"images\": […], \"annotations\": […]}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Coco, A::Error> {
        let (mut images, mut instances) = (HashMap::new(), HashMap::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "images" => map.next_value_seed(Each::new(|image: Image| {
                    images.insert(image.id, image);
                }))?,
                "annotations" => map.next_value_seed(Each::new(|instance: Instance| {
                    if self.wanted.contains(&instance.id) {
                        instances.insert(instance.id, instance);
                    }
                }))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok((images, instances))
    }
}

/// Hands every element of a list to a function.
struct Each<T, F> {
    take: F,
    element: PhantomData<T>,
}

impl<T, F: FnMut(T)> Each<T, F> {
    fn new(take: F) -> Self {
        Self { take, element: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            (self.take)(element);
        }
        Ok(())
    }
}
