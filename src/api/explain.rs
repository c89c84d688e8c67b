//! What is wrong with a JSON body, in words for the person who wrote it, with a pointer to the place.

use serde::de::DeserializeOwned;

use crate::error::{Error, Violation, pointer_segment};

/// Reads a broken body a second time, now keeping track of where the reader is. Good bodies do not pay for that.
pub(super) fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Error {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let path = serde_path_to_error::deserialize::<_, T>(&mut reader).err().map(|error| pointer(error.path()));
    let pointer = path.unwrap_or_default();
    let place = format!("line {}, column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    // A number that JSON can write and no float can hold is a value out of range, not a mistake in the JSON.
    if message.starts_with("number out of range") {
        let detail = format!("the number at {place} is out of the range of every datatype");
        return Error::Invalid(vec![Violation::new(pointer, "out_of_range", detail)]);
    }
    if message.starts_with("recursion limit exceeded") {
        let field = pointer.split_inclusive('/').take(2).collect::<String>();
        let detail = format!("lists and objects are nested more than 127 deep, at {place}");
        return Error::malformed(field.trim_end_matches('/'), "too_deep", detail);
    }
    if error.classify() == serde_json::error::Category::Data {
        return misfit(pointer, message, &place);
    }
    let message = syntax_hint(body, error).unwrap_or(message);
    Error::malformed(pointer, "invalid_json", format!("the body is not valid JSON: {message}, at {place}"))
}

/// Good JSON of the wrong form, in the words of JSON, without the values and names that the parser quotes.
fn misfit(pointer: String, message: &str, place: &str) -> Error {
    if let Some(field) = message.strip_prefix("duplicate field ") {
        let field = field.trim_matches('`');
        return Error::malformed(format!("/{field}"), "duplicate_field", format!("the field '{field}' stands twice"));
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return Error::malformed(pointer, "wrong_type", format!("{message}, at {place}"));
    };
    if found.starts_with("unknown field ") {
        let detail = format!("there is no such field: expected {}, at {place}", expected.replace('`', "'"));
        return Error::malformed(pointer, "unknown_field", detail);
    }
    let found = found.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "boolean" => "a boolean",
        "integer" | "floating" => "a number",
        "string" | "character" => "a string",
        "sequence" => "a list",
        "map" => "an object",
        "null" | "unit" => "null",
        _ => "something else",
    };
    Error::malformed(pointer, "wrong_type", format!("expected {expected}, got {found}, at {place}"))
}

/// Mistakes that many programs make when they write JSON, told better than by the parser.
fn syntax_hint(body: &[u8], error: &serde_json::Error) -> Option<&'static str> {
    let mut lines = body.split(|byte| *byte == b'\n');
    let place = lines.nth(error.line().saturating_sub(1)).and_then(|line| line.get(error.column().saturating_sub(1)..));
    let found = |word: &str| place.is_some_and(|place| place.starts_with(word.as_bytes()));
    if body.starts_with(b"\xef\xbb\xbf") {
        Some("it starts with a byte order mark")
    } else if found("NaN") || found("Infinity") {
        Some("there is no NaN and no Infinity in JSON")
    } else if std::str::from_utf8(body).is_err() {
        Some("it is not in UTF-8")
    } else {
        None
    }
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", pointer_segment(key))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}
