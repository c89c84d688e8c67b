//! One JSON object per line of the log. A field whose name has a dot becomes a member of an object: `stages.queue`.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

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
        line.begin();
        line.put_text("level", metadata.level().as_str());
        event.record(line);
        line.put_text("target", metadata.target());
        (self.0)(line.end(), metadata.level());
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
    /// The object that fields go into; empty for the line itself.
    object: &'static str,
    /// Where what is no text yet becomes text.
    scratch: String,
    /// The second of the last line, since 1970 and as text.
    second: u64,
    date: String,
}

impl Line {
    fn begin(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.date.is_empty() || self.second != now.as_secs() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|second| Timestamp::from_second(second).ok());
            self.date = second.unwrap_or_default().to_string();
        }
        self.text.clear();
        self.object = "";
        let date = self.date.trim_end_matches('Z');
        // Writing to memory cannot fail.
        let _ = write!(self.scratch, "{date}.{:06}Z", now.subsec_micros());
        self.put_scratch("timestamp");
    }

    fn put(&mut self, name: &'static str, value: impl Serialize) {
        self.enter(name);
        write_json(&mut self.text, value);
    }

    fn put_text(&mut self, name: &'static str, value: &str) {
        self.enter(name);
        write_text(&mut self.text, shorten(value));
    }

    /// All that stands before a value.
    fn enter(&mut self, name: &'static str) {
        let dot = name.bytes().position(|byte| byte == b'.');
        let (object, member) = dot.map_or(("", name), |dot| (&name[..dot], &name[dot + 1..]));
        // Byte by byte: calling a comparison for six letters costs more than all of them.
        if !object.bytes().eq(self.object.bytes()) {
            self.leave();
            if !object.is_empty() {
                self.name(object);
                self.object = object;
                self.text.push(b'{');
            }
        }
        self.name(member);
    }

    /// The comma that is due, and a name.
    fn name(&mut self, name: &'static str) {
        match self.text.last() {
            None => self.text.push(b'{'),
            Some(b'{') => {}
            Some(_) => self.text.push(b','),
        }
        write_text(&mut self.text, name);
        self.text.push(b':');
    }

    fn leave(&mut self) {
        if !self.object.is_empty() {
            self.text.push(b'}');
            self.object = "";
        }
    }

    fn put_scratch(&mut self, name: &'static str) {
        let text = std::mem::take(&mut self.scratch);
        self.put_text(name, &text);
        self.scratch = text;
        self.scratch.clear();
    }

    fn end(&mut self) -> &[u8] {
        self.leave();
        self.text.extend_from_slice(b"}\n");
        &self.text
    }
}

/// Nearly all texts need no escapes, and are looked through many bytes at a time.
fn write_text(text: &mut Vec<u8>, value: &str) {
    let escaped = value.bytes().fold(false, |any, byte| any | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if escaped {
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
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string fails only when the value says so.
        let _ = write!(self.scratch, "{value:?}");
        self.put_scratch(field.name());
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
