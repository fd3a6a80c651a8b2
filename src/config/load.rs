//! From names, files and `--set` to a [`Config`].
//!
//! A file may begin with `base = ["name", …]`: those are read first, in order, and what the file
//! itself says wins. Names are files, or the configurations in `configs/`, which are embedded.

use std::path::Path;

use include_dir::{Dir, include_dir};
use toml::{Table, Value};

use super::{Config, ConfigError, keys, validate};

static BUILT_IN: Dir = include_dir!("$CARGO_MANIFEST_DIR/configs");

/// The configuration of a plain `train`.
pub const DEFAULT: &str = "res/refshapes";

impl Config {
    /// Reads `name` (a file, or a built-in name such as `res/refcoco-unc`), applies `sets`
    /// (`key.path=value`) in order, and checks the result.
    ///
    /// # Errors
    /// Every [`ConfigError`]; unknown keys are answered with the nearest right one, the reference's with ours.
    pub fn load(name: &str, sets: &[String]) -> Result<Self, ConfigError> {
        set_all(read(name, &mut Vec::new())?, name, sets)
    }

    /// This configuration with `sets` applied, as [`Config::load`] does.
    pub fn with(&self, sets: &[String]) -> Result<Self, ConfigError> {
        let table = Table::try_from(self).expect("a Config holds nothing that TOML can't say");
        set_all(table, "the configuration", sets)
    }

    /// A configuration that was written by [`Config::to_toml`], as a run or a checkpoint holds it.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, ConfigError> {
        let config = typed(&parse(text, place)?, place)?;
        validate::check(&config)?;
        Ok(config)
    }

    /// Every key with its value, to be read by [`Config::load`] again.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a Config holds nothing that TOML can't say")
    }

    /// Names of the embedded configurations that can be trained, sorted.
    pub fn built_in() -> Vec<String> {
        let mut names = Vec::new();
        for folder in
            BUILT_IN.dirs().filter(|dir| !["base", "tables"].contains(&dir.path().to_string_lossy().as_ref()))
        {
            names.extend(folder.files().map(|file| file.path().with_extension("").display().to_string()));
        }
        names.sort();
        names
    }
}

fn set_all(mut table: Table, place: &str, sets: &[String]) -> Result<Config, ConfigError> {
    for argument in sets {
        let own = parse_set(argument)?;
        let place = format!("--set {argument}");
        keys::check(&own, &place)?;
        merge(&mut table, own);
        typed(&table, &place)?;
    }
    let config = typed(&table, place)?;
    validate::check(&config)?;
    Ok(config)
}

fn typed(table: &Table, place: &str) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(table.clone()).map_err(|error| ConfigError::Type {
        place: place.into(),
        key: error.path().to_string(),
        message: in_words(error.into_inner().message()),
    })
}

/// The types of Rust as what is to be written.
fn in_words(message: &str) -> String {
    let kinds = [
        ("usize", "a whole number"),
        ("u64", "a whole number"),
        ("f64", "a number"),
        ("f32", "a number"),
        // Not as Python spells them.
        ("a boolean", "true or false, in small letters"),
    ];
    match kinds
        .into_iter()
        .find_map(|(kind, words)| Some((message.strip_suffix(&format!("expected {kind}"))?, words)))
    {
        Some((before, words)) => format!("{before}expected {words}"),
        None => message.into(),
    }
}

fn parse(text: &str, place: &str) -> Result<Table, ConfigError> {
    let table: Table = text
        .parse()
        .map_err(|error| ConfigError::Syntax { place: place.into(), message: format!("{error}") })?;
    let mut own = table.clone();
    own.remove("base");
    keys::check(&own, place)?;
    Ok(table)
}

fn read(name: &str, chain: &mut Vec<String>) -> Result<Table, ConfigError> {
    chain.push(name.into());
    if chain.iter().filter(|seen| *seen == name).count() > 1 {
        return Err(ConfigError::Circle { place: name.into(), chain: chain.clone() });
    }
    let mut own = parse(&text_of(name)?, name)?;
    let mut table = Table::new();
    match own.remove("base") {
        None => {}
        Some(Value::Array(bases)) => {
            for base in bases {
                let Value::String(base) = base else {
                    return Err(ConfigError::Base { place: name.into(), found: base.to_string() });
                };
                merge(&mut table, read(&relative(&base, name), chain)?);
            }
        }
        Some(other) => return Err(ConfigError::Base { place: name.into(), found: other.to_string() }),
    }
    merge(&mut table, own);
    chain.pop();
    Ok(table)
}

/// A base of a file may be a file beside it.
fn relative(base: &str, of: &str) -> String {
    let beside = Path::new(of).parent().unwrap_or(Path::new("")).join(base);
    if Path::new(of).is_file() && beside.is_file() { beside.display().to_string() } else { base.into() }
}

fn text_of(name: &str) -> Result<String, ConfigError> {
    if Path::new(name).is_file() {
        return std::fs::read_to_string(name)
            .map_err(|source| ConfigError::Read { path: name.into(), source });
    }
    let plain = name.strip_prefix("configs/").unwrap_or(name);
    let plain = plain.strip_suffix(".toml").unwrap_or(plain);
    let embedded = BUILT_IN.get_file(format!("{plain}.toml")).and_then(|file| file.contents_utf8());
    embedded
        .map(str::to_owned)
        .ok_or_else(|| ConfigError::NotFound { name: name.into(), known: Config::built_in() })
}

/// Tables are merged, everything else is replaced.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `a.b=value` as the tables of a file that says so; the value is TOML if it can be read as such, else a string.
fn parse_set(argument: &str) -> Result<Table, ConfigError> {
    let wrong = || ConfigError::Set { argument: argument.into() };
    let (key, text) = argument.split_once('=').ok_or_else(wrong)?;
    let parts: Vec<&str> = key.trim().split('.').collect();
    let [sections @ .., last] = &parts[..] else { return Err(wrong()) };
    if parts.contains(&"") {
        return Err(wrong());
    }
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    let value = value.unwrap_or_else(|| Value::String(text.trim().into()));
    let table = |name: &str, value| Table::from_iter([(name.to_owned(), value)]);
    let inner = table(last, value);
    Ok(sections.iter().rev().fold(inner, |inner, section| table(section, Value::Table(inner))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        Config::load(name, &sets).unwrap_err().to_string()
    }

    #[test]
    fn every_built_in_configuration_is_valid_and_survives_printing() {
        let names = Config::built_in();
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            let config = Config::load(&name, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Config::from_toml(&config.to_toml(), &name).unwrap(), config);
        }
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_nearest_right_one() {
        assert_eq!(
            message(DEFAULT, &["train.epoch=3"]),
            "--set train.epoch=3: unknown key `train.epoch`; did you mean `train.epochs`?"
        );
        assert_eq!(
            message(DEFAULT, &["epochs=3"]),
            "--set epochs=3: unknown key `epochs`; did you mean `train.epochs`?"
        );
    }

    #[test]
    fn the_keys_of_the_reference_are_known_by_their_meaning() {
        assert_eq!(
            message(DEFAULT, &["model.head.num_ray=18"]),
            "--set model.head.num_ray=18: unknown key `model.head.num_ray`; that key of the reference is \
             `model.vertices` here"
        );
        assert!(message(DEFAULT, &["work_dir=x"]).ends_with("is the option --runs DIR here"));
    }

    #[test]
    fn a_wrong_type_names_key_and_found_value() {
        let text = message(DEFAULT, &["train.epochs=many"]);
        assert!(text.contains("`train.epochs`") && text.contains("\"many\""), "{text}");
        let text = message(DEFAULT, &["model.task=segment"]);
        assert!(text.contains("segmentation") && text.contains("multi-task"), "{text}");
        let text = message(DEFAULT, &["train.ema=True"]);
        assert!(text.ends_with("expected true or false, in small letters"), "{text}");
    }

    #[test]
    fn a_table_that_is_set_leaves_its_other_keys() {
        let sets = ["data.close_up.rotation=180", "data.close_up={margin=0.3}"].map(String::from);
        let close_up = Config::load(DEFAULT, &sets).unwrap().data.close_up;
        assert_eq!((close_up.rotation, close_up.margin), (180.0, 0.3));
    }

    #[test]
    fn a_file_inherits_and_overrides() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, "base = [\"res/refcoco-unc\"]\n[train]\nepochs = 7\n").unwrap();
        let config = Config::load(file.to_str().unwrap(), &["model.vertices=9".into()]).unwrap();
        assert_eq!((config.train.epochs, config.model.vertices), (7, 9));
        assert_eq!(config.data.dataset, "refcoco-unc");
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("loop.toml");
        std::fs::write(&file, "base = [\"loop.toml\"]\n").unwrap();
        assert!(message(file.to_str().unwrap(), &[]).contains("includes itself"));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert!(message("res/refcoco", &[]).contains("res/refcoco-unc"));
    }
}
