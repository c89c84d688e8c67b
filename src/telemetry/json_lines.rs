//! One JSON object per line of the log. A field whose name has a dot becomes a member of an object: `stages.queue`.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::{self, Write},
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::write_decimal;

/// Text beyond this is cut: a line must end somewhere, whatever a dependency has to say.
const LONGEST_TEXT: usize = 16 * 1024;

/// Memory that a thread keeps for its next line.
const KEPT_BYTES: usize = 4 * 1024;

/// Writes events as JSON, each with one call of `W`, which is told the level. serde_json escapes quotes, newlines and
/// control characters, so that no value breaks a line or speaks to a terminal.
#[derive(Debug)]
pub(super) struct JsonLines<W>(pub W);

impl<S: Subscriber, W: Fn(&[u8], &Level) + 'static> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let written = LINE.try_with(|line| line.try_borrow_mut().map(|mut line| self.write(event, &mut line)));
        // A value that logs while it is written, or a thread that is about to end.
        if !matches!(written, Ok(Ok(()))) {
            self.write(event, &mut Line::default());
        }
    }
}

impl<W: Fn(&[u8], &Level)> JsonLines<W> {
    fn write(&self, event: &Event<'_>, line: &mut Line) {
        let metadata = event.metadata();
        line.begin(metadata);
        event.record(line);
        line.end(metadata);
        (self.0)(&line.text, metadata.level());
        line.text.shrink_to(KEPT_BYTES);
    }
}

thread_local! {
    /// Every request writes a line: its memory is the one of the last.
    static LINE: RefCell<Line> = RefCell::default();
}

/// One line that is being written. Written as text at once, because every request writes one: a tree of values in between
/// would be made and taken down for nothing.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// The number of the object that fields go into; 0 for the line itself.
    object: usize,
    /// The names of the event's fields.
    names: Rc<[Name]>,
    /// Those of all events that this thread has written: as many as the code has places that log.
    known: HashMap<Identifier, Rc<[Name]>>,
    /// Where what is no text yet becomes text.
    scratch: String,
    /// The second of the last line, since 1970 and as text.
    second: u64,
    date: String,
}

/// What stands before the values of one field.
struct Name {
    /// `"stages":{`, and its number among the event's objects; 0 where the field is the line's own.
    opens: Vec<u8>,
    object: usize,
    /// `"queue":`
    member: Vec<u8>,
}

impl Line {
    fn begin(&mut self, metadata: &'static Metadata<'static>) {
        let names = self.known.entry(metadata.callsite()).or_insert_with(|| names(metadata));
        self.names = Rc::clone(names);
        self.object = 0;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.date.is_empty() || self.second != now.as_secs() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|second| Timestamp::from_second(second).ok());
            self.date = second.unwrap_or_default().to_string();
        }
        self.text.clear();
        self.text.extend_from_slice(br#"{"timestamp":""#);
        self.text.extend_from_slice(self.date.trim_end_matches('Z').as_bytes());
        // A million more has the zeros that it begins with.
        let fraction = self.text.len();
        write_decimal(&mut self.text, 1_000_000 + u64::from(now.subsec_micros()));
        self.text[fraction] = b'.';
        self.text.extend_from_slice(br#"Z","level":"#);
        write_text(&mut self.text, metadata.level().as_str());
    }

    /// All that stands before a value of `field`.
    fn enter(&mut self, field: &Field) {
        let Some(name) = self.names.get(field.index()) else { return };
        let (other, inside) = (name.object != self.object, self.object != 0);
        if other && inside {
            self.text.push(b'}');
        }
        self.text.push(b',');
        if other {
            self.text.extend_from_slice(&name.opens);
            self.object = name.object;
        }
        self.text.extend_from_slice(&name.member);
    }

    fn put(&mut self, field: &Field, value: impl Serialize) {
        self.enter(field);
        write_json(&mut self.text, value);
    }

    fn end(&mut self, metadata: &Metadata<'_>) {
        if self.object != 0 {
            self.text.push(b'}');
        }
        self.text.extend_from_slice(br#","target":"#);
        write_text(&mut self.text, metadata.target());
        self.text.extend_from_slice(b"}\n");
    }
}

/// The names of all fields, in their order.
fn names(metadata: &Metadata<'_>) -> Rc<[Name]> {
    let mut objects = vec![""];
    let mut name = |field: Field| {
        let (object, member) = field.name().split_once('.').unwrap_or(("", field.name()));
        let known = objects.iter().position(|known| *known == object);
        let number = known.unwrap_or_else(|| {
            objects.push(object);
            objects.len() - 1
        });
        let text = |name: &str, rest: &[u8]| {
            let mut text = Vec::new();
            write_text(&mut text, name);
            text.extend_from_slice(rest);
            text
        };
        let opens = if number == 0 { Vec::new() } else { text(object, b":{") };
        Name { opens, object: number, member: text(member, b":") }
    };
    metadata.fields().iter().map(&mut name).collect()
}

/// Nearly all texts need no escapes, and are looked through many bytes at a time.
fn write_text(text: &mut Vec<u8>, value: &str) {
    let escaped = |byte: u8| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\');
    if value.bytes().fold(0, |any, byte| any | escaped(byte)) != 0 {
        return write_json(text, value);
    }
    text.reserve(value.len() + 2);
    text.push(b'"');
    text.extend_from_slice(value.as_bytes());
    text.push(b'"');
}

/// Writing to memory cannot fail, and neither can the values of fields.
fn write_json(text: &mut Vec<u8>, value: impl Serialize) {
    let _ = serde_json::to_writer(text, &value);
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.enter(field);
        write_text(&mut self.text, shorten(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.enter(field);
        self.scratch.clear();
        // Writing to a string fails only when the value says so.
        let _ = write!(self.scratch, "{value:?}");
        write_text(&mut self.text, shorten(&self.scratch));
    }
}

fn shorten(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is written for an event.
    fn line(log: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let layer = JsonLines(move |line: &[u8], _: &Level| sink.lock().unwrap().extend_from_slice(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = written.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_event_is_one_line_of_json_whatever_it_holds() {
        let nasty = "\"quotes\", a\nnewline, \u{1b}[31mred\u{1b}[0m, \0, \u{2028}, \u{fffd} and {\"json\": 1}";
        let text = line(|| tracing::info!(error = nasty, count = 3, ratio = f64::NAN, ok = true, "{nasty}"));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["error"].as_str(), line["message"].as_str()), (Some(nasty), Some(nasty)));
        assert_eq!((&line["count"], &line["ratio"], &line["ok"]), (&3.into(), &Value::Null, &true.into()));
        assert_eq!(line["level"], "INFO");
        let written: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        let ago = Timestamp::now().duration_since(written).as_secs_f64();
        assert!((0.0..10.0).contains(&ago), "{text}");
    }

    #[test]
    fn names_with_a_dot_are_members_and_absent_values_are_left_out() {
        let absent: Option<f64> = None;
        let text = line(|| tracing::info!(stages.queue = 0.5, stages.cache = absent, stages.encode = 1.0, "request"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["stages"], serde_json::json!({"queue": 0.5, "encode": 1.0}));
    }

    #[test]
    fn a_megabyte_is_cut_at_a_character() {
        let text = line(|| tracing::info!(error = "ü".repeat(1 << 20), "request"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["error"].as_str().unwrap().len(), LONGEST_TEXT);
    }
}
