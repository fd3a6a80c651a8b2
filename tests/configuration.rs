//! What users read of the configuration: `--print-config` and `docs/configuration.md`, both made from the doc
//! comments of `src/config`. After a change there, `UPDATE_DOCS=1 cargo test --release --test configuration`
//! writes the page anew.

use std::fs;
use std::iter::repeat;

use partial_res::config::{BUILT_IN_IMAGES, Config, Described, Holds, Key};
use toml::{Table, Value};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
/// What stands above it in the page is written by hand.
const MARK: &str =
    "<!-- From here on made by tests/configuration.rs from the doc comments in src/config. -->\n";

/// A heading, a table of the keys, and what tables are in it.
fn section(page: &mut String, path: &str, key: &Key, values: &Table) {
    let Holds::Table(keys) = key.holds else { return };
    let depth = path.split('.').count() + 1;
    *page += &format!("\n{} `{path}`\n\n{}\n\n", "#".repeat(depth), about(key.about));
    *page += "| key | default | meaning |\n| --- | --- | --- |\n";
    let inner = |key: &Key| matches!(key.holds, Holds::Table(_));
    for key in keys.iter().filter(|key| !inner(key)) {
        let default = match (key.holds, values.get(key.name)) {
            (Holds::Optional | Holds::Free, _) => String::new(),
            (_, value) => {
                format!("`{}`", value.unwrap_or_else(|| panic!("{path}.{} has no default", key.name)))
            }
        };
        *page += &format!("| `{path}.{}` | {default} | {} |\n", key.name, meaning(key));
    }
    for key in keys.iter().filter(|key| inner(key)) {
        section(page, &format!("{path}.{}", key.name), key, values[key.name].as_table().unwrap());
    }
}

fn about(lines: &[&str]) -> String {
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    assert!(!text.contains("[`"), "a link that only rustdoc follows: {text}");
    text.replace('|', "\\|")
}

fn meaning(key: &Key) -> String {
    let mut text = about(key.about);
    match key.holds {
        Holds::Choice(choices) => {
            for choice in choices {
                text += &format!("<br>`\"{}\"`: {}", choice.word(), about(choice.about));
            }
        }
        Holds::Free => {
            for (source, pattern) in BUILT_IN_IMAGES {
                text += &format!("<br>`{source} = \"{pattern}\"`");
            }
        }
        _ => {}
    }
    text
}

#[test]
fn the_page_says_what_the_code_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (by_hand, written) = page.split_once(MARK).expect("the mark of what is generated");
    let values = Table::try_from(Config::default()).unwrap();
    let Holds::Table(parts) = Config::HOLDS else { panic!("a Config is a table") };
    let mut made = String::new();
    for part in parts {
        section(&mut made, part.name, part, values[part.name].as_table().unwrap());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{by_hand}{MARK}{made}")).unwrap();
    } else {
        let mut lines = made.lines().chain([""]).zip(written.lines().chain(repeat("")));
        let differs = lines.find(|(made, written)| made != written);
        assert!(
            made == written,
            "docs/configuration.md is not what src/config says; write it anew with\n    \
             UPDATE_DOCS=1 cargo test --release --test configuration\nfirst difference, as it should be and as it is: {differs:#?}"
        );
    }
}

#[test]
fn a_printed_configuration_is_read_as_the_same() {
    let own = [r#"data.images={"my own"="a/{image_id}.png",coco="b/{image_id}.jpg"}"#.to_owned()];
    for name in Config::built_in() {
        let config = Config::load(&name, &own).unwrap();
        assert_eq!(Config::from_toml(&config.to_explained_toml(), &name).unwrap(), config);
    }
}

/// Whoever takes away the `# ` before a key that has no value has a configuration with that key.
#[test]
fn what_stands_there_as_a_comment_can_be_used() {
    let mut used = 0;
    let text: String = Config::default()
        .to_explained_toml()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.parse::<Table>().is_ok_and(|key| !key.is_empty()) => {
                used += 1;
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Config::from_toml(&text, "uncommented").unwrap();
    assert_eq!(config.data.images.len(), BUILT_IN_IMAGES.len());
    assert!(config.train.finetune_from.is_some() && config.train.backbone.is_some());
    assert_eq!(used, BUILT_IN_IMAGES.len() + 2, "{text}");
}

/// A word that the page names is one that can be set.
#[test]
fn choices_are_accepted() {
    fn each(path: &str, holds: Holds, tried: &mut usize) {
        match holds {
            Holds::Table(keys) => {
                for key in keys {
                    each(&format!("{path}.{}", key.name), key.holds, tried);
                }
            }
            Holds::Choice(choices) => {
                for choice in choices {
                    let set = format!("{}={}", path.trim_start_matches('.'), Value::from(choice.word()));
                    Config::default().with(&[set]).unwrap();
                    *tried += 1;
                }
            }
            Holds::Value | Holds::Optional | Holds::Free => {}
        }
    }
    let mut tried = 0;
    each("", Config::HOLDS, &mut tried);
    assert_eq!(tried, 3 + 2 + 3 + 3 + 2 + 2);
}
