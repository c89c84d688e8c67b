//! Changes a keys file, and leaves whatever people wrote into it as it stands: order, comments, spaces.

use std::{io::ErrorKind, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::{
    KeysError, NewKey, Plan, Scope, Validity,
    file::{self, END},
    parse::parse,
    replace::Exclusive,
};

const HEADER: &str = "# Keys of Glassbox: whose they are and what they may do, with a hash of each secret.
# Written by 'glassbox keys'. A running server sees changes within a second.
";

/// A file without keys: its header, and the mark at its end.
fn new_file() -> String {
    format!("{HEADER}\n{END}\n")
}

/// What a new key is to be.
#[derive(Debug)]
pub struct Draft {
    /// What people call it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The models that it may use, as globs; all when empty.
    pub models: Vec<String>,
    /// How often it may be used; the default plan when absent.
    pub plan: Option<String>,
    /// When it can be used.
    pub validity: Validity,
}

/// What became of a key that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked from now on.
    Now,
    /// It was revoked already.
    Before,
}

/// Makes a key and adds it to the file at `path`, which is made when it is not there.
///
/// # Errors
/// [`KeysError`] when the file is broken; when it cannot be written, or the draft is no valid key. The file is as before
/// then.
pub fn add(path: &Path, draft: &Draft, default: &Plan) -> anyhow::Result<NewKey> {
    change(path, default, |document| {
        let key = NewKey::make()?;
        let mut table = entry(&key, draft);
        // Behind everything that stands in the file, comments at its end included, and before the end mark.
        table.set_position(Some(isize::MAX));
        let trailing = document.trailing().as_str().unwrap_or_default().trim_end().to_owned();
        let end = trailing.strip_suffix(END).unwrap_or(&trailing).trim_end();
        table.decor_mut().set_prefix(if end.is_empty() { "\n".to_owned() } else { format!("{end}\n\n") });
        document.set_trailing(if trailing.ends_with(END) { format!("\n{END}\n") } else { String::new() });
        keys(document)?.push(table);
        Ok((key, true))
    })
}

/// Revokes a key of the file at `path`; its entry stays.
///
/// # Errors
/// [`KeysError`] when the file is broken; when it has no such key, or cannot be written.
pub fn revoke(path: &Path, id: &str, now: Timestamp, default: &Plan) -> anyhow::Result<Revoked> {
    change(path, default, |document| {
        let named = |table: &&mut Table| table.get("id").and_then(Item::as_str) == Some(id);
        let Some(table) = keys(document)?.iter_mut().find(named) else {
            anyhow::bail!("no key {id} is in {}", path.display());
        };
        if table.contains_key("revoked_at") {
            return Ok((Revoked::Before, false));
        }
        table.insert("revoked_at", value(seconds(now)));
        Ok((Revoked::Now, true))
    })
}

/// Reads, changes and writes the file while nobody else does. `edit` tells what it found, and whether there is something
/// to write.
fn change<T>(
    path: &Path,
    default: &Plan,
    edit: impl FnOnce(&mut DocumentMut) -> anyhow::Result<(T, bool)>,
) -> anyhow::Result<T> {
    let file = Exclusive::lock(path)?;
    let text = match file::text(file.path()) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => new_file(),
        Err(cause) => return Err(KeysError::Unreadable { path: path.to_owned(), cause }.into()),
    };
    let text = if text.trim().is_empty() { new_file() } else { text };
    let faulty = |faults| KeysError::Faulty { path: path.to_owned(), faults };
    parse(&text, default).map_err(faulty)?;
    let mut document: DocumentMut = text.parse().context("the keys file cannot be changed")?;
    let (found, changed) = edit(&mut document)?;
    if changed {
        let text = document.to_string();
        parse(&text, default).map_err(faulty).context("with this change, the server would refuse the file")?;
        file.replace(&text)?;
    }
    Ok(found)
}

/// The list of keys. Written as inline tables, it says the same, and is put into the usual form.
fn keys(document: &mut DocumentMut) -> anyhow::Result<&mut ArrayOfTables> {
    if !document.get("keys").is_some_and(Item::is_array_of_tables) {
        let keys = document.remove("keys").and_then(|keys| keys.into_array_of_tables().ok());
        document.insert("keys", Item::ArrayOfTables(keys.unwrap_or_default()));
    }
    document.get_mut("keys").and_then(Item::as_array_of_tables_mut).context("keys are written as [[keys]]")
}

fn entry(key: &NewKey, draft: &Draft) -> Table {
    let mut table = Table::new();
    table.insert("id", value(&key.id));
    table.insert("name", value(&draft.name));
    table.insert("secret_sha256", value(key.hash.hex()));
    table.insert("scopes", value(draft.scopes.iter().map(|scope| scope.as_str()).collect::<Array>()));
    if !draft.models.is_empty() {
        table.insert("models", value(draft.models.iter().collect::<Array>()));
    }
    if let Some(plan) = &draft.plan {
        table.insert("plan", value(plan));
    }
    let Validity { not_before, expires_at, revoked_at } = draft.validity;
    for (name, time) in [("not_before", not_before), ("expires_at", expires_at), ("revoked_at", revoked_at)] {
        if let Some(time) = time {
            table.insert(name, value(seconds(time)));
        }
    }
    table
}

/// RFC 3339, without the fraction of a second that nobody means.
fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}
