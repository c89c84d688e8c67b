//! Rows that the database does not take at the moment, on disk: written in their order, synced, read back in it.
//!
//! A folder of segments, each appended to by one run of the server and deleted when all of it is in the database. A crash
//! may leave a segment of which the beginning is in the database already: ids tell, and nothing is written twice. Damage
//! costs the rows that it touches, and is kept aside.

mod aside;
mod damage;
mod findings;
mod folder;
mod record;
mod scanner;
mod segment;

use std::{
    io, mem,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

pub(super) use self::{
    aside::Aside,
    damage::{Damage, What},
    segment::Chunk,
};
use self::{
    findings::tell_stuck,
    folder::{Files, SEGMENT, Stuck},
};
use super::row::Row;

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

    /// Takes the folder, and looks at what an earlier run has left there. That can take seconds: rows are appended meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another server has it.
    pub(super) fn open(&self) -> io::Result<()> {
        let unread = {
            let mut files = self.files();
            files.take(&self.folder)?;
            files.unread.clone()
        };
        for (path, _) in unread {
            let read = self.read(&path);
            self.put(path, 0, read);
        }
        Ok(())
    }

    /// Appends rows, as many as there is room for.
    pub(super) fn append(&self, rows: &[Row]) -> Appended {
        let mut files = self.files();
        // What comes after these is not to overtake them.
        self.direct.store(false, Ordering::Release);
        let appended = self.append_to(&mut files, rows);
        self.tell(&files);
        appended
    }

    fn append_to(&self, files: &mut Files, rows: &[Row]) -> Appended {
        let mut kept = 0;
        let lost = |kept: usize, reason: String| Appended { kept, lost: rows.len() - kept, reason: Some(reason) };
        if let Err(error) = files.take(&self.folder) {
            return lost(0, format!("the spool's folder cannot be used: {error}"));
        }
        let mut bytes = Vec::new();
        while kept < rows.len() {
            let room = self.limit.saturating_sub(files.bytes());
            bytes.clear();
            let count = record::encode(&rows[kept..], &mut bytes, SEGMENT, usize::try_from(room).unwrap_or(usize::MAX));
            if count == 0 {
                return lost(kept, "the spool is full".to_owned());
            }
            if let Err(error) = files.append(&self.folder, &bytes, &rows[kept..kept + count]) {
                return lost(kept, format!("the spool cannot be written: {error}"));
            }
            kept += count;
        }
        Appended { kept, lost: 0, reason: None }
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

    /// The oldest rows that can be read; none when there are none.
    pub(super) fn next(&self, rows: usize) -> Option<Chunk> {
        loop {
            // Read without the lock: who appends does not wait for it.
            let oldest = self.files().segments.front().cloned()?;
            match oldest.next(rows) {
                Ok(chunk) => {
                    if !chunk.damage.is_empty() {
                        self.found(&oldest, &chunk.damage);
                    }
                    return Some(chunk);
                }
                Err(error) => {
                    let mut files = self.files();
                    let mut segment = files.remove(&oldest.path).unwrap_or(oldest);
                    let path = segment.path.clone();
                    if error.kind() == io::ErrorKind::NotFound {
                        files.report(Damage::new(What::Gone, &path, segment.rows, 0));
                    } else {
                        if !mem::replace(&mut segment.is_told, true) {
                            tell_stuck(&path, &error);
                        }
                        files.stuck.push(Stuck { path, segment: Some(segment) });
                    }
                    self.tell(&files);
                }
            }
        }
    }

    /// The rows of this chunk are in the database.
    pub(super) fn done(&self, chunk: &Chunk) {
        let mut files = self.files();
        let segment = files.segments.iter_mut().find(|segment| segment.path == chunk.path);
        let is_done = segment.is_some_and(|segment| {
            segment.advance(chunk);
            segment.is_done()
        });
        if is_done && let Some(segment) = files.remove(&chunk.path) {
            files.delete(&segment);
            if segment.rows > 0 {
                files.report(Damage::new(What::Gone, &segment.path, segment.rows, 0));
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
        self.rows.store(files.rows(), Ordering::Relaxed);
        self.bytes.store(files.bytes(), Ordering::Relaxed);
        self.oldest.store(files.segments.front().map_or(0, |segment| segment.oldest), Ordering::Relaxed);
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn rows_that_come_before_an_earlier_run_is_looked_at_are_kept_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Spool::new(folder.path().join("spool"), 1 << 20);
        earlier.open().unwrap();
        assert_eq!(earlier.append(&[row(1), row(2)]).kept, 2);
        drop(earlier);
        let spool = Spool::new(folder.path().join("spool"), 1 << 20);
        assert_eq!(spool.append(&[row(3)]).kept, 1);
        assert!(spool.size().0 >= 2, "one that is written, and one at least that is not looked at");
        assert!(!spool.is_direct());
        spool.open().unwrap();
        assert_eq!(spool.size().0, 3);
        let mut read = Vec::new();
        while let Some(chunk) = spool.next(10) {
            read.extend(chunk.rows.iter().map(Row::time));
            spool.done(&chunk);
        }
        assert_eq!(read, [1, 2, 3]);
        assert!(spool.open_the_way());
        assert_eq!(spool.size(), (0, 0, None));
    }

    #[test]
    fn what_an_earlier_run_has_left_counts_before_it_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Spool::new(folder.path().to_owned(), 1 << 20);
        assert_eq!(earlier.append(&[row(1)]).kept, 1);
        let (_, bytes, _) = earlier.size();
        drop(earlier);
        let full = Spool::new(folder.path().to_owned(), bytes);
        assert_eq!((full.append(&[row(2)]).lost, full.size().1), (1, bytes));
    }

    #[test]
    fn what_an_earlier_run_has_left_counts_once_while_it_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        for millis in 1..=3 {
            assert_eq!(Spool::new(folder.path().to_owned(), 1 << 20).append(&[row(millis)]).kept, 1);
        }
        let spool = Spool::new(folder.path().to_owned(), 1 << 20);
        spool.files().take(folder.path()).unwrap();
        let unread = spool.files().unread.clone();
        let bytes = spool.files().bytes();
        assert_eq!((unread.len(), bytes > 0), (3, true));
        for (path, _) in unread {
            let read = spool.read(&path);
            spool.put(path, 0, read);
            assert_eq!((spool.size().0, spool.size().1), (3, bytes));
        }
        assert!(spool.files().unread.is_empty());
    }

    #[test]
    fn rows_that_vanish_while_the_disk_does_not_give_them_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned(), 1 << 20);
        assert_eq!(spool.append(&[row(1), row(2)]).kept, 2);
        let path = spool.files().segments[0].path.clone();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(spool.next(10).is_none());
        assert_eq!((spool.waiting().1, spool.size().0), (1, 2));
        std::fs::remove_dir(&path).unwrap();
        assert!(!spool.look());
        let found: Vec<_> = spool.take_damage().iter().map(|damage| (damage.what, damage.rows)).collect();
        assert_eq!((found, spool.waiting().1, spool.size().0), (vec![(What::Gone, 2)], 0, 0));
    }

    fn row(millis: i64) -> Row {
        let text = serde_json::json!({
            "id": super::super::row::first_id_at(millis), "model": "m", "version": "1", "provider": "p",
            "input_hash": Uuid::nil(), "latency_us": 1, "cached": false,
        });
        serde_json::from_value(text).unwrap()
    }
}
