//! `GET /console`: the page on which people try models and look into the server. Its files are in the binary and load
//! nothing from elsewhere; what it calls is the API, with the key that is typed into it.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The page may run its own scripts, look as its own styles say, and call its own server: nothing else, whatever a model
/// or a caller's text contains.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asked for again each time, and answered with 304 for as long as the binary is the same.
const REVALIDATE: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page.
struct File {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal $media_type:ident)*) => {
        [$(File { name: $name, media_type: $media_type, text: include_str!(concat!("console/", $name)) },)*]
    };
}

const PAGE: File = File { name: "", media_type: HTML, text: include_str!("console/console.html") };

/// All that there is beside the page.
static FILES: &[File] = &files! {
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
};

/// One for all of them: they call each other, so a browser must not mix those of two binaries. Weak, because the same file
/// may travel compressed.
static REVISION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in FILES.iter().chain([&PAGE]) {
        hash.update(file.text);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
});

/// `GET /console`
pub(super) async fn page(headers: HeaderMap) -> Response {
    answer(&PAGE, &headers)
}

/// `GET /console/{file}`
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let file = FILES.iter().find(|file| file.name == name).ok_or(Error::NotFound)?;
    Ok(answer(file, &headers))
}

fn answer(file: &File, headers: &HeaderMap) -> Response {
    let mut response = match is_known(headers) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, file.media_type)], file.text).into_response(),
    };
    let told = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, REVALIDATE),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        told.insert(name, HeaderValue::from_static(value));
    }
    told.extend(HeaderValue::from_str(&REVISION).ok().map(|revision| (header::ETAG, revision)));
    response
}

/// Whether the caller has this revision already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || weak(tag) == weak(&REVISION))
}

/// Tags are compared without their mark of weakness.
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}
