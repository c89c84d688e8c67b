//! The console, as a browser gets it and as people see it. What is in the page's folders is also what is served.

mod files;
mod history;
mod keys;
mod live;
mod look;
mod predict;
mod workers;

use std::{collections::BTreeSet, fs};

use reqwest::{Method, Response, StatusCode, header};

use crate::support::{Browser, TestApp, project};

/// What a browser says of an answer that is no success, whatever the page makes of it.
const FAILED_FETCH: &str = "Failed to load resource";

/// The console of an app, once it has its models or has said why not.
async fn console(app: &TestApp) -> Browser {
    let browser = Browser::open(&app.url("/console")).await;
    browser.until("the page is ready", "return document.querySelector('main').dataset.ready === 'true'").await;
    browser
}

/// The address of a section of the page.
fn section(page: &str, name: &str) -> String {
    format!("{page}#/{name}")
}

async fn ask(app: &TestApp, path: &str) -> Response {
    app.request(Method::GET, path).send().await.unwrap()
}

fn says(response: &Response, name: header::HeaderName) -> &str {
    response.headers().get(&name).unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap()
}

/// The files of the page, as they lie in the sources.
fn sources() -> BTreeSet<String> {
    let folder = fs::read_dir(project().join("src/api/console")).unwrap();
    folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "console.html")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_the_page_is_served_and_nothing_else_is() {
    let app = TestApp::start().await;
    assert!(sources().len() > 10);
    for name in sources() {
        let response = ask(&app, &format!("/console/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        let expected = match name.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(says(&response, header::CONTENT_TYPE), expected, "{name}");
        let source = fs::read_to_string(project().join("src/api/console").join(&name)).unwrap();
        assert_eq!(response.text().await.unwrap(), source, "{name}");
    }
    for name in ["console.html", "none.js", "main.js/", "..%2fconsole.rs", "%2e%2e/mod.rs", "main.js%00", "MAIN.JS"] {
        assert_eq!(ask(&app, &format!("/console/{name}")).await.status(), StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_do_nothing_but_call_its_own_server() {
    // Also where all answers are made careful: the page says what it needs.
    let app = TestApp::with(|config| config.server.security_headers = true).await;
    for path in ["/console", "/console/main.js", "/console/style.css"] {
        let response = ask(&app, path).await;
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        assert_eq!(says(&response, header::CONTENT_SECURITY_POLICY), policy, "{path}");
        assert_eq!(says(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        assert_eq!(says(&response, header::REFERRER_POLICY), "no-referrer", "{path}");
    }
    // No address of another server stands in any of its files but the names of SVG's and XML's words.
    for name in sources() {
        let text = ask(&app, &format!("/console/{name}")).await.text().await.unwrap();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_the_page_is_told_so() {
    let app = TestApp::start().await;
    let revision = says(&ask(&app, "/console").await, header::ETAG).to_owned();
    for path in ["/console", "/console/main.js"] {
        for (known, status) in [(&*revision, 304), (revision.trim_start_matches("W/"), 304), ("\"other\"", 200)] {
            let request = app.request(Method::GET, path).header(header::IF_NONE_MATCH, format!("\"a\", {known}"));
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path} {known}");
            assert_eq!(
                (says(&response, header::ETAG), says(&response, header::CACHE_CONTROL)),
                (&*revision, "no-cache")
            );
            assert_eq!(response.text().await.unwrap().is_empty(), status == 304, "{path} {known}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_switched_off() {
    let app = TestApp::with(|config| config.docs.enabled = false).await;
    for path in ["/console", "/console/main.js"] {
        assert_eq!(ask(&app, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert!(app.get("/").await.1["links"]["console"].is_null());
    let app = TestApp::start().await;
    assert_eq!(app.get("/").await.1["links"]["console"], "/console");
}
