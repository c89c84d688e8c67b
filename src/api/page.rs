//! Pages for people: careful headers, and a revision that spares those who have it the bytes.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{deliver::vary, shared_text::SharedText};

pub(super) const HTML: &str = "text/html; charset=utf-8";

/// Asked for again each time, and answered with 304 for as long as the binary is the same.
const REVALIDATE: &str = "no-cache";

/// A page that runs the scripts within it and no others.
#[derive(Debug)]
pub(super) struct Page {
    text: Arc<SharedText>,
    policy: String,
    revision: String,
}

impl Page {
    /// Its scripts are told to browsers by their hashes, so that nothing which a description contains can run.
    pub(super) fn with_own_scripts(html: String) -> Self {
        // Or browsers ask for one where none is.
        let html = html.replacen("<head>", "<head><link rel=\"icon\" href=\"/console/icon.svg\">", 1);
        let hashes: Vec<String> = scripts(&html)
            .map(|script| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))))
            .collect();
        let policy = format!(
            "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
             connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hashes.join(" ")
        );
        let revision = revision(Sha256::new_with_prefix(&html));
        Self { text: SharedText::lasting(html), policy, revision }
    }

    /// The page, or the word that its caller has it already.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        answer(HTML, &self.text, &self.policy, &self.revision, headers)
    }
}

/// What stands within `<script>`s without attributes.
fn scripts(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once("<script>")?;
        let (script, after) = from.split_once("</script>")?;
        rest = after;
        Some(script)
    })
}

/// The tag of what was hashed. Weak, because the same bytes may travel compressed.
pub(super) fn revision(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}

/// A file under a content security policy, or 304 for who has this revision already.
pub(super) fn answer(
    media_type: &'static str,
    text: &Arc<SharedText>,
    policy: &str,
    revision: &str,
    headers: &HeaderMap,
) -> Response {
    let mut response = match is_known(headers, revision) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => text.answer(media_type),
    };
    let told = response.headers_mut();
    // A 304 says what the page would say.
    vary(told);
    for (name, value) in [
        (header::CACHE_CONTROL, REVALIDATE),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        told.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [(header::CONTENT_SECURITY_POLICY, policy), (header::ETAG, revision)] {
        told.extend(HeaderValue::from_str(value).ok().map(|value| (Some::<HeaderName>(name), value)));
    }
    response
}

/// Whether the caller has this revision already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, revision: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || weak(tag) == weak(revision))
}

/// Tags are compared without their mark of weakness.
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_scripts_by_their_hashes() {
        let page = Page::with_own_scripts("<p><script>alert(1)</script><b></b><script>\n</script>".to_owned());
        // printf 'alert(1)' | openssl sha256 -binary | base64
        assert!(
            page.policy.contains("script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=' 'sha256-"),
            "{}",
            page.policy
        );
        assert_eq!(page.policy.matches("sha256-").count(), 2);
    }
}
