//! Names and versions. Requested ([`ModelRef`]) and resolved ([`ModelId`]) are different types.

use std::{cmp::Ordering, fmt, sync::Arc};

/// A model's name: 1 to 128 of `A-Z a-z 0-9 _ . -`, not starting with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// `None` when `text` cannot be a model's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_name(text).then(|| Self(text.into()))
    }

    /// Whether `text` can be a model's name.
    pub fn is_name(text: &str) -> bool {
        is_token(text)
    }

    /// A valid name made of whatever `text` holds; for models that are named after their file.
    pub fn from_file_stem(text: &str) -> Self {
        let name: String = text.chars().take(128).map(|c| if is_token_char(c) { c } else { '_' }).collect();
        match name.trim_start_matches('.') {
            "" => Self("model".into()),
            name => Self(name.into()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text that can be kept.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model's version: a token like a name. Numbers are ordered as numbers and come after words, so that the newest
/// number is the default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// `None` when `text` cannot be a version.
    pub fn parse(text: &str) -> Option<Self> {
        is_token(text).then(|| Self(text.into()))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version as text that can be kept.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.starts_with('.') && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// What a caller asked for: any text, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRef {
    /// The model; `None` asks for the default one.
    pub name: Option<String>,
    /// The version; `None` asks for the model's default.
    pub version: Option<String>,
}

/// What the registry found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    /// The model.
    pub name: ModelName,
    /// Its version.
    pub version: Version,
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_the_newest_version() {
        let mut versions: Vec<_> = ["10", "9", "canary", "2"].into_iter().filter_map(Version::parse).collect();
        versions.sort();
        let sorted: Vec<_> = versions.iter().map(Version::as_str).collect();
        assert_eq!(sorted, ["canary", "2", "9", "10"]);
    }

    #[test]
    fn names_are_tokens_that_cannot_leave_a_folder() {
        for bad in ["", "..", ".hidden", "a/b", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(ModelName::parse(bad), None, "{bad:?}");
        }
        assert_eq!(ModelName::from_file_stem("..my model(1)").as_str(), "my_model_1_");
        assert_eq!(ModelName::from_file_stem("").as_str(), "model");
    }
}
