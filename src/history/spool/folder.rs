//! The segments of a folder, the oldest first.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{files, row::Row},
    aside::{self, Aside},
    damage::Damage,
    segment::Segment,
};

/// A segment that has reached this is followed by another: what was written to the database is freed in such pieces.
pub(super) const SEGMENT: usize = 8 * 1024 * 1024;

/// Digits of a segment's number, and a number that is never reached: a file with a greater one is none of ours.
const DIGITS: usize = 16;
const MAX_NUMBER: u64 = 9_000_000_000_000_000;

/// Findings that wait to be told; those of more are added up.
const MAX_UNTOLD: usize = 64;

/// What lies in the folder, and what of it is open.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Held for as long as this server uses the folder.
    lock: Option<File>,
    /// What an earlier run has left and nobody has looked at yet, each with its bytes, the oldest first.
    pub unread: Vec<(PathBuf, u64)>,
    /// The oldest first; the last one may be open.
    pub segments: VecDeque<Segment>,
    /// Segments that the disk does not give at the moment.
    pub stuck: Vec<Stuck>,
    /// Damage that waits for the operator.
    pub aside: Aside,
    /// What was found and not told yet.
    untold: Vec<Damage>,
    /// What is appended to.
    pub open: Option<Arc<File>>,
    /// What has changed since it was synced: segments, and the folder with their names.
    pub unsynced: Vec<Arc<File>>,
    last: u64,
}

/// A segment that the disk does not give at the moment.
#[derive(Debug, Clone)]
pub(super) struct Stuck {
    pub path: PathBuf,
    /// None where it could not be looked at yet.
    pub segment: Option<Segment>,
}

impl Files {
    /// Takes the folder, unless that is done.
    pub(super) fn take(&mut self, folder: &Path) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let lock = lock(folder)?;
        let (mut found, mut foreign) = (Vec::new(), 0_u64);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let Ok(file) = entry.metadata() else { continue };
            let number = number(&path);
            self.last = self.last.max(number.unwrap_or(0));
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rows") if number.is_some() && file.is_file() => found.push((path, file.len())),
                Some("damaged") if file.is_file() => {}
                None if path.ends_with("lock") => {}
                _ => foreign += 1,
            }
        }
        if foreign > 0 {
            tracing::warn!(
                files = foreign,
                "the spool's folder holds files that are none of its own: they are left alone"
            );
        }
        found.sort();
        self.aside = Aside::look(folder)?;
        self.unread = found;
        self.lock = Some(lock);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        let stuck = self.stuck.iter().filter_map(|stuck| stuck.segment.as_ref());
        let segments = self.segments.iter().chain(stuck).map(Segment::weight).sum::<u64>();
        let unread = self.unread.iter().map(|(_, bytes)| bytes).sum::<u64>();
        unread + segments + self.aside.bytes
    }

    /// Rows in all. Those of a file that is not looked at are not counted yet: there is one at least.
    pub(super) fn rows(&self) -> u64 {
        let stuck = self.stuck.iter().map(|stuck| stuck.segment.as_ref().map_or(1, |segment| segment.rows));
        self.segments.iter().map(|segment| segment.rows).chain(stuck).sum::<u64>() + self.unread.len() as u64
    }

    pub(super) fn append(&mut self, folder: &Path, bytes: &[u8], rows: &[Row]) -> io::Result<()> {
        let fits = |segment: &Segment, file: &File| segment.bytes < SEGMENT as u64 && segment.is_intact(file);
        if !self.open.as_ref().zip(self.segments.back()).is_some_and(|(file, segment)| fits(segment, file)) {
            let (segment, file) = self.create(folder)?;
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

    fn create(&mut self, folder: &Path) -> io::Result<(Segment, File)> {
        self.last += 1;
        let path = folder.join(format!("{:0DIGITS$}.rows", self.last));
        match Segment::create(path.clone()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The folder was deleted, and its lock with it.
                self.lock = Some(lock(folder)?);
                Segment::create(path)
            }
            created => created,
        }
    }

    /// Takes a segment out, and lets go of it if it is appended to.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Segment> {
        let place = self.segments.iter().position(|segment| segment.path == path)?;
        if place + 1 == self.segments.len() {
            self.open = None;
        }
        self.segments.remove(place)
    }

    /// Puts a segment among the others, in their order.
    pub(super) fn insert(&mut self, segment: Segment) {
        let place = self.segments.partition_point(|other| other.path < segment.path);
        self.segments.insert(place, segment);
    }

    /// Deletes a segment all of whose rows are written or lost. Where its damage could not be copied, it is kept as a whole.
    pub(super) fn delete(&mut self, segment: &Segment) {
        let _ =
            if segment.is_kept { fs::rename(&segment.path, aside::beside(&segment.path)) } else { segment.delete() };
    }

    /// Leaves a finding to be told.
    pub(super) fn report(&mut self, damage: Damage) {
        let is_full = self.untold.len() >= MAX_UNTOLD;
        match self.untold.last_mut() {
            Some(last) if is_full => last.add(&damage),
            _ => self.untold.push(damage),
        }
    }

    /// What was not told yet.
    pub(super) fn take_untold(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.untold)
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join("lock");
    files::make_folder(&path)?;
    if fs::symlink_metadata(&path).is_ok_and(|file| !file.is_file()) {
        return Err(io::Error::other("its 'lock' is no regular file"));
    }
    let lock = files::own(File::options().create(true).truncate(false).write(true)).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another server uses it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The number of a segment, by the name of its file or of what is kept aside of it.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".rows").or_else(|| name.strip_suffix(".damaged"))?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|number| is_ours && *number < MAX_NUMBER)
}
