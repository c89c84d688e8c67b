//! Model repositories that a test makes for itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A repository in a folder of its own, gone with the test.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Copies a bundled model, manifest and all, under a name.
    pub fn copy(&self, bundled: &str, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        copy_folder(&super::project().join("model").join(bundled), &target);
        target
    }

    /// A model that takes text and needs no file but its manifest.
    pub fn stub(&self, name: &str) {
        let manifest = r#"
            provider = "stub"
            task = "classification"
            labels = ["no", "yes"]
            inputs = [{ name = "text", datatype = "BYTES", shape = [-1, 1] }]
            outputs = [{ name = "probabilities", datatype = "FP32", shape = [-1, 2] }]
            text.input = "text"
        "#;
        self.write(&format!("{name}/model.toml"), manifest);
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
