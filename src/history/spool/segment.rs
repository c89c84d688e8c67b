//! One file of the spool: a header, then records.

use std::{
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    super::{files, row::Row, rows::Rows},
    scanner::{Found, Scanner, Stretch},
};

/// Begins every segment, and names the form of what follows.
const HEADER: &[u8; 8] = b"GBROWS\x00\x01";

/// Where the first record begins.
const START: u64 = HEADER.len() as u64;

/// A chunk ends before it takes more than this in memory.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// A file, and how much of it is still to be written to the database.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// The end of the last record, damaged ones included.
    pub bytes: u64,
    /// Rows that are still to be written.
    pub rows: u64,
    /// The time of the first of them.
    pub oldest: i64,
    /// Where they begin.
    at: u64,
    /// The damage that was told and kept aside.
    known: Vec<Range<u64>>,
    /// Damage could not be kept aside, so the file itself is to be kept.
    pub is_kept: bool,
    /// It was told that the disk does not give it.
    pub is_told: bool,
}

/// Rows of one segment in their order, and where the next ones begin.
#[derive(Debug)]
pub(in super::super) struct Chunk {
    pub rows: Rows,
    pub(super) path: PathBuf,
    end: u64,
    /// Damage among them that was not known before.
    pub(super) damage: Vec<Stretch>,
}

/// What an earlier run has left in a file.
#[derive(Debug)]
pub(super) struct Reading {
    pub segment: Segment,
    /// What lies between whole records.
    pub damage: Vec<Stretch>,
    /// The end, where the last write was interrupted.
    pub torn: Option<Stretch>,
}

impl Segment {
    /// A new file with nothing but its header.
    pub(super) fn create(path: PathBuf) -> io::Result<(Self, File)> {
        let mut file = files::own(File::options().create_new(true).append(true)).open(&path)?;
        file.write_all(HEADER)?;
        Ok((Self::new(path, START), file))
    }

    const fn new(path: PathBuf, at: u64) -> Self {
        Self { path, bytes: at, rows: 0, oldest: 0, at, known: Vec::new(), is_kept: false, is_told: false }
    }

    /// Looks at all that an earlier run has left in a file.
    pub(super) fn read(path: PathBuf) -> io::Result<Reading> {
        let file = open(&path)?;
        let length = file.metadata()?.len();
        let mut scanner = Scanner::new(file, length);
        let mut header = Vec::new();
        scanner.copy(&(0..length.min(START)), &mut header)?;
        // Without a header nothing is believed but whole records.
        let begins = if header == *HEADER { START } else { 0 };
        let mut segment = Self { bytes: length, ..Self::new(path, begins) };
        let (mut damage, mut torn, mut at) = (Vec::new(), None, begins);
        while let Some(found) = scanner.look(at)? {
            match found {
                Found::Row(row, end) => {
                    if segment.rows == 0 {
                        segment.oldest = row.time();
                    }
                    segment.rows += 1;
                    at = end;
                }
                Found::Damage(mut stretch) => {
                    at = stretch.place.end;
                    if at <= START {
                        // The header alone.
                        stretch.rows = 0;
                    }
                    // A write is interrupted within a record, and an unsynced file can be zeros altogether.
                    if at == length
                        && let Some(rows) = scanner.torn(&stretch)?
                        && (rows == 0 || stretch.place.start >= START)
                    {
                        segment.bytes = stretch.place.start.max(begins);
                        torn = Some(Stretch { rows, ..stretch });
                    } else {
                        damage.push(stretch);
                    }
                }
            }
        }
        Ok(Reading { segment, damage, torn })
    }

    /// Appends records of `rows`. All or nothing.
    pub(super) fn append(&mut self, mut file: &File, bytes: &[u8], rows: &[Row]) -> io::Result<()> {
        if let Err(error) = file.write_all(bytes) {
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        if self.rows == 0 {
            self.oldest = rows.first().map_or(0, |row| row.time());
        }
        self.bytes += bytes.len() as u64;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Whether `file`, to which this is appended, still has its name and ends where this ends.
    pub(super) fn is_intact(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|file| file.nlink() > 0 && file.len() == self.bytes)
    }

    /// The first rows that are still to be written.
    pub(super) fn next(&self, rows: usize) -> io::Result<Chunk> {
        let file = open(&self.path)?;
        let length = file.metadata()?.len();
        let mut scanner = Scanner::new(file, self.bytes.min(length));
        let (mut read, mut damage, mut end) = (Vec::new(), Vec::new(), self.at);
        while read.len() < rows && end - self.at < CHUNK_BYTES {
            let found = match scanner.look(end) {
                // What the disk has given goes on, up to what it does not give.
                Err(_) if end > self.at => break,
                found => found?,
            };
            match found {
                Some(Found::Row(row, next)) => {
                    read.push(*row);
                    end = next;
                }
                Some(Found::Damage(stretch)) => {
                    end = stretch.place.end;
                    if !self.known.contains(&stretch.place) {
                        damage.push(stretch);
                    }
                }
                // The file may have become shorter than it was.
                None => {
                    end = self.bytes;
                    break;
                }
            }
        }
        Ok(Chunk { rows: read.into(), path: self.path.clone(), end, damage })
    }

    /// This damage was told.
    pub(super) fn know(&mut self, damage: &[Stretch]) {
        self.known.extend(damage.iter().map(|stretch| stretch.place.clone()));
    }

    /// The bytes that count for the spool's limit: damage counts where it is kept aside.
    pub(super) fn weight(&self) -> u64 {
        let damaged: u64 = self.known.iter().map(|place| place.end - place.start).sum();
        self.bytes.saturating_sub(damaged)
    }

    /// These rows are in the database.
    pub(super) fn advance(&mut self, chunk: &Chunk) {
        self.at = chunk.end;
        self.rows = self.rows.saturating_sub(chunk.rows.len() as u64);
        self.oldest = chunk.rows.last().map_or(self.oldest, |row| row.time());
    }

    pub(super) const fn is_done(&self) -> bool {
        self.at >= self.bytes
    }

    pub(super) fn delete(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Opens a regular file: a link is not followed, and a pipe is not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let identity = |file: &fs::Metadata| (file.dev(), file.ino());
    let named = fs::symlink_metadata(path)?;
    if !named.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = File::open(path)?;
    if identity(&file.metadata()?) != identity(&named) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    Ok(file)
}
