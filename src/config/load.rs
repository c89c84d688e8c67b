//! Reads the configuration: embedded defaults, then files, then `GLASSBOX__…` variables. Reports every problem at once.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Environment, File, FileFormat, Source, Value, ValueKind};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::{Config, DEFAULT_TOML, secret_files};
use crate::files::{self, KIB};

/// Eight times the manual, which has every key with its meaning.
const MAX_FILE: u64 = 256 * KIB;

/// One thing that is wrong, with the key and where the value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, or the file.
    pub key: String,
    /// The file or variable that set it; `None` for what only shows when all is put together.
    pub origin: Option<String>,
    /// What is wrong. Never holds the value: it may be a secret.
    pub message: String,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} problem{}", if count == 1 { "" } else { "s" })?;
        for Problem { key, origin, message } in &self.0 {
            write!(f, "\n  {key}: {message}")?;
            if let Some(origin) = origin {
                write!(f, " ({origin})")?;
            }
        }
        Ok(())
    }
}

/// A value that a file or a variable sets over the defaults.
pub(super) struct Override {
    pub(super) key: String,
    pub(super) origin: String,
    pub(super) value: Value,
}

/// A setting that the command line makes over everything else.
#[derive(Debug, Clone)]
pub struct Flag {
    key: &'static str,
    origin: &'static str,
    value: ValueKind,
}

impl Flag {
    /// `key` gets the text that stands behind the option `origin`.
    pub fn text(key: &'static str, origin: &'static str, value: String) -> Self {
        Self { key, origin, value: ValueKind::String(value) }
    }

    /// `key` gets all texts that stand behind the option `origin`.
    pub fn list(key: &'static str, origin: &'static str, values: Vec<String>) -> Self {
        let values = values.into_iter().map(|value| Value::new(None, ValueKind::String(value)));
        Self { key, origin, value: ValueKind::Array(values.collect()) }
    }
}

/// Puts the defaults, `files` (later ones win), the environment and `flags` together and checks the result.
///
/// # Errors
/// All [`Problems`] together: unreadable files, unknown keys, wrong types, values out of range.
pub fn load(files: &[PathBuf], flags: Vec<Flag>) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let mut overrides = Vec::new();
    for file in files {
        match read_file(file) {
            Ok(values) => overrides.extend(values),
            Err(problem) => problems.push(problem),
        }
    }
    let known = flatten(collect(&default_source()));
    let variables = read_environment(&mut problems);
    overrides.extend(secret_files::follow(variables, &known, &mut problems));
    overrides.extend(flags.into_iter().map(|flag| Override {
        key: flag.key.to_owned(),
        origin: flag.origin.to_owned(),
        value: Value::new(None, flag.value),
    }));

    overrides.retain(|item| {
        let unknown = !known.contains_key(&item.key);
        if unknown {
            problems.push(item.problem(unknown_key(&item.key, known.keys())));
        }
        !unknown
    });
    // One at a time over the defaults, because deserialising stops at the first value of a wrong type.
    overrides.retain(|item| match deserialize(std::slice::from_ref(item)) {
        Ok(_) => true,
        Err(error) => {
            problems.push(item.problem(describe(&error)));
            false
        }
    });

    let mut config = deserialize(&overrides).map_err(|error| {
        Problems(vec![Problem { key: "configuration".into(), origin: None, message: error.to_string() }])
    })?;
    if let Err(errors) = config.validate() {
        collect_violations(&errors, "", &overrides, &mut problems);
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    config.runtime.ort_dylib_path = ort_dylib_path();
    Ok(config)
}

impl Override {
    fn problem(&self, message: String) -> Problem {
        Problem { key: self.key.clone(), origin: Some(self.origin.clone()), message }
    }
}

fn default_source() -> File<config::FileSourceString, FileFormat> {
    File::from_str(DEFAULT_TOML, FileFormat::Toml)
}

fn collect(source: &impl Source) -> config::Map<String, Value> {
    source.collect().unwrap_or_default()
}

fn deserialize(overrides: &[Override]) -> Result<Config, config::ConfigError> {
    let builder = config::Config::builder().add_source(default_source());
    overrides
        .iter()
        .try_fold(builder, |builder, item| builder.set_override(&item.key, item.value.clone()))?
        .build()?
        .try_deserialize()
}

fn read_file(path: &Path) -> Result<Vec<Override>, Problem> {
    let origin = path.display().to_string();
    let problem = |message: String| Problem { key: origin.clone(), origin: None, message };
    let text = files::read_to_string(path, MAX_FILE).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let values = File::from_str(&text, FileFormat::Toml).collect().map_err(|_| problem(not_toml(&text)))?;
    Ok(flatten(values).into_iter().map(|(key, value)| Override { key, origin: origin.clone(), value }).collect())
}

/// What is wrong and where, without the line itself: it may hold a secret.
fn not_toml(text: &str) -> String {
    let Err(error) = text.parse::<toml::Table>() else { return "is not valid TOML".to_owned() };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("is not valid TOML at line {line}, column {column}: {}", error.message().trim_end().replace('\n', ", "))
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
fn read_environment(problems: &mut Vec<Problem>) -> Vec<Override> {
    let mut variables = config::Map::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if !name.to_lowercase().starts_with("glassbox__") {
            continue;
        }
        // The library gives up on all variables when one is not Unicode.
        match value.into_string() {
            Ok(value) => drop(variables.insert(name, value)),
            Err(_) => problems.push(Problem { key: name, origin: None, message: "is not valid UTF-8".to_owned() }),
        }
    }
    let source = Environment::with_prefix("GLASSBOX").prefix_separator("__").separator("__").source(Some(variables));
    flatten(collect(&source))
        .into_iter()
        .map(|(key, value)| {
            let origin = format!("GLASSBOX__{}", key.to_uppercase().replace('.', "__"));
            Override { key, origin, value }
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
fn ort_dylib_path() -> Option<PathBuf> {
    std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Whether the process was begun with the variable `name`.
pub fn is_in_environment(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    std::env::var_os(name).is_some()
}

/// Who started this process as a service and wants to be told how it fares (sd_notify).
#[derive(Debug, Default)]
pub struct Manager {
    /// The address of its socket: a path, or a name behind `@`.
    pub socket: Option<OsString>,
    /// The time in which it wants a sign of life.
    pub watchdog: Option<Duration>,
}

/// As the variables of systemd's protocol tell.
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
pub fn manager() -> Manager {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    // What is meant for a parent is not for its children.
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros);
    Manager { socket: std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()), watchdog }
}

/// Dotted keys of all leaves; a list is a leaf.
fn flatten(table: config::Map<String, Value>) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value.kind {
            ValueKind::Table(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            _ => drop(flat.insert(key, value)),
        }
    }
    flat
}

/// Names the known keys that end alike: a key in the wrong section is the usual slip.
fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let last = key.rsplit('.').next();
    let alike: Vec<_> = known.filter(|other| other.rsplit('.').next() == last).map(String::as_str).collect();
    if alike.is_empty() {
        "is not a known key".to_owned()
    } else {
        format!("is not a known key; did you mean {}", alike.join(" or "))
    }
}

/// The library's words without the value.
fn describe(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::Type { expected, .. } => format!("expected {expected}"),
        config::ConfigError::At { error, .. } => describe(error),
        other => other.to_string(),
    }
}

fn collect_violations(errors: &ValidationErrors, prefix: &str, overrides: &[Override], problems: &mut Vec<Problem>) {
    for (field, kind) in errors.errors() {
        match kind {
            ValidationErrorsKind::Struct(inner) => {
                collect_violations(inner, &format!("{prefix}{field}."), overrides, problems);
            }
            ValidationErrorsKind::List(_) => {}
            ValidationErrorsKind::Field(errors) => problems.extend(errors.iter().map(|error| {
                let named = error.params.get("key").and_then(|key| key.as_str());
                let key = named.map_or_else(|| format!("{prefix}{field}"), str::to_owned);
                let origin = overrides.iter().rev().find(|item| item.key == key).map(|item| item.origin.clone());
                let message = error.message.as_ref().map_or_else(|| range(error), ToString::to_string);
                Problem { key, origin, message }
            })),
        }
    }
}

fn range(error: &validator::ValidationError) -> String {
    match (error.params.get("min"), error.params.get("max")) {
        (Some(min), Some(max)) => format!("must be from {min} to {max}"),
        (Some(min), None) => format!("must be at least {min}"),
        (None, Some(max)) => format!("must be at most {max}"),
        (None, None) => "is not valid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_is_a_valid_configuration() {
        let config = deserialize(&[]).unwrap();
        assert!(config.validate().is_ok());
        assert_eq!(config.models.required, ["*"]);
        assert_eq!(config.models.default, None);
    }

    #[test]
    fn all_problems_are_reported_together_with_their_key_and_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "[server]\nlisten = \"nowhere\"\nbody_timeout = \"0s\"\ncolour = 1\n[runtime]\ndelay = \"1s\"\nqueue_capacity = 0",
        )
        .unwrap();
        let problems = load(&[file.path().to_owned()], Vec::new()).unwrap_err().0;
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        for key in ["server.listen", "server.body_timeout", "server.colour", "runtime.delay", "runtime.queue_capacity"]
        {
            assert!(keys.contains(&key), "{key} is missing in {problems:?}");
        }
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.origin.is_some()), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.message.contains("did you mean drain.delay")), "{problems:?}");
    }

    #[test]
    fn listening_beyond_loopback_must_be_said_aloud() {
        let value = |text: &str| Value::new(None, ValueKind::String(text.into()));
        let item = |key: &str, text| Override { key: key.into(), origin: String::new(), value: value(text) };
        let open = deserialize(&[item("server.listen", "0.0.0.0:0")]).unwrap();
        assert!(open.validate().is_err());
        let aloud = deserialize(&[item("server.listen", "0.0.0.0:0"), item("auth.mode", "off")]).unwrap();
        assert!(aloud.validate().is_ok());
    }
}
