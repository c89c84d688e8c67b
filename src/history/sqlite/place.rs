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
    /// Of the log, since the first write of a connection that is open still.
    log: Arc<Mutex<Option<Identity>>>,
}

impl Place {
    /// The file that is there now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), file: identity(path)?, log: Arc::default() })
    }

    /// Whether it is there still, and its log too.
    pub(super) fn is_unchanged(&self) -> bool {
        let is = |path: &Path, file: Identity| match identity(path) {
            Ok(now) => now == file,
            // Otherwise it cannot be told, and the file may well be there.
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        is(&self.path, self.file) && self.log().is_none_or(|log| is(&self.beside("-wal"), log))
    }

    /// Rows were written, so there is a log.
    pub(super) fn has_log(&self) {
        let mut log = self.log();
        if log.is_none() {
            *log = identity(&self.beside("-wal")).ok();
        }
    }

    /// The connection that wrote is closed, and the log may go with it.
    pub(super) fn forget_log(&self) {
        *self.log() = None;
    }

    /// Deletes the log, if it is still that of this file: SQLite would take it for that of the file that has come in its place.
    pub(super) fn delete_log(&self) {
        let path = self.beside("-wal");
        if self.log().is_some_and(|log| identity(&path).is_ok_and(|now| now == log)) {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(self.beside("-shm"));
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<Identity>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        name.into()
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
        place.has_log();
        assert!(place.is_unchanged());
        let other = folder.path().join("other");
        fs::write(&other, "another log").unwrap();
        fs::rename(&other, &log).unwrap();
        assert!(!place.is_unchanged());
        place.delete_log();
        assert!(log.exists(), "it is not that of this file");

        let place = Place::of(&path).unwrap();
        place.has_log();
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!place.is_unchanged());
        place.delete_log();
        assert!(!log.exists());
    }
}
