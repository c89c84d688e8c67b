//! Notices that a file has become another one, by looking at it: no notification crosses every network file system and
//! every swap of symbolic links, and a look costs one system call.

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

/// What a look at a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// What was there the last time.
    Same,
    /// Something else, which may not be complete.
    Moving,
    /// Something else, which has come to rest.
    Changed,
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

    /// Looks again. Something new is told only when it has come to rest: who writes in place is not read half way.
    pub(super) fn look(&mut self, path: &Path) -> Look {
        let now = stamp(path);
        if now == self.read {
            self.moving = None;
            return Look::Same;
        }
        let (last, since) = self.moving.unwrap_or((self.read, Instant::now()));
        if now == last || since.elapsed() > PATIENCE {
            *self = Self { read: now, moving: None };
            Look::Changed
        } else {
            self.moving = Some((now, since));
            Look::Moving
        }
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
        assert_eq!(watch.look(&path), Look::Same, "there is no file, as before");
        let expected = [Look::Moving, Look::Changed, Look::Same, Look::Same];
        for content in ["one", "two and more"] {
            fs::write(&path, content).unwrap();
            assert_eq!([(); 4].map(|()| watch.look(&path)), expected, "{content}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!([(); 4].map(|()| watch.look(&path)), expected);
    }

    #[test]
    fn a_file_that_never_rests_is_told_of_all_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watch = Watch::begin(file.path());
        let (started, mut size) = (Instant::now(), 0);
        let mut looks = std::iter::repeat_with(|| {
            size += 1;
            file.as_file().set_len(size).unwrap();
            watch.look(file.path())
        });
        assert!(looks.any(|look| look == Look::Changed || started.elapsed() > Duration::from_secs(20)));
        assert!(started.elapsed() > PATIENCE && started.elapsed() < Duration::from_secs(20));
    }
}
