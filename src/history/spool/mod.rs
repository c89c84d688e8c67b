//! Rows that the database does not take at the moment, on disk: written in their order, synced, read back in it.
//!
//! A folder of segments, each appended to by one run of the server and deleted when all of it is in the database. A crash
//! may leave a segment of which the beginning is in the database already: ids tell, and nothing is written twice.

mod segment;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

pub(super) use self::segment::Chunk;
use self::segment::{Reading, Segment};
use super::{files, row::Row};

/// A segment that has reached this is followed by another: what was written to the database is freed in such pieces.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// Rows on disk.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limit: u64,
    files: Mutex<Files>,
    /// Held while the disk syncs.
    syncing: Mutex<()>,
    /// Whether rows go to the database without a stop here.
    direct: AtomicBool,
    // What is told without waiting for the disk.
    rows: AtomicU64,
    bytes: AtomicU64,
    oldest: AtomicI64,
}

#[derive(Debug, Default)]
struct Files {
    /// Held for as long as this server uses the folder.
    lock: Option<File>,
    /// The oldest first; the last one may be open.
    segments: VecDeque<Segment>,
    /// What is appended to.
    open: Option<Arc<File>>,
    /// What has changed since it was synced: segments, and the folder with their names.
    unsynced: Vec<Arc<File>>,
    last: u64,
}

/// What became of rows that were to be kept here.
#[derive(Debug)]
pub(super) struct Appended {
    pub kept: usize,
    pub lost: usize,
    /// Why, where any were lost.
    pub reason: Option<String>,
}

impl Spool {
    /// Nothing is opened yet.
    pub(super) fn new(folder: PathBuf, limit: u64) -> Self {
        let (direct, oldest) = (AtomicBool::new(false), AtomicI64::new(0));
        let (rows, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { folder, limit, files: Mutex::default(), syncing: Mutex::default(), direct, rows, bytes, oldest }
    }

    /// Takes the folder, with what an earlier run has left there.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another server has it.
    pub(super) fn open(&self) -> io::Result<()> {
        let mut files = self.files();
        if files.lock.is_some() {
            return Ok(());
        }
        files::make_folder(&self.folder.join("lock"))?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let lock = files::own(&mut options).open(self.folder.join("lock"))?;
        lock.try_lock()?;
        let entries = fs::read_dir(&self.folder)?;
        let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|entry| named(&entry.ok()?.path())).collect();
        found.sort();
        for (number, path) in found {
            files.last = number;
            match Segment::read(path.clone())? {
                Reading::Whole(segment) => files.segments.push_back(segment),
                Reading::Torn(segment, bytes) => {
                    tracing::warn!(rows = segment.rows, bytes, "the last rows of the spool were not whole");
                    files.segments.push_back(segment);
                }
                Reading::Damaged(segment) => {
                    let aside = path.with_extension("damaged");
                    fs::copy(&path, &aside)?;
                    let file = aside.display();
                    tracing::error!(rows = segment.rows, %file, "a part of the spool cannot be read and is kept aside");
                    files.segments.push_back(segment);
                }
            }
        }
        files.segments.retain(|segment| segment.rows > 0 || segment.delete().is_err());
        files.lock = Some(lock);
        self.tell(&files);
        Ok(())
    }

    /// Appends rows, as many as there is room for.
    pub(super) fn append(&self, rows: &[Row]) -> Appended {
        let mut files = self.files();
        // What comes after these is not to overtake them.
        self.direct.store(false, Ordering::Release);
        let lost = |kept: usize, reason: String| Appended { kept, lost: rows.len() - kept, reason: Some(reason) };
        if files.lock.is_none() {
            return lost(0, "the folder is not ours".to_owned());
        }
        let room = self.limit.saturating_sub(files.bytes());
        let (bytes, kept) = segment::encode(rows, usize::try_from(room).unwrap_or(usize::MAX));
        if kept > 0
            && let Err(error) = files.append(&self.folder, &bytes, &rows[..kept])
        {
            self.tell(&files);
            return lost(0, error.to_string());
        }
        self.tell(&files);
        if kept < rows.len() { lost(kept, "it is full".to_owned()) } else { Appended { kept, lost: 0, reason: None } }
    }

    /// Waits until the disk has all that was appended before.
    ///
    /// # Errors
    /// When it does not take it.
    pub(super) fn sync(&self) -> io::Result<()> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let unsynced = mem::take(&mut self.files().unsynced);
        let synced = unsynced.iter().map(|file| file.sync_data()).fold(Ok(()), Result::and);
        if synced.is_err() {
            // Nobody knows what of it the disk has: what comes next goes to another file.
            self.files().open = None;
        }
        synced
    }

    /// The oldest rows; none when there are none.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub(super) fn next(&self, rows: usize) -> io::Result<Option<Chunk>> {
        let oldest = self.files().segments.front().cloned();
        // Read without the lock: who appends does not wait for it.
        oldest.map(|segment| segment.next(rows)).transpose()
    }

    /// The rows of this chunk are in the database.
    pub(super) fn done(&self, chunk: &Chunk) {
        let mut files = self.files();
        if let Some(segment) = files.segments.front_mut() {
            segment.advance(chunk);
            if segment.is_done() {
                let _ = segment.delete();
                files.segments.pop_front();
                if files.segments.is_empty() {
                    files.open = None;
                }
            }
        }
        self.tell(&files);
    }

    /// Lets rows pass by from now on, if none are here.
    pub(super) fn open_the_way(&self) -> bool {
        let files = self.files();
        let empty = files.segments.is_empty();
        self.direct.store(empty, Ordering::Release);
        empty
    }

    /// Whether rows go to the database without a stop here.
    pub(super) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Acquire)
    }

    /// Rows that are here, the bytes that they take, and the time of the oldest, in milliseconds since 1970.
    pub(super) fn size(&self) -> (u64, u64, Option<i64>) {
        let rows = self.rows.load(Ordering::Relaxed);
        let oldest = (rows > 0).then(|| self.oldest.load(Ordering::Relaxed));
        (rows, self.bytes.load(Ordering::Relaxed), oldest)
    }

    fn tell(&self, files: &Files) {
        self.rows.store(files.segments.iter().map(|segment| segment.rows).sum(), Ordering::Relaxed);
        self.bytes.store(files.bytes(), Ordering::Relaxed);
        self.oldest.store(files.segments.front().map_or(0, |segment| segment.oldest), Ordering::Relaxed);
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn append(&mut self, folder: &Path, bytes: &[u8], rows: &[Row]) -> io::Result<()> {
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
fn named(path: &Path) -> Option<(u64, PathBuf)> {
    let number = path.file_name()?.to_str()?.strip_suffix(".rows")?.parse().ok()?;
    Some((number, path.to_owned()))
}
