//! A disk that does not give the golden samples of a model before a test lets it: the model loads for as long.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::run;

/// Gone with the test, and then no file is held back any more.
pub struct HeldGolden {
    folder: TempDir,
}

impl HeldGolden {
    pub fn new() -> Self {
        let made = Self { folder: TempDir::new().unwrap() };
        fs::write(made.held(), "").unwrap();
        let held = format!("-DHELD=\"{}\"", made.held().display());
        let source = super::project().join("tests/it/support/held_file.c");
        // What links Rust programs is a C compiler.
        let compiled = run(Command::new("cc").args(["-shared", "-fPIC", &held, "-o"]).args([&made.library(), &source]));
        assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
        made
    }

    /// Has the server that `command` starts read from this disk.
    pub fn hold<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", self.library())
    }

    /// Gives the files.
    pub fn release(&self) {
        fs::remove_file(self.held()).unwrap();
    }

    fn held(&self) -> PathBuf {
        self.folder.path().join("held")
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("held.so")
    }
}
