//! Rows of numbers and plain names as CSV.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::experiment::ExperimentError;

/// No cell needs quotes: commas in names become `_`.
pub fn lines(rows: &[impl Serialize], columns: &[&str]) -> String {
    let mut text = columns.join(",") + "\n";
    for row in rows {
        let row = serde_json::to_value(row).expect("plain data");
        let cells = columns.iter().map(|column| match &row[column] {
            Value::Null => String::new(),
            Value::String(text) => text.replace([',', '\n'], "_"),
            other => other.to_string(),
        });
        text += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

/// A file that is not there has no rows.
pub fn read<T: DeserializeOwned>(path: &Path, columns: &[&str]) -> Result<Vec<T>, ExperimentError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ExperimentError::Io { path: path.into(), source }),
    };
    let wrong = |problem: String| ExperimentError::Table { path: path.display().to_string(), problem };
    let mut found = text.lines();
    if found.next() != Some(&columns.join(",")) {
        return Err(wrong(format!("its first line is not `{}`; move it away", columns.join(","))));
    }
    let parse = |(line, number): (&str, usize)| {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != columns.len() {
            return Err(wrong(format!(
                "line {number} has {} cells, expected {}",
                cells.len(),
                columns.len()
            )));
        }
        let object: Map<String, Value> =
            columns.iter().zip(cells).map(|(column, cell)| ((*column).to_owned(), value(cell))).collect();
        serde_path_to_error::deserialize(Value::Object(object))
            .map_err(|error| wrong(format!("line {number}: {error}")))
    };
    found.zip(2..).map(parse).collect()
}

/// Numbers are numbers; names begin with a letter.
fn value(cell: &str) -> Value {
    match cell {
        "" => Value::Null,
        cell => match cell.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::String(cell.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    const COLUMNS: [&str; 3] = ["row", "seed", "miou"];

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        row: String,
        seed: u64,
        miou: Option<f64>,
    }

    #[test]
    fn rows_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("points.csv");
        let point = |row: &str, seed, miou| Point { row: row.into(), seed, miou };
        let points = vec![point("unc-5", 1, Some(51.25)), point("unc-5", 2, None), point("e5", 3, Some(0.1))];
        std::fs::write(&path, lines(&points, &COLUMNS)).expect("written");
        assert_eq!(read::<Point>(&path, &COLUMNS).expect("read"), points);
        std::fs::write(&path, "row,seed,miou\na,x,2\n").expect("written");
        let error = read::<Point>(&path, &COLUMNS).expect_err("no number").to_string();
        assert!(error.contains("line 2") && error.contains("seed"), "{error}");
    }
}
