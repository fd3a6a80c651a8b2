//! Class labels of referents: any fields of the records, numbered, for a pretext task.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Annotations, DataError};

/// A referent that lacks the field.
pub const NO_LABEL: u32 = u32::MAX;

/// Per field the number of each referent's value among the sorted values of all splits.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// Values of each field.
    pub classes: Vec<usize>,
    /// `[referents][fields]`; empty when no field is asked for.
    of: Vec<Vec<u32>>,
}

impl Labels {
    /// Reads `fields` of every record; `split` is the one whose referents are numbered.
    pub(super) fn read(annotations: &Annotations, split: &str, fields: &[String]) -> Result<Self, DataError> {
        if fields.is_empty() {
            return Ok(Self::default());
        }
        let mut values = vec![BTreeSet::new(); fields.len()];
        for name in annotations.splits() {
            for record in annotations.records(name)? {
                for (values, value) in values.iter_mut().zip(read_fields(record, fields)) {
                    values.extend(value);
                }
            }
        }
        let numbers: Vec<BTreeMap<String, u32>> =
            values.into_iter().map(|values| values.into_iter().zip(0..).collect()).collect();
        let number = |record: &str| {
            let values = read_fields(record, fields).into_iter().zip(&numbers);
            values.map(|(value, numbers)| value.map_or(NO_LABEL, |value| numbers[&value])).collect()
        };
        let of = annotations.records(split)?.map(number).collect();
        Ok(Self { classes: numbers.iter().map(BTreeMap::len).collect(), of })
    }

    /// Labels of a referent, one a field.
    pub(super) fn of(&self, referent: usize) -> Vec<u32> {
        self.of.get(referent).cloned().unwrap_or_default()
    }
}

/// The fields' values as text; records were found to be JSON objects when the file was read.
fn read_fields(record: &str, fields: &[String]) -> Vec<Option<String>> {
    let record: Value = serde_json::from_str(record).unwrap_or(Value::Null);
    fields
        .iter()
        .map(|field| record.get(field).filter(|value| !value.is_null()).map(Value::to_string))
        .collect()
}
