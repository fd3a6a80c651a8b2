//! The file that says what a table consists of.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Config, ConfigError};
use crate::experiment::{ByQuality, ExperimentError, LabelMethod, Supervision, labeller_config};
use crate::pseudo::{Asked, Judge, Masks, QUALITY};

/// The table that the program brings along.
const BUILT_IN: &str = include_str!("../../../configs/tables/refshapes.toml");
const BUILT_IN_NAME: &str = "configs/tables/refshapes.toml";

/// Rows, and what they have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// Above the page.
    pub title: String,
    /// The configuration of the trainings of outlines, as `train` takes it.
    pub config: String,
    /// The checkpoint that all begin with.
    pub rec: PathBuf,
    /// Changes of all rows, `key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// Changes of the labellers' trainings, after those of all and of the row.
    #[serde(default)]
    pub labeller_set: Vec<String>,
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
    #[serde(default, rename = "compare")]
    pub comparisons: Vec<Comparison>,
}

/// One row, of a cell for each seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Of letters, digits, `-` and `.`; begins with a letter.
    pub name: String,
    /// Rows of a group stand together.
    pub group: String,
    /// Whether its first cells come before those of others.
    #[serde(default)]
    pub main: bool,
    pub dataset: String,
    /// Percent of the masks; 100 for `full`.
    pub ratio: u32,
    pub method: Method,
    /// `rpp`: projection terms below it are kept; the paper's 0.1 if left out.
    pub threshold: Option<f64>,
    /// `boxes` and `close-up`: expected IoUs from it on are kept; 0.5 if left out.
    pub quality: Option<f64>,
    /// `boxes` and `close-up`: labels count in training as much as the IoU that is expected of them.
    #[serde(default)]
    pub weights: bool,
    /// `boxes` and `close-up`: which expressions are asked; the first if left out.
    #[serde(default)]
    pub expressions: Asked,
    /// `rpp`, `boxes` and `close-up`: how often labels are made; once if left out.
    #[serde(default = "one")]
    pub rounds: usize,
    /// Scored are the outlines of a labeller, which learns from the same masks, in close-ups of what the model
    /// finds.
    #[serde(default)]
    pub second_look: bool,
    /// Changes of this row, after those of all.
    #[serde(default)]
    pub set: Vec<String>,
    pub seeds: Vec<u64>,
}

/// What the model of a row learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Boxes alone: the checkpoint that all begin with. Only with a second look.
    Rec,
    /// The sample's masks.
    Initial,
    /// These, and labels picked as in the paper.
    Rpp,
    /// These, and labels by the same network within the known boxes.
    Boxes,
    /// These, and labels by a labeller that learns from close-ups.
    CloseUp,
    /// All masks.
    Full,
}

/// Two rows whose difference is shown seed by seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    pub of: String,
    pub with: String,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rec => "rec",
            Self::Initial => "initial",
            Self::Rpp => "rpp",
            Self::Boxes => "boxes",
            Self::CloseUp => "close-up",
            Self::Full => "full",
        }
    }
}

impl TableFile {
    /// Reads a file, or the built-in table.
    pub fn read(path: Option<&Path>) -> Result<Self, ExperimentError> {
        let (place, text) = match path {
            Some(path) => (
                path.display().to_string(),
                std::fs::read_to_string(path)
                    .map_err(|source| ExperimentError::NoTable { path: path.to_owned(), source })?,
            ),
            None => (BUILT_IN_NAME.to_owned(), BUILT_IN.to_owned()),
        };
        let wrong = |problem: String| ExperimentError::Table { path: place.clone(), problem };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        let file: Self = serde_path_to_error::deserialize(table)
            .map_err(|error| wrong(format!("`{}`: {}", error.path(), error.inner().message())))?;
        file.check().map_err(wrong)?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        for (place, row) in self.rows.iter().enumerate() {
            let name = &row.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
                return Err(format!("row name `{name}`: letters, digits, - and . only, a letter first"));
            }
            if self.rows[..place].iter().any(|other| other.name == *name) {
                return Err(format!("there are two rows `{name}`"));
            }
            if let Some(problem) = row.problem() {
                return Err(format!("row `{name}`: {problem}"));
            }
            let expected = match row.method {
                Method::Full => 100..=100,
                Method::Rec => 1..=100,
                _ => 1..=99,
            };
            if !expected.contains(&row.ratio) {
                let (low, high) = (expected.start(), expected.end());
                return Err(format!("row `{name}`: ratio {}, expected {low} to {high}", row.ratio));
            }
        }
        let known = |name: &String| self.rows.iter().any(|row| row.name == *name);
        let named = self.comparisons.iter().flat_map(|pair| [&pair.of, &pair.with]);
        match named.into_iter().find(|name| !known(name)) {
            Some(name) => Err(format!("`compare` names `{name}`, which is no row")),
            None => Ok(()),
        }
    }

    /// The configuration of a row; `sets` come last.
    pub fn config_of(&self, row: &Row, sets: &[String]) -> Result<Config, ConfigError> {
        Config::load(&self.config, &self.sets_of(row, sets))
    }

    /// The configuration of a row's labeller.
    pub fn labeller_of(&self, row: &Row, sets: &[String]) -> Result<Config, ConfigError> {
        labeller_config(&self.config, &self.sets_of(row, sets), &self.labeller_set)
    }

    fn sets_of(&self, row: &Row, sets: &[String]) -> Vec<String> {
        let dataset = format!("data.dataset={}", row.dataset);
        [&self.set[..], &[dataset], &row.set, sets].concat()
    }
}

fn one() -> usize {
    1
}

impl Row {
    /// Whether it has nothing of its own but the share of masks and the method.
    pub fn is_plain(&self) -> bool {
        let picked_plainly = self.threshold.is_none() && self.quality.is_none() && !self.weights;
        let asked_plainly = self.expressions.is_first() && !self.second_look;
        self.set.is_empty() && picked_plainly && asked_plainly && self.rounds == 1
    }

    /// What does not go together.
    fn problem(&self) -> Option<String> {
        let method = self.method.name();
        let by_quality = matches!(self.method, Method::Boxes | Method::CloseUp);
        let asks = self.weights || !self.expressions.is_first() || self.quality.is_some();
        let known = |seed: &u64| self.seeds.iter().filter(|other| *other == seed).count() == 1;
        if self.rounds == 0 {
            Some("rounds 0, expected 1 or more".to_owned())
        } else if self.rounds > 1 && !by_quality && self.method != Method::Rpp {
            Some(format!("`rounds` is for labels, which `{method}` doesn't make"))
        } else if self.threshold.is_some() && self.method != Method::Rpp {
            Some(format!("`threshold` is for rpp, not for `{method}`"))
        } else if asks && !by_quality {
            Some(format!(
                "`quality`, `weights` and `expressions` are for boxes and close-up, not for `{method}`"
            ))
        } else if let Some(threshold) = self.threshold.filter(|value| !(0.0..=2.0).contains(value)) {
            Some(format!("threshold {threshold}, expected 0 to 2"))
        } else if let Some(quality) = self.quality.filter(|value| !(0.0..=1.0).contains(value)) {
            Some(format!("quality {quality}, expected 0 to 1"))
        } else if self.method == Method::Rec && !self.second_look {
            Some("`rec` outlines nothing; it takes second_look = true".to_owned())
        } else if self.seeds.is_empty() || !self.seeds.iter().all(known) {
            Some(format!("seeds {:?}, expected some, each once", self.seeds))
        } else {
            None
        }
    }

    pub fn method_name(&self) -> String {
        let second = if self.second_look { " + second look" } else { "" };
        format!("{}{second}", self.method.name())
    }

    pub fn supervision(&self) -> Supervision {
        let labels = |method| Supervision::Labels { method, rounds: self.rounds };
        match self.method {
            Method::Rec => Supervision::Boxes,
            Method::Initial => Supervision::Sample,
            Method::Full => Supervision::Full,
            Method::Rpp => {
                let threshold = self.threshold.unwrap_or(Judge::default().threshold);
                labels(LabelMethod::Rpp { threshold, masks: Masks::Predicted })
            }
            Method::Boxes => labels(LabelMethod::Boxes(self.by_quality())),
            Method::CloseUp => labels(LabelMethod::CloseUp(self.by_quality())),
        }
    }

    fn by_quality(&self) -> ByQuality {
        ByQuality {
            quality: self.quality.unwrap_or(QUALITY),
            masks: Masks::Predicted,
            weights: self.weights,
            expressions: self.expressions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_right() {
        let file = TableFile::read(None).expect("the built-in table");
        for row in &file.rows {
            file.config_of(row, &[]).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            let labeller = file.labeller_of(row, &[]);
            let labeller = labeller.unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert_eq!(labeller.data.train_transform, crate::config::Transform::CloseUp);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let row =
            "[[row]]\nname = \"a\"\ngroup = \"g\"\ndataset = \"d\"\nmethod = \"initial\"\nseeds = [1]\n";
        let head = "title = \"t\"\nconfig = \"res/refshapes\"\nrec = \"r\"\n";
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.toml");
        for (text, expected) in [
            (format!("{head}{row}ratio = 100\n"), "row `a`: ratio 100, expected 1 to 99"),
            (format!("{head}{row}ratio = 5\n{row}ratio = 5\n"), "there are two rows `a`"),
            (format!("{head}{row}ratio = \"x\"\n"), "row[0].ratio"),
            (format!("{head}{row}ratio = 5\nthreshold = 0.2\n"), "`threshold` is for rpp"),
            (
                format!("{head}{}ratio = 5\n", row.replace("initial", "rec")),
                "row `a`: `rec` outlines nothing; it takes second_look = true",
            ),
            (format!("{head}{}ratio = 5\n", row.replace("[1]", "[1, 1]")), "seeds [1, 1], expected some"),
            (
                format!("{head}{row}ratio = 5\n[[compare]]\nof = \"a\"\nwith = \"b\"\n"),
                "`b`, which is no row",
            ),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = TableFile::read(Some(&path)).expect_err("a mistake").to_string();
            assert!(error.contains(expected) && error.contains("table.toml"), "{error}");
        }
    }
}
