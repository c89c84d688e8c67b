//! The Open Inference Protocol, as clients that nobody here wrote speak it.

mod clients;
mod golden;
mod nodes;
mod repository;
mod settings;
mod traps;

use std::{path::PathBuf, sync::LazyLock};

use crate::support::python;

/// Models that Python made once for all tests: see `python/v2_models.py`.
pub fn models() -> Vec<PathBuf> {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("v2");
        std::fs::create_dir_all(&folder).unwrap();
        python("python/v2_models.py", &[folder.to_str().unwrap()], "");
        folder
    });
    let files = std::fs::read_dir(&*MADE).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect()
}
