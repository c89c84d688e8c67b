//! What an earlier run has left in the spool, and what is damaged in it: looked at, kept aside, and told.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{
    Spool,
    aside::{self, Aside, Kept},
    damage::{Damage, What},
    folder::Stuck,
    scanner::Stretch,
    segment::{Reading, Segment},
};

impl Spool {
    /// Looks again at what waits for an operator: damage that is kept aside, and segments that the disk does not give. Returns
    /// whether some of these can be read again.
    pub(in super::super) fn look(&self) -> bool {
        let found = Aside::look(&self.folder);
        let stuck = {
            let mut files = self.files();
            match found {
                Ok(aside) => files.aside = aside,
                Err(error) if error.kind() == io::ErrorKind::NotFound => files.aside = Aside::default(),
                Err(_) => {}
            }
            self.tell(&files);
            files.stuck.clone()
        };
        let mut is_more = false;
        for Stuck { path, segment } in stuck {
            let rows = segment.as_ref().map_or(0, |segment| segment.rows);
            let read = match segment {
                Some(segment) => segment.next(1).map(|_| Some(segment)),
                None => self.read(&path),
            };
            if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                continue;
            }
            is_more |= matches!(read, Ok(Some(_)));
            self.files().stuck.retain(|other| other.path != path);
            self.put(path, rows, read);
        }
        is_more
    }

    /// Damage that is kept aside, and the number of segments that the disk does not give.
    pub(in super::super) fn waiting(&self) -> (Aside, usize) {
        let files = self.files();
        (files.aside.clone(), files.stuck.len())
    }

    /// What was found since it was asked the last time.
    pub(in super::super) fn take_damage(&self) -> Vec<Damage> {
        self.files().take_untold()
    }

    /// Looks at a segment of an earlier run; none when there is no row in it.
    pub(super) fn read(&self, path: &Path) -> io::Result<Option<Segment>> {
        let Reading { mut segment, damage, torn } = Segment::read(path.to_owned())?;
        if let Some(torn) = torn {
            let bytes = torn.place.end - torn.place.start;
            self.files().report(Damage::new(What::Torn, path, torn.rows, bytes));
            // It is not to be told again.
            if segment.rows > 0 {
                let _ = File::options().write(true).open(path).and_then(|file| file.set_len(torn.place.start));
            }
        }
        if !damage.is_empty() {
            let aside = self.files().aside.clone();
            let kept = aside.keep_all(path, &damage, segment.rows == 0, self.limit);
            self.kept(&mut segment, &damage, kept);
        }
        if segment.rows == 0 {
            self.files().delete(&segment);
            return Ok(None);
        }
        Ok(Some(segment))
    }

    /// Keeps damage aside that was found while a segment was read for the database.
    pub(super) fn found(&self, segment: &Segment, damage: &[Stretch]) {
        let aside = self.files().aside.clone();
        let kept = aside.keep_more(&segment.path, damage, self.limit);
        let mut segment = segment.clone();
        let rows = damage.iter().map(|stretch| stretch.rows).sum();
        self.kept(&mut segment, damage, kept);
        let mut files = self.files();
        if let Some(own) = files.segments.iter_mut().find(|own| own.path == segment.path) {
            own.know(damage);
            own.rows = own.rows.saturating_sub(rows);
            own.is_kept = segment.is_kept;
        }
        self.tell(&files);
    }

    /// Counts and reports damage, unless an earlier run did.
    fn kept(&self, segment: &mut Segment, damage: &[Stretch], kept: io::Result<Kept>) {
        segment.know(damage);
        let what = match kept {
            Ok(Kept::Before) => return,
            Ok(Kept::NoRoom) => What::NotKept,
            Ok(Kept::Here) => What::Kept,
            // The file itself is kept, in the end.
            Err(_) => {
                segment.is_kept = true;
                What::Kept
            }
        };
        let rows = damage.iter().map(|stretch| stretch.rows).sum();
        let mut files = self.files();
        files.report(Damage::new(what, &segment.path, rows, aside::size(damage)));
        if let Ok(aside) = Aside::look(&self.folder) {
            files.aside = aside;
        }
        self.tell(&files);
    }

    /// Puts a segment that was looked at in its place. `rows` are known to have been in it.
    pub(super) fn put(&self, path: PathBuf, rows: u64, read: io::Result<Option<Segment>>) {
        let mut files = self.files();
        // Under one lock: what counts twice takes the room of rows that come meanwhile.
        files.unread.retain(|(other, _)| *other != path);
        match read {
            Ok(Some(segment)) => files.insert(segment),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files.report(Damage::new(What::Gone, &path, rows, 0));
            }
            Err(error) => {
                tell_stuck(&path, &error);
                files.stuck.push(Stuck { path, segment: None });
            }
        }
        self.tell(&files);
    }
}

pub(super) fn tell_stuck(path: &Path, error: &io::Error) {
    let segment = path.file_name().unwrap_or_default().to_string_lossy();
    tracing::error!(%segment, %error, "a part of the spool cannot be read: it is tried again, and the others go on");
}
