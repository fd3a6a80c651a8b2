//! A configuration for people: every key with its value and what it means, as TOML that can be read again.

use toml::{Table, Value};

use super::Config;
use super::data::BUILT_IN_IMAGES;
use super::describe::{Described, Holds, Key};

impl Config {
    /// As [`Config::to_toml`], with the explanation of each key as a comment above it. Optional keys that
    /// have no value stand as comments too.
    pub fn to_explained_toml(&self) -> String {
        let table = Table::try_from(self).expect("a Config holds nothing that TOML can't say");
        let mut text = String::new();
        section(&mut text, "", Self::HOLDS, &table);
        text
    }
}

/// The keys of a table, then the tables in it, each under its heading.
fn section(text: &mut String, path: &str, holds: Holds, table: &Table) {
    let Holds::Table(keys) = holds else { return };
    for key in keys {
        match (key.holds, table.get(key.name)) {
            (Holds::Table(_) | Holds::Free, _) => {}
            (_, Some(value)) => {
                explain(text, key);
                *text += &format!("{} = {value}\n", key.name);
            }
            (_, None) => {
                explain(text, key);
                *text += &format!("# {} = \"…\"\n", key.name);
            }
        }
    }
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let Some(Value::Table(inner)) = table.get(key.name) else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        explain(text, key);
        *text += &format!("[{path}]\n");
        match key.holds {
            Holds::Free => {
                for (name, pattern) in BUILT_IN_IMAGES.iter().filter(|(name, _)| !inner.contains_key(*name)) {
                    *text += &format!("# {name} = \"{pattern}\"\n");
                }
                *text += &toml::to_string(inner).expect("patterns are strings");
            }
            holds => section(text, &path, holds, inner),
        }
    }
}

fn explain(text: &mut String, key: &Key) {
    for line in key.about {
        *text += &format!("#{line}\n");
    }
    if let Holds::Choice(choices) = key.holds {
        for choice in choices {
            *text += &format!("#   \"{}\":{}\n", choice.word(), choice.about.join("\n#    "));
        }
    }
}
