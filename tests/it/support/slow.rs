//! A model that takes as long as a test wants.

use std::path::PathBuf;

use glassbox::config::Config;
use tempfile::TempDir;

use super::{TestApp, python, serve_files};

/// Counts to its input. Gone with the test.
pub struct Loop {
    folder: TempDir,
}

impl Loop {
    pub fn new() -> Self {
        let made = Self { folder: TempDir::new().unwrap() };
        python("python/loop_graph.py", &[made.path().to_str().unwrap()], "");
        made
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("loop.onnx")
    }

    /// Serves nothing else.
    pub async fn serve(&self, change: impl FnOnce(&mut Config)) -> TestApp {
        TestApp::with(|config| {
            serve_files(config, vec![self.path()]);
            change(config);
        })
        .await
    }
}
