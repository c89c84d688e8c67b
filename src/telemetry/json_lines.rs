//! One JSON object per line of the log. A field whose name has a dot becomes a member of an object: `stages.queue`.

use std::fmt::{self, Write};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Text beyond this is cut: a line must end somewhere, whatever a dependency has to say.
const LONGEST_TEXT: usize = 16 * 1024;

/// Writes events as JSON. serde_json escapes quotes, newlines and control characters, so that no value breaks a line or
/// speaks to a terminal.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line::new();
        SystemTime.format_time(&mut Writer::new(&mut line.scratch))?;
        line.put_scratch("timestamp");
        line.put("level", metadata.level().as_str());
        event.record(&mut line);
        line.put("target", metadata.target());
        writer.write_str(line.end())
    }
}

/// One line that is being written. Written as text at once, because every request writes one: a tree of values in between
/// would be made and taken down for nothing.
struct Line {
    text: Vec<u8>,
    /// The object that fields go into; empty for the line itself.
    object: &'static str,
    /// Where what is no text yet becomes text.
    scratch: String,
}

impl Line {
    fn new() -> Self {
        Self { text: Vec::with_capacity(1024), object: "", scratch: String::with_capacity(64) }
    }

    fn put(&mut self, name: &'static str, value: impl Serialize) {
        let (object, member) = name.split_once('.').unwrap_or(("", name));
        if object != self.object {
            self.leave();
            if !object.is_empty() {
                self.name(object);
                self.object = object;
                self.text.push(b'{');
            }
        }
        self.name(member);
        write_json(&mut self.text, value);
    }

    /// The comma that is due, and a name.
    fn name(&mut self, name: &'static str) {
        match self.text.last() {
            None => self.text.push(b'{'),
            Some(b'{') => {}
            Some(_) => self.text.push(b','),
        }
        write_json(&mut self.text, name);
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
        self.put(name, shorten(&text));
        self.scratch = text;
        self.scratch.clear();
    }

    fn end(&mut self) -> &str {
        self.leave();
        self.text.extend_from_slice(b"}\n");
        // serde_json writes nothing but UTF-8.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
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
        self.put(field.name(), shorten(value));
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written for an event.
    fn line(log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().unwrap().clone();
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
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");
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
