//! All predictions that fit, as lines of JSON or CSV, a page of the database at a time.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::answer::StoredPrediction;
use crate::{
    api::room::Room,
    history::{Filter, History, Page, Row, Trouble, Window},
};

/// Rows that are asked for at once.
const ROWS: usize = 500;

/// Exports at the same time, a half of them by one caller: a caller that reads slowly holds its own for long.
pub(in crate::api) const EXPORTS_AT_ONCE: u64 = 4;

/// What one of them takes.
pub(in crate::api) const MAX_EXPORT_BYTES: u64 = Export::MOST_BYTES as u64;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportForm {
    /// A JSON object per line, as `GET /v1/predictions/{id}` answers it.
    JsonLines,
    /// RFC 4180, with a header.
    Csv,
}

/// An export that goes on.
#[derive(Debug)]
pub(super) struct Export {
    history: Arc<History>,
    filter: Filter,
    left: usize,
    form: ExportForm,
    page: Page,
    first: bool,
}

impl ExportForm {
    /// What the caller's `Accept` prefers to one JSON document, if anything.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
        let known = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let form = match parts.next()?.as_str() {
                "application/x-ndjson" | "application/jsonl" | "application/jsonlines" => Some(Self::JsonLines),
                "text/csv" => Some(Self::Csv),
                "application/json" | "application/*" | "*/*" => None,
                _ => return None,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            Some((form, quality))
        });
        let best = known.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|(_, quality)| *quality > 0.0)?.0
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::JsonLines => "attachment; filename=\"predictions.jsonl\"",
            Self::Csv => "attachment; filename=\"predictions.csv\"",
        }
    }

    /// What stands before the first row.
    pub fn header(self) -> String {
        match self {
            Self::JsonLines => String::new(),
            Self::Csv => COLUMNS.join(",") + "\r\n",
        }
    }

    /// One line per row.
    pub fn lines(self, rows: Vec<Row>) -> String {
        let mut text = String::new();
        for prediction in rows.into_iter().map(StoredPrediction::of) {
            match self {
                // It holds nothing that JSON has no word for.
                Self::JsonLines => text.push_str(&serde_json::to_string(&prediction).unwrap_or_default()),
                Self::Csv => write_cells(&prediction, &mut text),
            }
            text.push_str(if self == Self::Csv { "\r\n" } else { "\n" });
        }
        text
    }
}

impl Export {
    /// What one of them takes in memory: a page of rows, and its text.
    pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;

    /// Asks for the first rows, so that who cannot have any learns that instead of an empty answer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn begin(
        history: Arc<History>,
        filter: Filter,
        limit: Option<usize>,
        form: ExportForm,
    ) -> Result<Self, Trouble> {
        let page = Page { rows: Vec::new(), more: true };
        let mut export = Self { history, filter, left: limit.unwrap_or(usize::MAX), form, page, first: true };
        export.turn().await?;
        Ok(export)
    }

    /// The text, in pieces. `room` is held until the last byte of them is taken. A failure breaks it off, which the caller sees.
    pub(super) fn chunks(self, room: Room) -> impl Stream<Item = Result<Bytes, Trouble>> + Send + 'static {
        let room = Arc::new(room);
        stream::try_unfold(Some((self, room)), async |going_on| {
            let Some((mut export, room)) = going_on else { return Ok(None) };
            let rows = std::mem::take(&mut export.page.rows);
            let (form, header) = (export.form, if export.first { export.form.header() } else { String::new() });
            export.first = false;
            let written = tokio::task::spawn_blocking(move || header + &form.lines(rows)).await;
            let text = written.map_err(|_| Trouble::Failing)?;
            let more = export.page.more && export.left > 0;
            if more {
                export.turn().await?;
            }
            // The last bytes are taken long after this stream has ended.
            let text = room.hold(text);
            Ok(Some((text, more.then_some((export, room)))))
        })
    }

    /// On to the next page.
    async fn turn(&mut self) -> Result<(), Trouble> {
        let window = Window { rows: self.left.min(ROWS), oldest_first: false };
        self.page = self.history.page(self.filter.clone(), window).await?;
        self.left -= self.page.rows.len().min(self.left);
        if let Some(last) = self.page.rows.last() {
            self.filter.before = Some(last.id);
        }
        Ok(())
    }
}

const COLUMNS: [&str; 17] = [
    "id",
    "time",
    "request_id",
    "batch_id",
    "item",
    "key_id",
    "trace_id",
    "model",
    "model_version",
    "provider",
    "input_hash",
    "label",
    "confidence",
    "latency_ms",
    "cached",
    "prediction",
    "input",
];

fn write_cells(one: &StoredPrediction, text: &mut String) {
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells: [String; COLUMNS.len()] = [
        one.id.clone(),
        one.time.clone(),
        one.request_id.clone(),
        optional(&one.batch_id),
        one.item.map(|item| item.to_string()).unwrap_or_default(),
        optional(&one.key_id),
        one.trace_id.clone(),
        one.model.clone(),
        one.model_version.clone(),
        one.provider.clone(),
        one.input_hash.clone(),
        optional(&one.label),
        one.confidence.map(|confidence| confidence.to_string()).unwrap_or_default(),
        one.latency_ms.to_string(),
        one.cached.to_string(),
        one.prediction.as_ref().map(|json| json.get().to_owned()).unwrap_or_default(),
        one.input.as_ref().map(|json| json.get().to_owned()).unwrap_or_default(),
    ];
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_cell(cell, text);
    }
}

/// Quoted where that is needed (RFC 4180). Callers choose request ids and inputs: what a spreadsheet would take for a
/// formula is marked as text, as OWASP advises.
fn write_cell(cell: &str, text: &mut String) {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let quoted = formula || cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ');
    if !quoted {
        text.push_str(cell);
        return;
    }
    text.push('"');
    if formula {
        text.push('\'');
    }
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_cell_is_a_formula() {
        for (cell, expected) in [
            ("", ""),
            ("toxic", "toxic"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+2", "\"'=1+2\""),
            ("+cmd|' /C calc'!A0", "\"'+cmd|' /C calc'!A0\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("-2+3", "\"'-2+3\""),
            ("-2.5", "-2.5"),
            ("\t=1", "\"'\t=1\""),
            ("[1,2]", "\"[1,2]\""),
        ] {
            let mut text = String::new();
            write_cell(cell, &mut text);
            assert_eq!(text, expected, "{cell}");
        }
    }

    #[test]
    fn the_form_is_the_one_that_the_caller_prefers() {
        for (accept, expected) in [
            ("*/*", None),
            ("application/json", None),
            ("text/html", None),
            ("text/csv", Some(ExportForm::Csv)),
            ("application/x-ndjson; q=0.5, text/csv;q=0.9", Some(ExportForm::Csv)),
            ("application/x-ndjson", Some(ExportForm::JsonLines)),
            ("APPLICATION/JSONL, */*;q=0.1", Some(ExportForm::JsonLines)),
            ("application/json, text/csv", None),
            ("text/csv;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(ExportForm::accepted(&headers), expected, "{accept}");
        }
    }
}
