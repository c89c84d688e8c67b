//! Whether the file at a path is still the one that was opened.
//!
//! SQLite goes on writing to a file that was deleted or replaced, and nobody finds those rows again. So the device and the
//! number of the file are compared before and after each write.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::super::condition::HOLD;

/// What tells a file from another one of the same name.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    // Behind links, as SQLite opens it.
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A file of SQLite's and its log, by name and identity.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub path: Arc<Path>,
    file: Identity,
    log: Arc<Mutex<Log>>,
}

/// What is known of a file's log.
#[derive(Debug, Default)]
struct Log {
    /// Its identity, while a connection is open that keeps SQLite from deleting it.
    held: Option<Identity>,
    /// Its identity when it was seen the last time. It may outlive all connections.
    seen: Option<Identity>,
}

impl Place {
    /// The file that is there now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), file: identity(path)?, log: Arc::default() })
    }

    /// Whether it is there still, and its log too.
    pub(super) fn is_unchanged(&self) -> bool {
        let held = self.log().held;
        is_still(&self.path, self.file) && held.is_none_or(|log| is_still(&self.beside("-wal"), log))
    }

    /// Remembers the log, if there is one. `is_held`: a connection has it open, and it stays as long as that does.
    pub(super) fn see_log(&self, is_held: bool) {
        let mut log = self.log();
        if log.held.is_some() {
            return;
        }
        let seen = identity(&self.beside("-wal")).ok();
        // Beside another file it would be the log of that one.
        if is_still(&self.path, self.file) {
            *log = Log { held: seen.filter(|_| is_held), seen };
        }
    }

    /// The connection that wrote is closed, and the log may have gone with it.
    pub(super) fn release_log(&self) {
        let mut log = self.log();
        log.held = None;
        // Another file can have the number of one that is gone.
        log.seen = log.seen.filter(|seen| identity(&self.beside("-wal")).is_ok_and(|now| now == *seen));
    }

    /// Takes the log away, if it is still that of this file: SQLite would take it for that of the file that has come in its
    /// place. It is deleted when it is empty, so that all of it is in this file; otherwise it gets a name that SQLite does not
    /// look for, since rows may be in it that are nowhere else.
    pub(super) fn take_log_away(&self) {
        let path = self.beside("-wal");
        let Some(seen) = std::mem::take(&mut *self.log()).seen else { return };
        if identity(&path).ok() != Some(seen) {
            return;
        }
        if fs::metadata(&path).is_ok_and(|log| log.len() == 0) {
            let _ = fs::remove_file(path);
        } else {
            let left = self.beside(&format!("-wal.{}", seen.1));
            let _ = fs::rename(path, &left);
            tracing::error!(
                log = %left.display(),
                "the log of the database's file that was deleted or replaced could not be moved into it: it is kept"
            );
        }
        let _ = fs::remove_file(self.beside("-shm"));
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        name.into()
    }
}

/// Whether the file at `path` is that one.
fn is_still(path: &Path, file: Identity) -> bool {
    match identity(path) {
        Ok(now) => now == file,
        // Otherwise it cannot be told, and the file may well be there.
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// That another file has come in the place of the one that was in use.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    is_news: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Replacement {
    /// It has happened.
    pub(super) fn note(&self) {
        self.is_news.store(true, Ordering::Release);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        tracing::warn!(
            "the database's file was deleted or replaced: what was stored before is not in the one that is used now"
        );
    }

    /// Whether it has happened since this was asked the last time.
    pub(super) fn is_news(&self) -> bool {
        self.is_news.swap(false, Ordering::AcqRel)
    }

    /// Whether it has happened a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last.elapsed() < HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_a_log_of_the_same_name_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("rows.db"), folder.path().join("rows.db-wal"));
        assert!(Place::of(&path).is_err(), "there is no file");
        fs::write(&path, "one").unwrap();
        let place = Place::of(&path).unwrap();
        fs::write(&path, "one and more").unwrap();
        assert!(place.is_unchanged());
        fs::write(&log, "log").unwrap();
        place.see_log(true);
        assert!(place.is_unchanged());
        let other = folder.path().join("other");
        fs::write(&other, "another log").unwrap();
        fs::rename(&other, &log).unwrap();
        assert!(!place.is_unchanged());
        place.take_log_away();
        assert!(log.exists(), "it is not that of this file");
    }

    #[test]
    fn a_log_goes_with_its_file_whether_or_not_a_connection_is_open() {
        for (content, is_held, left) in [("", true, 1), ("rows", true, 2), ("", false, 1), ("rows", false, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let (path, log) = (folder.path().join("rows.db"), folder.path().join("rows.db-wal"));
            fs::write(&path, "one").unwrap();
            fs::write(&log, content).unwrap();
            let place = Place::of(&path).unwrap();
            place.see_log(true);
            if !is_held {
                place.release_log();
            }
            let other = folder.path().join("other");
            fs::write(&other, "two").unwrap();
            fs::rename(&other, &path).unwrap();
            assert!(!place.is_unchanged());
            place.take_log_away();
            assert!(!log.exists());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), left, "rows that are nowhere else are kept");
        }
    }
}
