//! Damage of the spool, kept aside until an operator has looked at it.
//!
//! What cannot be read of the segment `0000000000000007.rows` is kept in `0000000000000007.damaged`, one piece after the
//! other. It is there until the operator deletes or moves that file, also across restarts.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    super::files,
    scanner::{Scanner, Stretch},
    segment,
};

const EXTENSION: &str = "damaged";

/// Files that are kept at most, and the share of `history.spool_limit` that they may take: damage that is not looked at
/// leaves room for rows.
const MAX_FILES: usize = 64;
const MAX_SHARE: u64 = 4;

/// Names that are told.
const MAX_NAMES: usize = 5;

/// Entries of the folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// The files that are kept aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Aside {
    /// How many there are.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The first of their names, in order.
    pub names: Vec<String>,
}

/// What became of damage.
#[derive(Debug)]
pub(super) enum Kept {
    /// It is kept now.
    Here,
    /// An earlier run has kept and told it.
    Before,
    /// There is no room for it.
    NoRoom,
}

impl Aside {
    /// What lies in `folder`.
    pub(super) fn look(folder: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir(folder)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION)
                && let Ok(file) = entry.metadata()
                && file.is_file()
            {
                found.names.push(entry.file_name().to_string_lossy().into_owned());
                found.bytes += file.len();
            }
        }
        found.files = found.names.len();
        found.names.sort();
        found.names.truncate(MAX_NAMES);
        Ok(found)
    }

    /// Whether `bytes` more have room, where the spool may take `limit`.
    fn has_room(&self, bytes: u64, limit: u64) -> bool {
        self.files < MAX_FILES && self.bytes.saturating_add(bytes) <= limit / MAX_SHARE
    }

    /// Keeps what an earlier run has left damaged in the segment `path`; all of it, where it holds no row.
    pub(super) fn keep_all(&self, path: &Path, damage: &[Stretch], is_whole: bool, limit: u64) -> io::Result<Kept> {
        let aside = path.with_extension(EXTENSION);
        let bytes = size(damage);
        if fs::symlink_metadata(&aside).is_ok_and(|file| file.is_file() && file.len() == bytes) && !is_whole {
            return Ok(Kept::Before);
        }
        if !self.has_room(bytes, limit) {
            return Ok(Kept::NoRoom);
        }
        if is_whole {
            fs::rename(path, &aside)?;
        } else {
            // What is there is of the same segment, and holds less.
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => copy(path, damage, &aside)?,
            }
        }
        Ok(Kept::Here)
    }

    /// Keeps further damage of the segment `path`.
    pub(super) fn keep_more(&self, path: &Path, damage: &[Stretch], limit: u64) -> io::Result<Kept> {
        let aside = path.with_extension(EXTENSION);
        if !self.has_room(size(damage), limit) {
            return Ok(Kept::NoRoom);
        }
        copy(path, damage, &aside)?;
        Ok(Kept::Here)
    }
}

/// Where the whole of a segment is kept.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_extension(EXTENSION)
}

/// The bytes of all stretches.
pub(super) fn size(damage: &[Stretch]) -> u64 {
    damage.iter().map(|stretch| stretch.place.end - stretch.place.start).sum()
}

/// Appends the damage of a segment to a file.
fn copy(path: &Path, damage: &[Stretch], aside: &Path) -> io::Result<()> {
    let file = segment::open(path)?;
    let scanner = Scanner::new(file, 0);
    let there = fs::symlink_metadata(aside);
    if there.is_ok_and(|file| !file.is_file()) {
        return Err(io::Error::other("its place is taken by something else"));
    }
    let mut out = files::own(File::options().create(true).append(true)).open(aside)?;
    for stretch in damage {
        scanner.copy(&stretch.place, &mut out)?;
    }
    out.flush()?;
    out.sync_data()
}
