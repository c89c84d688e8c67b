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

/// What is wrong with the graph at `path`, without the folder that it lies in: probes show this to everybody.
pub(super) fn without_folder(message: &str, path: &Path) -> String {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    // Weights beside a graph are named by the full path even where the graph is not. The longer form goes first.
    let forms = [folder.and_then(|folder| folder.canonicalize().ok()), folder.map(Path::to_owned)];
    let forms = forms.iter().flatten();
    forms.fold(message.to_owned(), |message, folder| message.replace(&format!("{}/", folder.display()), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_numbers() {
        assert_eq!(without_values("idx=99 must be within [-10,9]"), "idx=# must be within [-#,#]");
    }

    #[test]
    fn the_version_is_read_from_the_name_or_the_build_info() {
        let info = "ORT Build Info: git-branch=HEAD, git-commit-id=6af1a93, build type=Release";
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so.1.31.1"), info), "1.31.1");
        assert_eq!(version_of(Path::new("/x/libonnxruntime.1.31.1.dylib"), info), "1.31.1");
        assert_eq!(version_of(Path::new("libonnxruntime.so"), info), "commit 6af1a93");
    }
}
