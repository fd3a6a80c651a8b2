//! The doc comments of the configuration, for the program to tell: `--print-config` and
//! `docs/configuration.md` say what a key means in the words that stand beside its declaration.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A key as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    /// The lines of its doc comment.
    pub about: &'static [&'static str],
    pub holds: Holds,
}

/// What the type of a key says about its value.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    /// A value, always there.
    Value,
    /// A value that may be left out.
    Optional,
    /// A table whose keys are the user's own.
    Free,
    /// One of these words.
    Choice(&'static [Choice]),
    /// A table of these keys.
    Table(&'static [Key]),
}

/// A word that a key may have as its value.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The variant, whose word is [`Choice::word`].
    pub variant: &'static str,
    /// The lines of its doc comment.
    pub about: &'static [&'static str],
}

impl Choice {
    /// The word in a configuration: kebab case, as serde has it.
    pub fn word(&self) -> String {
        let mut word = String::new();
        for letter in self.variant.chars() {
            if letter.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(letter.to_ascii_lowercase());
        }
        word
    }
}

/// Types that a configuration is made of.
pub trait Described {
    const HOLDS: Holds = Holds::Value;
}

impl Described for bool {}
impl Described for u64 {}
impl Described for usize {}
impl Described for f64 {}
impl Described for String {}
impl Described for PathBuf {}
impl<T> Described for Vec<T> {}
impl<T, const N: usize> Described for [T; N] {}
impl<T> Described for Option<T> {
    const HOLDS: Holds = Holds::Optional;
}
impl<T> Described for BTreeMap<String, T> {
    const HOLDS: Holds = Holds::Free;
}

/// Declares a struct or an enum of the configuration and lets it be [`Described`]. A field or a variant
/// without a doc comment does not compile.
macro_rules! described {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[doc = $about:literal])+ pub $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[doc = $about])+ pub $field: $type,)+
        }

        impl $crate::config::Described for $name {
            const HOLDS: $crate::config::Holds = $crate::config::Holds::Table(&[$($crate::config::Key {
                name: stringify!($field),
                about: &[$($about),+],
                holds: <$type as $crate::config::Described>::HOLDS,
            }),+]);
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[doc = $about:literal])+ $variant:ident,)+
        }
    ) => {
        $(#[$meta])*
        pub enum $name {
            $($(#[doc = $about])+ $variant,)+
        }

        impl $crate::config::Described for $name {
            const HOLDS: $crate::config::Holds = $crate::config::Holds::Choice(&[$($crate::config::Choice {
                variant: stringify!($variant),
                about: &[$($about),+],
            }),+]);
        }
    };
}
pub(super) use described;

/// Every key that holds no table of known keys, by its path.
pub(super) fn leaves(holds: Holds) -> Vec<(String, Key)> {
    let Holds::Table(keys) = holds else { return Vec::new() };
    let mut all = Vec::new();
    for key in keys {
        match key.holds {
            Holds::Table(_) => all.extend(
                leaves(key.holds).into_iter().map(|(rest, leaf)| (format!("{}.{rest}", key.name), leaf)),
            ),
            _ => all.push((key.name.to_owned(), *key)),
        }
    }
    all
}
