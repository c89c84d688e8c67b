//! Model repositories that a test makes for itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
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

/// The bundled models but for those that a command has to build: whether it was run must not make a difference.
pub fn bundled() -> PathBuf {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| {
        let links = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bundled");
        fs::create_dir_all(&links).unwrap();
        for entry in fs::read_dir(super::project().join("model")).unwrap() {
            let folder = entry.unwrap().path();
            let manifest = fs::read_to_string(folder.join("model.toml"));
            if manifest.is_ok_and(|manifest| !manifest.contains("[source]")) {
                // Left there by the last run.
                let _ = std::os::unix::fs::symlink(&folder, links.join(folder.file_name().unwrap()));
            }
        }
        links
    });
    MADE.clone()
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
