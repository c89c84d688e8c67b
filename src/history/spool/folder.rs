//! The segments of a folder, the oldest first.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{files, row::Row},
    segment::Segment,
};

/// A segment that has reached this is followed by another: what was written to the database is freed in such pieces.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// What lies in the folder, and what of it is open.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Held for as long as this server uses the folder.
    lock: Option<File>,
    /// What an earlier run has left and nobody has looked at yet, the oldest first, and its bytes.
    pub unread: Vec<PathBuf>,
    pub unread_bytes: u64,
    /// The oldest first; the last one may be open.
    pub segments: VecDeque<Segment>,
    /// What is appended to.
    pub open: Option<Arc<File>>,
    /// What has changed since it was synced: segments, and the folder with their names.
    pub unsynced: Vec<Arc<File>>,
    last: u64,
}

impl Files {
    /// Takes the folder, unless that is done.
    pub(super) fn take(&mut self, folder: &Path) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = folder.join("lock");
        files::make_folder(&path)?;
        let lock = files::own(File::options().create(true).truncate(false).write(true)).open(path)?;
        lock.try_lock()?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(number) = number(&entry.path()) {
                found.push((number, entry.path()));
                bytes += entry.metadata()?.len();
            }
        }
        found.sort();
        self.last = found.last().map_or(0, |(number, _)| *number);
        (self.unread, self.unread_bytes) = (found.into_iter().map(|(_, path)| path).collect(), bytes);
        self.lock = Some(lock);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.unread_bytes + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    pub(super) fn append(&mut self, folder: &Path, bytes: &[u8], rows: &[Row]) -> io::Result<()> {
        let full = self.segments.back().is_some_and(|segment| segment.bytes >= SEGMENT);
        if self.open.is_none() || full {
            self.last += 1;
            let path = folder.join(format!("{:016}.rows", self.last));
            let (segment, file) = Segment::create(path)?;
            let file = Arc::new(file);
            // The file's name is to outlive a power cut too.
            self.unsynced.extend([Arc::new(File::open(folder)?), Arc::clone(&file)]);
            self.segments.push_back(segment);
            self.open = Some(file);
        }
        let (Some(file), Some(segment)) = (&self.open, self.segments.back_mut()) else { return Ok(()) };
        if !self.unsynced.iter().any(|other| Arc::ptr_eq(other, file)) {
            self.unsynced.push(Arc::clone(file));
        }
        let appended = segment.append(file, bytes, rows);
        if appended.is_err() {
            // What was half written is cut off, or else this segment is not appended to any more.
            self.open = None;
            if self.segments.back().is_some_and(|segment| segment.rows == 0) {
                self.segments.pop_back().into_iter().for_each(|segment| drop(segment.delete()));
            }
        }
        appended
    }
}

/// The number of a segment's file.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".rows")?.parse().ok()
}
