//! OWNER/NAME.

use std::fmt;
use std::str::FromStr;

use super::HubError;

/// A model repository on the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryId(String);

impl FromStr for RepositoryId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let plain = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.starts_with('.')
        };
        match text.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => Ok(Self(text.into())),
            _ => Err(HubError::Name(text.into())),
        }
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!("acme/seqtr-refcoco_1.0".parse::<RepositoryId>().is_ok());
        for bad in ["acme", "acme/", "/x", "a/b/c", "../x", "a/..", "a b/c", "./x"] {
            assert!(bad.parse::<RepositoryId>().is_err(), "{bad}");
        }
    }
}
