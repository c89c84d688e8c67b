//! `GET /console`: the page on which people try models and look into the server. Its files are in the binary and load
//! nothing from elsewhere; what it calls is the API, with the key that is typed into it.

use std::sync::{Arc, LazyLock};

use axum::{extract::Path, http::HeaderMap, response::Response};
use sha2::{Digest, Sha256};

use super::{
    page::{self, HTML},
    shared_text::SharedText,
};
use crate::error::Error;

/// The page may run its own scripts, look as its own styles say, and call its own server: nothing else, whatever a model
/// or a caller's text contains.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page.
struct File {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
    shared: Arc<SharedText>,
}

impl File {
    fn new(name: &'static str, media_type: &'static str, text: &'static str) -> Self {
        Self { name, media_type, text, shared: SharedText::lasting(text) }
    }
}

macro_rules! files {
    ($($name:literal $media_type:ident)*) => {
        vec![$(File::new($name, $media_type, include_str!(concat!("console/", $name))),)*]
    };
}

static PAGE: LazyLock<File> = LazyLock::new(|| File::new("", HTML, include_str!("console/console.html")));

/// All that there is beside the page.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files! {
        "style.css" CSS
        "parts.css" CSS
        "icon.svg" SVG
        "main.js" JAVASCRIPT
        "api.js" JAVASCRIPT
        "batches.js" JAVASCRIPT
        "charts.js" JAVASCRIPT
        "csv.js" JAVASCRIPT
        "dom.js" JAVASCRIPT
        "facts.js" JAVASCRIPT
        "fields.js" JAVASCRIPT
        "files.js" JAVASCRIPT
        "form.js" JAVASCRIPT
        "format.js" JAVASCRIPT
        "history.js" JAVASCRIPT
        "live.js" JAVASCRIPT
        "model.js" JAVASCRIPT
        "notice.js" JAVASCRIPT
        "predict.js" JAVASCRIPT
        "readings.js" JAVASCRIPT
        "records.js" JAVASCRIPT
        "result.js" JAVASCRIPT
        "rows.js" JAVASCRIPT
        "stages.js" JAVASCRIPT
        "values.js" JAVASCRIPT
        "workers.js" JAVASCRIPT
    }
});

/// One for all of them: they call each other, so a browser must not mix those of two binaries. Weak, because the same file
/// may travel compressed.
static REVISION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in FILES.iter().chain([&*PAGE]) {
        hash.update(file.text);
    }
    page::revision(hash)
});

/// The page on which people try models and look into the server
#[utoipa::path(
    get,
    path = "/console",
    tag = "pages",
    operation_id = "console",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub(super) async fn page(headers: HeaderMap) -> Response {
    answer(&PAGE, &headers)
}

/// A part of the console
#[utoipa::path(
    get,
    path = "/console/{file}",
    tag = "pages",
    operation_id = "console_file",
    params(("file" = String, Path, description = "Its name", example = "style.css")),
    responses((
        status = 200,
        description = "The file",
        content((String = "text/css"), (String = "text/javascript"), (String = "image/svg+xml"))
    ))
)]
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let file = FILES.iter().find(|file| file.name == name).ok_or(Error::NotFound)?;
    Ok(answer(file, &headers))
}

fn answer(file: &File, headers: &HeaderMap) -> Response {
    page::answer(file.media_type, &file.shared, POLICY, &REVISION, headers)
}
