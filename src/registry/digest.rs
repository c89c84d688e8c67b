//! The files that a version is made of, as one hash. What its manifest makes of them is not in it.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{Source, loader::companion};
use crate::{
    engine::weights,
    files,
    model::{Manifest, Provider},
};

/// SHA-256 and size of what a version is made of. For a lone graph it is the file's own hash, as `sha256sum` prints it;
/// with further files, such as external weights, the hash over the list that `sha256sum` would print of them.
pub(super) fn digest(source: &Source, manifest: &Manifest) -> anyhow::Result<(String, u64)> {
    if manifest.provider == Provider::Stub {
        let folder = match source {
            Source::Folder(folder) => folder.parent().map(Path::to_owned).map(Source::Folder),
            Source::File(_) => None,
        };
        let manifest = folder.map(|folder| companion(&folder, "model.toml")).transpose()?.flatten().unwrap_or_default();
        return Ok((hex(&Sha256::digest(manifest)), 0));
    }
    let mut files = match source {
        Source::File(file) => vec![file.clone()],
        Source::Folder(folder) => files_of(folder)?,
    };
    files.extend(weights::files(&source.graph())?);
    files.sort();
    files.dedup();
    let mut hashes = Vec::with_capacity(files.len());
    let mut size = 0;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (hash, length) = hash_file(file).with_context(|| format!("'{name}' cannot be read"))?;
        size += length;
        hashes.push((hash, name));
    }
    if let [(only, _)] = &hashes[..] {
        return Ok((only.clone(), size));
    }
    let list: String = hashes.iter().map(|(hash, name)| format!("{hash}  {name}\n")).collect();
    Ok((hex(&Sha256::digest(list)), size))
}

/// A version's files, without those that only describe it.
fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let describes = |path: &Path| path.file_name().is_some_and(|name| name == "golden.json" || name == "metrics.json");
    let entries = std::fs::read_dir(folder).context("the version's folder cannot be read")?;
    let paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    Ok(paths.into_iter().filter(|path| path.is_file() && !describes(path)).collect())
}

fn hash_file(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = files::open(path, weights::MAX_FILE)?;
    let (mut hash, mut buffer, mut length) = (Sha256::new(), vec![0; 256 * 1024], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hash.finalize()), length));
        }
        hash.update(&buffer[..read]);
        length += read as u64;
    }
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
