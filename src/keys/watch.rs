//! Notices that a file has become another one, by looking at it: no notification crosses every network file system and
//! every swap of symbolic links, and a look costs some microseconds.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

/// Between two looks.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// A file that never comes to rest is read all the same after this.
const PATIENCE: Duration = Duration::from_millis(500);

/// What tells one content of a file from another without reading it, behind all symbolic links; or why there is none.
type Stamp = Result<[i128; 5], ErrorKind>;

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).map_err(|error| error.kind())?;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Ok([
        file.dev().into(),
        file.ino().into(),
        file.size().into(),
        time(file.mtime(), file.mtime_nsec()),
        time(file.ctime(), file.ctime_nsec()),
    ])
}

/// What was seen of a file.
#[derive(Debug)]
pub(super) struct Watch {
    /// When it was read last.
    read: Stamp,
    /// A change that may not be complete, as it was seen last, and when the first of it was seen.
    moving: Option<(Stamp, Instant)>,
}

impl Watch {
    /// What is at `path` is about to be read.
    pub(super) fn begin(path: &Path) -> Self {
        Self { read: stamp(path), moving: None }
    }

    /// Whether there is something new, and it has come to rest: who writes in place is not read half way.
    pub(super) fn has_changed(&mut self, path: &Path) -> bool {
        let now = stamp(path);
        if now == self.read {
            self.moving = None;
            return false;
        }
        let (last, since) = self.moving.unwrap_or((self.read, Instant::now()));
        let changed = now == last || since.elapsed() > PATIENCE;
        if changed {
            *self = Self { read: now, moving: None };
        } else {
            self.moving = Some((now, since));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_has_come_to_rest() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        let mut watch = Watch::begin(&path);
        assert!(!watch.has_changed(&path), "there is no file, as before");
        for content in ["one", "two and more"] {
            fs::write(&path, content).unwrap();
            let looks: Vec<_> = (0..4).map(|_| watch.has_changed(&path)).collect();
            assert_eq!(looks, [false, true, false, false], "{content}");
        }
        fs::remove_file(&path).unwrap();
        let looks: Vec<_> = (0..4).map(|_| watch.has_changed(&path)).collect();
        assert_eq!(looks, [false, true, false, false]);
    }

    #[test]
    fn a_file_that_never_rests_is_told_of_all_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watch = Watch::begin(file.path());
        let (started, mut size) = (Instant::now(), 0);
        let changed = std::iter::repeat_with(|| {
            size += 1;
            file.as_file().set_len(size).unwrap();
            watch.has_changed(file.path())
        });
        assert!(changed.take_while(|changed| !changed).all(|_| started.elapsed() < Duration::from_secs(20)));
        assert!(started.elapsed() > PATIENCE);
    }
}
