//! Flat rows as CSV: a column for each field.

use std::fs::File;
use std::path::Path;

use ::csv::{ErrorKind, Reader, StringRecord, Writer, WriterBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::experiment::ExperimentError;

/// The rows below the names of their columns, which stand there also without rows.
pub fn text<T: Serialize + Default>(rows: &[T]) -> String {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().has_headers(false).from_writer(&mut bytes);
    writer.write_record(&columns::<T>()).expect("memory takes all");
    rows.iter().for_each(|row| writer.serialize(row).expect("a row is flat"));
    drop(writer);
    String::from_utf8(bytes).expect("text makes text")
}

/// The names of the fields.
fn columns<T: Serialize + Default>() -> StringRecord {
    let mut bytes = Vec::new();
    Writer::from_writer(&mut bytes).serialize(T::default()).expect("a row is flat");
    Reader::from_reader(&bytes[..]).headers().expect("just written").clone()
}

/// A file that is not there has no rows.
pub fn read<T: Serialize + DeserializeOwned + Default>(path: &Path) -> Result<Vec<T>, ExperimentError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ExperimentError::Io { path: path.into(), source }),
    };
    let wrong = |problem: String| ExperimentError::Table { path: path.display().to_string(), problem };
    let columns = columns::<T>();
    let mut reader = Reader::from_reader(file);
    if *reader.headers().map_err(|error| wrong(error.to_string()))? != columns {
        let names = columns.iter().collect::<Vec<_>>().join(",");
        return Err(wrong(format!("its first line is not `{names}`; move it away")));
    }
    let row = |record: Result<StringRecord, ::csv::Error>| {
        let record = record.map_err(|error| wrong(format!("{error}; correct it, or move the file away")))?;
        let found = record.deserialize(Some(&columns));
        found.map_err(|error| wrong(problem(&error, &record, &columns)))
    };
    reader.records().map(row).collect()
}

/// A value that does not belong where it stands.
fn problem(error: &::csv::Error, record: &StringRecord, columns: &StringRecord) -> String {
    let ErrorKind::Deserialize { pos, err } = error.kind() else { return error.to_string() };
    let line = pos.as_ref().map_or(0, ::csv::Position::line);
    let place = err.field().and_then(|field| usize::try_from(field).ok());
    let cell = |of: &StringRecord| place.and_then(|place| of.get(place)).unwrap_or_default().to_owned();
    let (column, found, kind) = (cell(columns), cell(record), err.kind());
    format!("line {line}, column {column}: found `{found}` ({kind}); correct it, or move the file away")
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::super::{CurvePoint, LabelRow, RawRow};
    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Point {
        row: String,
        seed: u64,
        miou: Option<f64>,
    }

    #[test]
    fn rows_come_back_whatever_they_are_called() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("points.csv");
        let point = |row: &str, seed, miou| Point { row: row.into(), seed, miou };
        let names = ["unc-5", "2024", "1e5", "", "a, \"b\"\nc", "true"];
        let points: Vec<Point> =
            names.into_iter().zip(1..).map(|(name, seed)| point(name, seed, None)).collect();
        for rows in [&points[..], &[point("e5", 3, Some(0.1))], &[]] {
            std::fs::write(&path, text(rows)).expect("written");
            assert_eq!(read::<Point>(&path).expect("read"), rows);
        }
        assert_eq!(text::<Point>(&[]), "row,seed,miou\n");
        for (wrong, expected) in [
            ("row,seed,miou\na,1,2\nb,x,2\n", "line 3, column seed: found `x`"),
            ("row,seed,miou\na,1\n", "line: 2"),
            ("row,seed\na,1\n", "its first line is not `row,seed,miou`; move it away"),
            ("", "its first line is not `row,seed,miou`; move it away"),
        ] {
            std::fs::write(&path, wrong).expect("written");
            let error = read::<Point>(&path).expect_err(wrong).to_string();
            assert!(error.contains(expected) && error.contains("points.csv"), "{error}");
        }
    }

    /// Files of before this form of the program.
    #[test]
    fn the_results_in_the_repository_come_back_byte_for_byte() {
        fn compare<T: Serialize + DeserializeOwned + Default + Debug>(name: &str) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results").join(name);
            let rows: Vec<T> = read(&path).expect(name);
            assert!(!rows.is_empty() && text(&rows) == std::fs::read_to_string(&path).expect(name), "{name}");
        }
        compare::<RawRow>("cells.csv");
        compare::<CurvePoint>("curves.csv");
        compare::<LabelRow>("labels.csv");
    }
}
