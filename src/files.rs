//! Reads files of the disk: only regular ones, and only up to a bound that the caller names.
//!
//! A pipe in the place of a file would keep its reader waiting for ever, and a device has no end. Everything that is read at
//! the start, when a model is loaded, or because it changed, is read here.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// One kibibyte.
pub const KIB: u64 = 1024;
/// One mebibyte.
pub const MIB: u64 = 1024 * KIB;
/// One gibibyte.
pub const GIB: u64 = 1024 * MIB;

/// Makes the opening of a pipe return at once. The number differs by system; where it is not known here, the look before the
/// opening has to do.
const O_NONBLOCK: i32 = if cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "powerpc64")
)) {
    0o4000
} else if cfg!(target_os = "macos") {
    4
} else {
    0
};

/// Opens a regular file of at most `max` bytes, behind all symbolic links.
///
/// # Errors
/// The system's, [`ErrorKind::FileTooLarge`], or that it is no regular file.
pub fn open(path: &Path, max: u64) -> io::Result<File> {
    // Looked at before it is opened: opening a device can do something to it.
    check(&fs::metadata(path)?, max)?;
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    // And again, for another file may have been put into its place.
    check(&file.metadata()?, max)?;
    Ok(file)
}

/// The content of a regular file of at most `max` bytes.
///
/// # Errors
/// As for [`open`].
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = open(path, max)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may grow while it is read, and some systems' files have no size at all.
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(too_large(max)) } else { Ok(bytes) }
}

/// The content of a text file.
///
/// # Errors
/// As for [`open`], and when it is not UTF-8.
pub fn read_to_string(path: &Path, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, max)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not valid UTF-8"))
}

fn check(file: &Metadata, max: u64) -> io::Result<()> {
    match () {
        () if !file.is_file() => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
        () if file.len() > max => Err(too_large(max)),
        () => Ok(()),
    }
}

fn too_large(max: u64) -> io::Error {
    let (size, unit) = match max {
        max if max.is_multiple_of(GIB) => (max / GIB, "GiB"),
        max if max.is_multiple_of(MIB) => (max / MIB, "MiB"),
        max if max.is_multiple_of(KIB) => (max / KIB, "KiB"),
        max => (max, "bytes"),
    };
    io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {size} {unit}"))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn regular_files_are_read_up_to_their_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let refused = |name: &str| read(&path(name), 4).unwrap_err().to_string();
        fs::write(path("file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        assert_eq!(read_to_string(&path("link"), 4).unwrap(), "text");
        fs::write(path("larger"), "texts").unwrap();
        assert_eq!(refused("larger"), "it is larger than 4 bytes");
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        symlink("/dev/zero", path("device")).unwrap();
        for name in ["pipe", "device", "."] {
            assert_eq!(refused(name), "it is not a regular file", "{name}");
        }
        assert_eq!(read(&path("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
        // Its size is told as 0.
        assert_eq!(read(Path::new("/proc/self/status"), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        fs::write(path("bytes"), [0xff]).unwrap();
        assert_eq!(read_to_string(&path("bytes"), 4).unwrap_err().to_string(), "it is not valid UTF-8");
    }

    #[test]
    fn a_pipe_that_takes_a_file_s_place_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // The opening itself, behind the first look.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&pipe).unwrap();
        assert!(check(&file.metadata().unwrap(), 4).is_err());
    }
}
