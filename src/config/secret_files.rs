//! `GLASSBOX__REDIS__URL_FILE=/run/secrets/redis_url` sets `redis.url` to what the file holds: orchestrators hand out secrets
//! as files.

use std::{collections::BTreeMap, path::Path};

use config::{Value, ValueKind};

use super::load::{Override, Problem};
use crate::files::{self, KIB};

/// More than any setting needs; what is longer is another file than was meant.
const MAX_FILE: u64 = 64 * KIB;

/// Puts what files hold in the place of the variables that name them: a known key with `_file` behind it which is no key
/// itself. A file and a value for the same key are a problem, and so is a file that is of no use.
pub(super) fn follow(
    variables: Vec<Override>,
    known: &BTreeMap<String, Value>,
    problems: &mut Vec<Problem>,
) -> Vec<Override> {
    let (named, mut values): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|item| !known.contains_key(&item.key) && key_behind(item, known).is_some());
    for item in named {
        let (Some(key), ValueKind::String(path)) = (key_behind(&item, known), &item.value.kind) else { continue };
        let mut problem =
            |message| problems.push(Problem { key: key.clone(), origin: Some(item.origin.clone()), message });
        if path.is_empty() {
            continue;
        }
        if let Some(other) = values.iter().find(|other| other.key == key) {
            problem(format!("is set by {} too", other.origin));
            continue;
        }
        match files::read_to_string(Path::new(path), MAX_FILE) {
            Ok(text) => {
                let value = Value::new(None, ValueKind::String(text.trim_end_matches(['\r', '\n']).to_owned()));
                values.push(Override { key, origin: item.origin, value });
            }
            Err(error) => problem(format!("the file that it names cannot be used: {error}")),
        }
    }
    values
}

fn key_behind(item: &Override, known: &BTreeMap<String, Value>) -> Option<String> {
    item.key.strip_suffix("_file").filter(|key| known.contains_key(*key)).map(str::to_owned)
}
