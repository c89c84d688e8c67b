//! What ONNX Runtime says about itself and about failed runs, in words that may be shown.

use std::path::Path;

/// `1.31.1` from the file's name, as releases are called; else the commit that the library was built from. The binding
/// offers no safe way to ask the library itself.
pub(super) fn version_of(path: &Path, build_info: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.trim_start_matches("libonnxruntime").trim_start_matches(".so").trim_end_matches(".dylib");
    let number = number.trim_start_matches('.');
    if number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return number.to_owned();
    }
    let commit = build_info.split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
    commit.map_or_else(|| "unknown".to_owned(), |commit| format!("commit {commit}"))
}

/// Why a run gave no outputs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The graph cannot take these inputs, though they fit its declaration.
    #[error("the model cannot take this input: {0}")]
    Rejected(String),
    /// Everything else.
    #[error("the model failed: {0}")]
    Failed(String),
}

/// What a failed run means, by ONNX Runtime's own word for it and its message. Kernels that take texts may quote them: of
/// their words nothing is kept but the name of the node.
pub(super) fn explain(is_invalid_argument: bool, message: &str, takes_texts: bool) -> RunError {
    let of_the_input = is_invalid_argument || blames_input(message);
    let node = message.split_once("Status Message:").map_or("the run failed", |(node, _)| node.trim_end());
    let message = if takes_texts { node.to_owned() } else { without_values(message) };
    if of_the_input { RunError::Rejected(message) } else { RunError::Failed(message) }
}

/// ONNX Runtime's messages quote values of the input ("idx=99 must be within…"); the log must not. Numbers become `#`.
pub(super) fn without_values(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '0'..='9' if clean.ends_with('#') => {}
            '0'..='9' => clean.push('#'),
            c => clean.push(c),
        }
    }
    clean
}

/// Whether a run failed for what it was given. A node that fails was given what it cannot compute; most kernels say so
/// without a code of their own. Memory is the machine's.
fn blames_input(message: &str) -> bool {
    // Memory is the machine's, and a run that was ended is nobody's fault.
    let of_the_machine = ["allocate memory", "bad_alloc", "terminate flag"].iter().any(|words| message.contains(words));
    message.contains("while running") && !of_the_machine
}

/// Why the graph at `path` could not be loaded, without folders of the machine and places in ONNX Runtime's source: probes
/// show this to everybody.
pub(super) fn load_error(message: &str, path: &Path) -> String {
    const NO_GRAPH: &str = "Protobuf parsing failed.";
    let mut message = message.trim().to_owned();
    // Weights beside a graph are named by the full path even where the graph is not. The longer form goes first.
    for path in [path.canonicalize().unwrap_or_default().as_path(), path] {
        for folder in path.ancestors().skip(1).filter(|folder| folder.parent().is_some()) {
            message = message.replace(&format!("{}/", folder.display()), "");
        }
    }
    let cause = message.strip_prefix("Load model from ").and_then(|rest| rest.split_once(" failed:"));
    let cause = cause.map_or(&*message, |(_file, cause)| cause);
    // "/onnxruntime_src/…/model.cc:256 onnxruntime::Model::Model(…) Unsupported model IR version: 99, …"
    let cause = match cause.split_once(") ") {
        Some((place, cause)) if place.starts_with("/onnxruntime_src/") => cause,
        _ => cause,
    };
    match cause {
        NO_GRAPH => "the file is no ONNX graph, or only a part of one (Protobuf parsing failed)".to_owned(),
        _ => cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_kernel_that_takes_texts_are_not_kept() {
        let message =
            "Non-zero status code returned while running Cast node. Name:'c' Status Message: cannot read 'me'";
        match explain(false, message, true) {
            RunError::Rejected(words) => assert!(words.ends_with("Name:'c'"), "{words}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_lose_their_numbers() {
        assert_eq!(without_values("idx=99 must be within [-10,9]"), "idx=# must be within [-#,#]");
    }

    #[test]
    fn reasons_hold_no_folder_of_the_machine() {
        let path = Path::new("/srv/models/x/1/model.onnx");
        let cases = [
            ("Load model from /srv/models/x/1/model.onnx failed:No graph was found.", "No graph was found."),
            (
                "Load model from /srv/models/x/1/model.onnx failed:Protobuf parsing failed.",
                "the file is no ONNX graph, or only a part of one (Protobuf parsing failed)",
            ),
            (
                "Load model from /srv/models/x/1/model.onnx failed:/onnxruntime_src/a/model.cc:256 \
              onnxruntime::Model::Model(const Path&, int) Unsupported model IR version: 99\n\n",
                "Unsupported model IR version: 99",
            ),
            (
                "resolved path: \"/srv/models/y/w\" allowed directory: \"/srv/models/x/1\"",
                "resolved path: \"y/w\" allowed directory: \"1\"",
            ),
            ("Node '/encoder/(0) Conv' is bad", "Node '/encoder/(0) Conv' is bad"),
        ];
        for (message, expected) in cases {
            assert_eq!(load_error(message, path), expected);
        }
    }

    #[test]
    fn the_version_is_read_from_the_name_or_the_build_info() {
        let info = "ORT Build Info: git-branch=HEAD, git-commit-id=6af1a93, build type=Release";
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so.1.31.1"), info), "1.31.1");
        assert_eq!(version_of(Path::new("/x/libonnxruntime.1.31.1.dylib"), info), "1.31.1");
        assert_eq!(version_of(Path::new("libonnxruntime.so"), info), "commit 6af1a93");
    }
}
