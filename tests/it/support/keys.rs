//! A keys file in a folder of its own, filled by the real command.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Finished, glassbox, run, run_with_input};

/// Gone with the test.
pub struct KeysFile {
    folder: TempDir,
    path: PathBuf,
}

/// A key that was made.
#[derive(Debug, Clone)]
pub struct Key {
    pub text: String,
    pub id: String,
}

impl KeysFile {
    /// No file yet.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { path: folder.path().join("keys.toml"), folder }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Writes in place, as an editor may.
    pub fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.path, text).unwrap();
    }

    /// `glassbox keys COMMAND --file FILE OPTIONS…`
    pub fn command(&self, command: &str, options: &[&str]) -> Finished {
        run(glassbox(&["keys", command, "--file"]).arg(&self.path).args(options))
    }

    /// `glassbox keys check`
    pub fn check(&self, key: &str) -> Finished {
        run_with_input(glassbox(&["keys", "check", "--file"]).arg(&self.path), key)
    }

    /// Makes a key; panics unless that works.
    pub fn create(&self, options: &[&str]) -> Key {
        let finished = self.command("create", &[&["--name", "test"], options].concat());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let text = finished.stdout.trim_end().to_owned();
        let id = text.split('_').nth(1).unwrap().to_owned();
        Key { text, id }
    }

    pub fn revoke(&self, id: &str) {
        let finished = self.command("revoke", &[id]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
}

impl Key {
    /// What nobody but its owner may know.
    pub fn secret(&self) -> &str {
        self.text.rsplit('_').next().unwrap()
    }

    /// The same id with another secret.
    pub fn forged(&self) -> String {
        format!("gb_{}_{}", self.id, "0".repeat(self.secret().len()))
    }
}
