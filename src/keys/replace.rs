//! Changes a file as a whole: who reads it sees the old content or the new one, and of two writers none is lost.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;

/// A writer that takes longer has been stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file, behind all symbolic links, that no other writer changes at the same time.
#[derive(Debug)]
pub(super) struct Exclusive {
    path: PathBuf,
    folder: PathBuf,
    /// The lock is the folder's, because the file itself is replaced. It ends when this is closed.
    lock: File,
}

impl Exclusive {
    /// Waits for other writers to finish.
    ///
    /// # Errors
    /// When there is no folder, or another writer does not finish.
    pub(super) fn lock(path: &Path) -> anyhow::Result<Self> {
        let path = behind_links(path)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let lock = File::open(&folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, folder, lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    anyhow::bail!("another program has locked {} for {} s", folder.display(), PATIENCE.as_secs())
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", folder.display()));
                }
            }
        }
    }

    /// The file that is locked.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `content` beside the file, and puts it in its place. Mode and owner stay; a new file is its owner's only.
    ///
    /// # Errors
    /// When the system refuses; the file is as before then.
    pub(super) fn replace(&self, content: &str) -> anyhow::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = self.folder.join(format!(".{name}.{}.new", std::process::id()));
        let written = self.write(&new, content).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&new);
            return Err(error).with_context(|| format!("cannot write {}", self.path.display()));
        }
        // The new name itself is on the disk when the folder is. The lock is an open handle of it.
        self.lock.sync_all().with_context(|| format!("cannot write {}", self.folder.display()))
    }

    fn write(&self, new: &Path, content: &str) -> io::Result<()> {
        // Of a process of the same id that was killed here.
        let _ = fs::remove_file(new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(content.as_bytes())?;
        match fs::metadata(&self.path) {
            Ok(old) => {
                let own = file.metadata()?;
                if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                    fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
                file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        file.sync_all()
    }
}

/// Where the content really is. A file that is not there yet stands for itself.
fn behind_links(path: &Path) -> anyhow::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(path.to_owned()),
        Err(error) => Err(error).with_context(|| format!("cannot find {}", path.display())),
    }
}
