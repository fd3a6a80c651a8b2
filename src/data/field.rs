//! One field of a record exchanged, everything else left as it stands in the file.

use super::records;

/// The text of a record, a JSON object, with `value` (JSON too) in the place of the field's value; a
/// field that is missing is added at the end. Nothing for a text that is no object.
pub fn with_field(record: &str, field: &str, value: &str) -> Option<String> {
    if let Some(span) = records::field(record, field).ok()? {
        return Some(format!("{}{value}{}", &record[..span.start], &record[span.end..]));
    }
    let inside = record.trim_end().strip_suffix('}')?;
    let comma = if inside.trim_end().ends_with('{') { "" } else { ", " };
    let key = serde_json::to_string(field).expect("a string is JSON");
    Some(format!("{inside}{comma}{key}: {value}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_field_of_the_record_itself_changes() {
        for (record, expected) in [
            (
                r#"{"a": {"mask": 1}, "mask" : [[1, 2]] ,"b": "\"mask\": 3"}"#,
                r#"{"a": {"mask": 1}, "mask" : X ,"b": "\"mask\": 3"}"#,
            ),
            (r#"{"mask": 5}"#, r#"{"mask": X}"#),
            (r#"{"a": 1 }"#, r#"{"a": 1 , "mask": X}"#),
            ("{ }", r#"{ "mask": X}"#),
        ] {
            assert_eq!(with_field(record, "mask", "X").as_deref(), Some(expected));
        }
        assert_eq!(with_field("[1]", "mask", "X"), None);
    }
}
