//! What there is to serve: reads the model repository's folders and single files, and loads nothing.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    config::ModelsConfig,
    files::{self, MIB},
    model::{Manifest, ModelName, Provider, Version},
};

/// The graph's file name inside a version's folder.
const GRAPH: &str = "model.onnx";

/// The names of 100,000 classes take some 2 MB.
const MAX_MANIFEST: u64 = 4 * MIB;

/// One model as it lies in the repository.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// Its name.
    pub name: ModelName,
    /// Its manifest; the default one when it has none.
    pub manifest: Manifest,
    /// The versions to serve.
    pub versions: Vec<VersionSource>,
    /// Versions whose graph is made by a command that has not run yet.
    pub not_built: Vec<Version>,
    /// Why none of them can be served.
    pub fault: Option<String>,
}

/// One version to load.
#[derive(Debug, Clone)]
pub struct VersionSource {
    /// Its version.
    pub version: Version,
    /// Where it lies.
    pub source: Source,
}

/// Where a version lies.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder with `model.onnx`, `golden.json`, …
    Folder(PathBuf),
    /// A graph on its own.
    File(PathBuf),
}

impl Source {
    /// The graph's file.
    pub fn graph(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(GRAPH),
            Self::File(file) => file.clone(),
        }
    }

    /// A file beside the graph that belongs to the version.
    pub fn companion(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(name)),
            Self::File(_) => None,
        }
    }
}

impl ModelSource {
    /// The manifest's choice, or else the highest version.
    pub fn default_version(&self) -> Option<Version> {
        let chosen = self.manifest.versions.default.as_deref().and_then(Version::parse);
        let built = self.versions.iter().map(|version| version.version.clone()).max();
        chosen.or(built).or_else(|| self.not_built.iter().max().cloned())
    }

    /// Whether this model needs ONNX Runtime.
    pub fn needs_library(&self) -> bool {
        !self.versions.is_empty() && self.manifest.provider == Provider::Onnxruntime
    }

    /// Why versions are not built, for everybody.
    pub fn not_built_reason(&self) -> String {
        format!("it is not built yet: run '{}'", self.manifest.source.build.as_deref().unwrap_or_default())
    }

    /// Where it comes from, for whoever started the server.
    fn place(&self) -> String {
        match self.versions.first().map(|version| &version.source) {
            Some(Source::File(file)) => format!("'{}'", file.display()),
            _ => "the one in the repository".to_owned(),
        }
    }

    fn broken(name: ModelName, fault: String) -> Self {
        Self { name, manifest: Manifest::default(), versions: Vec::new(), not_built: Vec::new(), fault: Some(fault) }
    }
}

/// All models of the repository, and the single files beside it. A broken model is listed with its fault.
///
/// # Errors
/// When the repository or a file cannot be read, or two models have one name.
pub(super) fn scan(config: &ModelsConfig) -> anyhow::Result<Vec<ModelSource>> {
    let mut sources = Vec::new();
    if let Some(repository) = &config.repository {
        let unreadable = || format!("models.repository '{}' cannot be read", repository.display());
        for entry in std::fs::read_dir(repository).with_context(unreadable)? {
            sources.extend(model(&entry.with_context(unreadable)?.path()));
        }
    }
    for file in &config.files {
        sources.push(single_file(file)?);
    }
    if let Some(only) = &config.only {
        sources.retain(|source| source.name.as_str() == only);
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = sources.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let [a, b] = [&pair[0], &pair[1]].map(ModelSource::place);
        anyhow::bail!("two models have the name '{}': {a} and {b}", pair[0].name);
    }
    Ok(sources)
}

/// Why a model cannot be looked at.
#[derive(Debug)]
pub(super) enum NotListed {
    /// There is none of this name.
    Missing,
    /// It cannot be read.
    Unreadable(anyhow::Error),
}

/// One model, as it lies there now.
pub(super) fn find(config: &ModelsConfig, name: &ModelName) -> Result<ModelSource, NotListed> {
    let wanted = config.only.as_ref().is_none_or(|only| only == name.as_str());
    let folder = config.repository.as_ref().map(|repository| repository.join(name.as_str()));
    if let Some(source) = folder.filter(|folder| wanted && folder.is_dir()).and_then(|folder| model(&folder)) {
        return Ok(source);
    }
    let file = config.files.iter().find(|file| wanted && name_of(file).is_some_and(|own| own == *name));
    single_file(file.ok_or(NotListed::Missing)?).map_err(NotListed::Unreadable)
}

/// The names of all models that lie there now. Who only looks is told nothing of what is wrong with them.
///
/// # Errors
/// When the repository cannot be read.
pub(super) fn names(config: &ModelsConfig) -> anyhow::Result<Vec<ModelName>> {
    let mut names: Vec<ModelName> = config.files.iter().filter_map(|file| name_of(file)).collect();
    if let Some(repository) = &config.repository {
        for entry in std::fs::read_dir(repository).context("the model repository cannot be read")? {
            let folder = entry.context("the model repository cannot be read")?.path();
            let is_model = folder.is_dir() && (folder.join("model.toml").exists() || !versions(&folder).is_empty());
            let name =
                folder.file_name().filter(|_| is_model).and_then(|name| ModelName::parse(&name.to_string_lossy()));
            names.extend(name);
        }
    }
    names.retain(|name| config.only.as_ref().is_none_or(|only| only == name.as_str()));
    names.sort();
    names.dedup();
    Ok(names)
}

/// The name of a graph on its own.
fn name_of(file: &Path) -> Option<ModelName> {
    Some(ModelName::from_file_stem(&telling_name(&std::path::absolute(file).ok()?)))
}

/// A graph on its own: named after its file, version 1.
fn single_file(path: &Path) -> anyhow::Result<ModelSource> {
    let unreadable = || format!("'{}' cannot be read", path.display());
    let metadata = path.metadata().with_context(unreadable)?;
    // Links stay links: the name is theirs, and so are the files beside them that hold weights.
    let path = std::path::absolute(path).with_context(unreadable)?;
    anyhow::ensure!(
        metadata.is_file(),
        "'{}' is not a file; a folder of models is given as models.repository",
        path.display()
    );
    let version = Version::parse("1").context("'1' is a version")?;
    Ok(ModelSource {
        name: ModelName::from_file_stem(&telling_name(&path)),
        manifest: Manifest::default(),
        versions: vec![VersionSource { version, source: Source::File(path) }],
        not_built: Vec::new(),
        fault: None,
    })
}

/// The file's name; or its folder's, where exporters call every file `model.onnx` and versions are numbered.
fn telling_name(path: &Path) -> String {
    let names = path.ancestors().filter_map(|place| place.file_stem()).map(|name| name.to_string_lossy().into_owned());
    let tells = |name: &String| name != "model" && name.parse::<u64>().is_err();
    names.take(3).find(tells).unwrap_or_else(|| "model".to_owned())
}

/// Says so when a folder that is no model looks as if it was meant to be one.
fn warn_of_misplaced_graphs(folder: &Path) {
    let is_graph = |path: &Path| path.extension().is_some_and(|extension| extension == "onnx");
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let misplaced = entries(folder).any(|entry| {
        let path = entry.path();
        is_graph(&path) || (path.is_dir() && entries(&path).any(|entry| is_graph(&entry.path())))
    });
    if misplaced {
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tracing::warn!(
            folder,
            "not served: a model lies in NAME/VERSION/{GRAPH}, names without spaces, versions like 1"
        );
    }
}

/// The model in `folder`; `None` when the folder is something else.
fn model(folder: &Path) -> Option<ModelSource> {
    let Some(name) = ModelName::parse(&folder.file_name()?.to_string_lossy()) else {
        warn_of_misplaced_graphs(folder);
        return None;
    };
    let manifest_path = folder.join("model.toml");
    let found = versions(folder);
    let manifest = if manifest_path.exists() {
        let text = files::read_to_string(&manifest_path, MAX_MANIFEST).map_err(|error| error.to_string());
        text.and_then(|text| Manifest::parse(&text)).map_err(|error| format!("model.toml: {error}"))
    } else if found.is_empty() {
        warn_of_misplaced_graphs(folder);
        return None;
    } else {
        Ok(Manifest::default())
    };
    let source = manifest.and_then(|manifest| chosen(&name, manifest, found, folder));
    Some(source.unwrap_or_else(|fault| {
        tracing::error!(model = %name, error = fault, "model cannot be served");
        ModelSource::broken(name, fault)
    }))
}

/// Applies the manifest's choice of versions.
fn chosen(
    name: &ModelName,
    manifest: Manifest,
    found: Vec<VersionSource>,
    folder: &Path,
) -> Result<ModelSource, String> {
    if let Some(other) = manifest.name.as_deref().filter(|other| *other != name.as_str()) {
        return Err(format!("model.toml: the name is '{other}', but the folder's is '{name}'"));
    }
    let not_built = not_built(&manifest, &found, folder);
    let mut versions = found;
    if !manifest.versions.serve.is_empty() {
        let is_built = |text: &&String| !not_built.iter().any(|version| version.as_str() == **text);
        versions = manifest
            .versions
            .serve
            .iter()
            .filter(is_built)
            .map(|text| named(text, &versions, &manifest, folder))
            .collect::<Result<_, _>>()?;
    } else if manifest.provider == Provider::Stub && versions.is_empty() {
        versions = vec![named("1", &versions, &manifest, folder)?];
    }
    if versions.is_empty() && not_built.is_empty() {
        return Err("there is no version: no folder in it holds a 'model.onnx'".to_owned());
    }
    if let Some(default) = &manifest.versions.default
        && !versions.iter().map(|version| &version.version).chain(&not_built).any(|version| version.as_str() == default)
    {
        return Err(format!("model.toml: versions.default '{default}' is not served"));
    }
    Ok(ModelSource { name: name.clone(), manifest, versions, not_built, fault: None })
}

/// The versions that lack the graph which the manifest's command makes: those that the manifest names; and those that
/// have a folder, for what describes them can lie there before.
fn not_built(manifest: &Manifest, found: &[VersionSource], folder: &Path) -> Vec<Version> {
    if manifest.source.build.is_none() || manifest.provider == Provider::Stub {
        return Vec::new();
    }
    let mut versions: Vec<Version> = manifest.versions.serve.iter().filter_map(|text| Version::parse(text)).collect();
    if versions.is_empty() {
        versions = folders(folder).into_iter().map(|(version, _)| version).collect();
        versions.extend(manifest.versions.default.as_deref().and_then(Version::parse));
    }
    versions.retain(|version| found.iter().all(|found| found.version != *version));
    versions.sort();
    versions.dedup();
    if versions.is_empty() && found.is_empty() { Version::parse("1").into_iter().collect() } else { versions }
}

/// The version that `versions.serve` names. A stub needs no folder.
fn named(text: &str, found: &[VersionSource], manifest: &Manifest, folder: &Path) -> Result<VersionSource, String> {
    if let Some(version) = found.iter().find(|version| version.version.as_str() == text) {
        return Ok(version.clone());
    }
    let version = Version::parse(text).ok_or_else(|| format!("model.toml: '{text}' cannot be a version"))?;
    if manifest.provider == Provider::Stub {
        return Ok(VersionSource { source: Source::Folder(folder.join(text)), version });
    }
    Err(format!("model.toml: versions.serve names '{text}', but '{text}/{GRAPH}' is not there"))
}

/// Folders that hold a graph. A link that leads nowhere counts: it is reported when it is loaded.
fn versions(folder: &Path) -> Vec<VersionSource> {
    let mut folders = folders(folder);
    folders.retain(|(_, path)| path.join(GRAPH).symlink_metadata().is_ok());
    folders.into_iter().map(|(version, path)| VersionSource { version, source: Source::Folder(path) }).collect()
}

/// Folders that are called like a version, in order.
fn folders(folder: &Path) -> Vec<(Version, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .filter_map(|path| Some((Version::parse(&path.file_name()?.to_string_lossy())?, path)))
        .collect();
    folders.sort_by(|a, b| a.0.cmp(&b.0));
    folders
}
