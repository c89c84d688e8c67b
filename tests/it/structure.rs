//! The rules that the code keeps: which module may import which, what stands in one file only, what every file has.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::project;

/// From the wiring down to the ground. Imports point down; modules of one row are strangers to each other.
const ROWS: [&[&str]; 10] = [
    &["main"],
    &["cli"],
    &["app"],
    &["api", "worker"],
    &["predict"],
    &["registry"],
    &["engine", "cache", "history", "queue", "keys"],
    &["model", "link"],
    &["error", "config", "lifecycle", "telemetry"],
    &["files"],
];

/// The ground is flat but for this: what is logged, and how, is configured; failures are counted by their code.
const EXCEPTIONS: [(&str, &str); 2] = [("telemetry", "config"), ("telemetry", "error")];

/// Files that are longer hold more than one thing.
const MOST_LINES: usize = 350;

#[test]
fn imports_point_down_and_modules_of_one_row_are_strangers() {
    let mut edges = BTreeSet::new();
    for file in sources() {
        let from = file.module.first().map_or("main", String::as_str).to_owned();
        // The crate's root declares the modules and uses none.
        if file.name == "lib.rs" {
            assert_eq!(imports(&file), BTreeSet::new(), "lib.rs");
            continue;
        }
        for to in imports(&file) {
            assert!(may_import(&from, &to), "{}: '{from}' must not import '{to}'", file.name);
            edges.insert((from.clone(), to));
        }
    }
    let known = [("main", "cli"), ("app", "api"), ("api", "predict"), ("registry", "engine"), ("engine", "model")];
    for (from, to) in known {
        assert!(edges.contains(&(from.to_owned(), to.to_owned())), "the import of '{to}' in '{from}' was not seen");
    }
}

fn may_import(from: &str, to: &str) -> bool {
    let row = |name: &str| {
        let row = ROWS.iter().position(|row| row.contains(&name));
        row.unwrap_or_else(|| panic!("the module '{name}' has no row here"))
    };
    from == to || row(from) < row(to) || EXCEPTIONS.contains(&(from, to))
}

#[test]
fn what_has_one_place_has_no_other() {
    for (path, place) in [
        ("ort", "engine/session.rs"),
        ("tokenizers", "engine/text/tokenizer.rs"),
        ("moka", "cache/memory.rs"),
        ("sqlx", "history.rs"),
        ("MultiplexedConnection", "link/redis.rs"),
        ("std::env::vars_os", "config/load.rs"),
        ("std::env::var_os", "config/load.rs"),
        ("track_future", "lifecycle.rs"),
    ] {
        let path = tokens(path);
        let naming = |file: &Source| tokens(&file.text).windows(path.len()).any(|window| window == path);
        let files: Vec<String> = sources().into_iter().filter(naming).map(|file| file.name).collect();
        let folder = format!("{}/", place.trim_end_matches(".rs"));
        let elsewhere: Vec<_> = files.iter().filter(|file| *file != place && !file.starts_with(&folder)).collect();
        assert!(elsewhere.is_empty() && !files.is_empty(), "{path:?}: {elsewhere:?}");
    }
}

#[test]
fn files_are_read_within_a_bound_and_by_one_reader() {
    // The system's own files about this machine, which no one else writes.
    const KERNEL: &str = "telemetry/metrics/machine.rs";
    for reader in ["fs::read", "fs::read_to_string", "pem_file_iter", "from_pem_file"] {
        let reader = tokens(reader);
        let reads = |file: &Source| tokens(&file.text).windows(reader.len()).any(|window| window == reader);
        let elsewhere = sources().into_iter().filter(|file| file.name != KERNEL && reads(file)).map(|file| file.name);
        assert_eq!(elsewhere.collect::<Vec<_>>(), Vec::<String>::new(), "{reader:?}: see src/files.rs");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "{} does not open with '//!'", file.name);
        let lines = file.text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines, more than {MOST_LINES}", file.name);
    }
    // What browsers are sent keeps to the same.
    for path in files("src/api/console") {
        let (name, text) = (path.display(), fs::read_to_string(&path).unwrap());
        let opening = match path.extension().and_then(|extension| extension.to_str()) {
            Some("js") => "// ",
            Some("css") => "/* ",
            _ => "<",
        };
        assert!(text.starts_with(opening), "{name} does not open with '{opening}'");
        assert!(text.lines().count() <= MOST_LINES, "{name} has more than {MOST_LINES} lines");
    }
}

#[test]
fn the_manual_says_what_every_key_means() {
    let mut keys = 0;
    for line in glassbox::config::DEFAULT_TOML.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with('[') {
            continue;
        }
        let comment = line.split_once(" # ").map(|(_, comment)| comment.split_whitespace().count()).unwrap_or_default();
        assert!(comment >= 3, "{line} is not explained");
        keys += 1;
    }
    assert!(keys > 15, "only {keys} keys were found");
}

#[test]
fn every_form_of_an_import_is_seen() {
    let file = |module: &[&str], text: &str| Source {
        name: String::new(),
        module: module.iter().map(|name| (*name).to_owned()).collect(),
        text: text.to_owned(),
    };
    for (module, text, expected) in [
        (&["api", "v1"][..], "use crate::error::Error;", &["error"][..]),
        (&["api", "v1"], "use crate::{api::{self, x}, config::{A, B}, error as e};", &["api", "config", "error"]),
        (&["api", "v1"], "fn f() { crate::model::g(&crate ::predict::X) }", &["model", "predict"]),
        (&["api", "v1"], "use super::{state, extract};", &["api"]),
        (&["api", "v1"], "use super::super::engine::Model;", &["engine"]),
        (&["api"], "use super::{engine::Model, cache};", &["cache", "engine"]),
        (&["api"], "mod tests { use super::*; use super::super::model::A; }", &["api", "model"]),
        (&["api"], "mod tests { fn f() {} } use super::model::A;", &["model"]),
        (&["api"], "pub(in crate::api) fn f() {}", &["api"]),
        (&[], "fn main() { glassbox::cli::main() }", &["cli"]),
        (&["api"], "// crate::engine\n/* crate::engine */ /// [`crate::engine`]\n", &[]),
        (&["api"], r##"const A: &str = "crate::engine"; const B: &str = r#"" crate::cache"#; "##, &[]),
        (&["api"], "fn f<'a>(c: char) -> &'a str { if c == '\"' || c == '\\'' { crate::error::e() } }", &["error"]),
    ] {
        let seen = imports(&file(module, text));
        assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
    }
    assert!(may_import("api", "model") && may_import("telemetry", "config") && may_import("model", "model"));
    assert!(!may_import("model", "api") && !may_import("config", "telemetry") && !may_import("cache", "engine"));
}

/// One file of `src/`.
struct Source {
    /// Its path under `src/`.
    name: String,
    /// The path of its module; empty for the crate's root.
    module: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = project().join("src");
    let files: Vec<_> = files("src").into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs")).collect();
    assert!(files.len() > 30, "only {} files were found", files.len());
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
        Source { text: fs::read_to_string(&path).unwrap(), name, module }
    };
    files.into_iter().map(source).collect()
}

/// All files in a folder of the project, and in those inside of it.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&project().join(folder), &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// The modules under the crate's root that a file names in its code, its own among them.
fn imports(file: &Source) -> BTreeSet<String> {
    let tokens = tokens(&file.text);
    let mut found = BTreeSet::new();
    // Modules that are open at this place: the file's own, and those inside of it with the depth of their brace.
    let (mut inner, mut depth) = (Vec::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [Token::Word(word), Token::Word(_), Token::Mark('{'), ..] if word == "mod" => inner.push(depth),
            [Token::Mark('{'), ..] => depth += 1,
            [Token::Mark('}'), ..] => {
                depth -= 1;
                inner.pop_if(|start| *start == depth);
            }
            [Token::Word(word), Token::Path, ..] if word == "crate" || word == "glassbox" => {
                found.extend(heads(&tokens[at + 2..]));
            }
            [Token::Word(word), Token::Path, ..] if word == "super" => {
                let mut up = 1;
                while tokens[at..].get(up * 2) == Some(&Token::Word("super".to_owned())) {
                    up += 1;
                }
                match (file.module.len() + inner.len()).checked_sub(up) {
                    Some(0) => found.extend(heads(&tokens[at + up * 2..])),
                    _ => found.extend(file.module.first().cloned()),
                }
                at += up * 2 - 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What a path begins with: one name, or each of a group.
fn heads(tokens: &[Token]) -> Vec<String> {
    match tokens {
        [Token::Word(word), ..] => vec![word.clone()],
        [Token::Mark('{'), rest @ ..] => {
            let (mut heads, mut depth, mut first) = (Vec::new(), 0, true);
            for token in rest {
                match token {
                    Token::Mark('{') => depth += 1,
                    Token::Mark('}') if depth == 0 => break,
                    Token::Mark('}') => depth -= 1,
                    Token::Mark(',') if depth == 0 => first = true,
                    Token::Word(word) if first => {
                        heads.push(word.clone());
                        first = false;
                    }
                    _ => {}
                }
            }
            heads
        }
        _ => Vec::new(),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
}

/// Words and marks of Rust code, without comments, strings, characters and numbers.
fn tokens(text: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, 1),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") || rest.starts_with("r##\"") => raw(rest),
            // A character, or else a lifetime.
            '\'' if rest[1..].starts_with('\\') => quoted(rest, 1),
            '\'' if rest.chars().nth(2) == Some('\'') => rest.char_indices().nth(3).map_or(rest.len(), |(end, _)| end),
            ':' if rest.starts_with("::") => {
                tokens.push(Token::Path);
                2
            }
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if !c.is_numeric() {
                    tokens.push(Token::Word(rest[..end].to_owned()));
                }
                end
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Mark(c));
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of something that ends with the mark it starts with, and where a backslash hides the next character.
fn quoted(text: &str, start: usize) -> usize {
    let mark = text.as_bytes()[0];
    let mut at = start;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == mark => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a raw string.
fn raw(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    text[hashes + 2..].find(&end).map_or(text.len(), |at| hashes + 2 + at + end.len())
}
