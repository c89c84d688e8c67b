//! Where ONNX Runtime's shared library is looked for, and the check that loading it cannot harm the server.

use std::{
    fmt,
    io::Read,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use super::session::{Library, OLDEST_MINOR};
use crate::config::{RuntimeConfig, is_in_environment};

const FILE_NAME: &str = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

/// The environment variable that keeps ONNX Runtime from telling anybody about this machine and its models.
pub const TELEMETRY_SWITCH: &str = "ORT_DISABLE_TELEMETRY";

/// A library that takes longer to load than this counts as one that hangs.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// No usable library. One clear error: the cause, the places tried, the command that mends it.
#[derive(Debug)]
pub struct LibraryError {
    cause: String,
    tried: Vec<String>,
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no usable ONNX Runtime library (1.{OLDEST_MINOR} or newer): {}", self.cause)?;
        for place in &self.tried {
            write!(f, "\n  tried {place}")?;
        }
        f.write_str(
            "\nrun 'make setup' in the project's folder and start there, or name a library with runtime.onnxruntime_path or \
             ORT_DYLIB_PATH",
        )
    }
}

impl std::error::Error for LibraryError {}

/// A library to load, and the places that were looked at on the way to it.
#[derive(Debug)]
struct Found {
    /// The file, or a bare name for the system's loader.
    path: PathBuf,
    tried: Vec<String>,
}

impl Found {
    /// The error that tells why this library is no good.
    fn error(&self, cause: impl Into<String>) -> LibraryError {
        LibraryError { cause: cause.into(), tried: self.tried.clone() }
    }
}

/// Looks in the configured place, `ORT_DYLIB_PATH`, beside the executable and in `lib/` beside it, `.onnxruntime/` in the
/// working directory, and leaves the rest to the system's loader.
///
/// # Errors
/// When a place that somebody named does not hold the library: falling back in silence would hide the slip.
fn find(config: &RuntimeConfig) -> Result<Found, LibraryError> {
    let mut tried = Vec::new();
    let named = [
        ("runtime.onnxruntime_path", config.onnxruntime_path.as_deref()),
        ("ORT_DYLIB_PATH", config.ort_dylib_path.as_deref()),
    ];
    let named = named.into_iter().find_map(|(origin, path)| Some((origin, path?)));
    if let Some((origin, path)) = named {
        tried.push(format!("{} ({origin})", path.display()));
        return match file_at(path) {
            Some(path) => Ok(Found { path, tried }),
            None => Err(LibraryError { cause: format!("{origin} names no library"), tried }),
        };
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let folders =
        beside.into_iter().flat_map(|folder| [folder.clone(), folder.join("lib")]).chain([".onnxruntime".into()]);
    for folder in folders {
        tried.push(folder.join(FILE_NAME).display().to_string());
        if let Some(path) = file_at(&folder) {
            return Ok(Found { path, tried });
        }
    }
    tried.push(format!("{FILE_NAME} on the system's loader path"));
    Ok(Found { path: FILE_NAME.into(), tried })
}

/// The library that `path` is or holds, as an absolute path. Of versioned names (`libonnxruntime.so.1.31.1`), the
/// newest counts.
fn file_at(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return path.canonicalize().ok();
    }
    let exact = path.join(FILE_NAME);
    if exact.is_file() {
        return exact.canonicalize().ok();
    }
    let versioned = std::fs::read_dir(path).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?.strip_prefix(FILE_NAME)?.strip_prefix('.')?;
        let number = number.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        Some((number, path))
    });
    versioned.max()?.1.canonicalize().ok()
}

/// Finds the library, lets a child process try it, and loads it.
///
/// # Errors
/// When there is none, or it is no good.
pub fn load(config: &RuntimeConfig) -> Result<&'static Library, LibraryError> {
    let found = find(config)?;
    if !is_in_environment(TELEMETRY_SWITCH) {
        tracing::warn!("ONNX Runtime may tell its makers about this machine: {TELEMETRY_SWITCH} is not set");
    }
    if let Some(prober) = &config.prober {
        probe(prober, &found)?;
    }
    Library::load(&found.path).map_err(|error| found.error(format!("{error:#}")))
}

/// What the child of [`probe`] says when the library is loaded: a library can also end its process without an error.
const LOADED: &str = "loaded";

/// Loads the library in a child process first: a damaged one can crash its process or never return, and neither can be
/// caught from inside. `program` is this executable, which answers `probe-library PATH` with [`answer_probe`].
///
/// # Errors
/// What the child said, or that it crashed or hung.
fn probe(program: &Path, found: &Found) -> Result<(), LibraryError> {
    let failed = |error: std::io::Error| found.error(format!("it could not be tried: {error}"));
    let mut child = Command::new(program)
        .arg("probe-library")
        .arg(&found.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + PROBE_TIMEOUT;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(found.error(format!("loading {} does not end", found.path.display())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match (output.status.code(), said(&output.stderr)) {
        (Some(0), _) if said(&output.stdout).ends_with(LOADED) => Ok(()),
        (Some(0), _) => Err(found.error(format!("loading {} ends the process", found.path.display()))),
        (Some(_), reason) if !reason.is_empty() => Err(found.error(reason)),
        _ => Err(found.error(format!("loading {} crashes ({})", found.path.display(), output.status))),
    }
}

/// The child's side of the trial, which holds its standard input open for as long as it wants the answer.
pub fn answer_probe(path: &Path) -> ExitCode {
    // Ends with the parent, however that ends: otherwise a library that hangs would keep this process for ever. The
    // thread must be running before the library is touched: starting takes the loader's lock, which such a library holds.
    let (watching, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let _ = watching.send(());
        let _ = stdin.read_to_end(&mut Vec::new());
        std::process::abort();
    });
    let _ = started.recv();
    // The binding panics on a library that breaks its own interface. The reason below is for people, a backtrace is not.
    std::panic::set_hook(Box::new(|_| {}));
    let broken = |_| Err(anyhow::anyhow!("{} does not offer the interface of ONNX Runtime", path.display()));
    match catch_unwind(|| Library::load(path).map(drop)).unwrap_or_else(broken) {
        Ok(()) => {
            println!("{LOADED}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
