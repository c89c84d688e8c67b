//! One JSON object per line of the log. A field whose name has a dot becomes a member of an object: `stages.queue`.

use std::fmt;

use serde_json::{Map, Value};
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
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut line = Line(Map::with_capacity(24));
        line.put("timestamp", time.into());
        line.put("level", metadata.level().as_str().into());
        line.put("message", Value::Null);
        event.record(&mut line);
        line.put("target", metadata.target().into());
        writeln!(writer, "{}", serde_json::to_string(&line.0).map_err(|_| fmt::Error)?)
    }
}

struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, name: &str, value: Value) {
        let Some((object, member)) = name.split_once('.') else {
            self.0.insert(name.to_owned(), value);
            return;
        };
        let object = self.0.entry(object).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(members) = object {
            members.insert(member.to_owned(), value);
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), shorten(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), shorten(&format!("{value:?}")).into());
    }
}

fn shorten(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
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
