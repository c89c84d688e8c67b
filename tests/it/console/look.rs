//! What the page is like to use: on a phone, in the dark, without a mouse, without motion.

use serde_json::json;

use super::{console, section};
use crate::support::{TAB, TestApp};

const SECTIONS: [&str; 5] = ["predict", "file", "live", "requests", "history"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wider_than_a_phone() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.resize(360, 740).await;
    browser.fill("#text", &"averyveryverylongword".repeat(10)).await;
    browser.click("#run").await;
    browser.until_text("#origin", "Computed").await;
    for name in SECTIONS {
        browser.go(&section(&app.url("/console"), name)).await;
        assert!(browser.sees(&format!("#{name}")).await, "{name}");
        let width = browser.run("return document.documentElement.scrollWidth", json!([])).await;
        assert_eq!(width, 360, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_what_its_reader_prefers() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    let look = "const style = getComputedStyle(document.documentElement);
        const read = (color) => color.match(/[0-9]+/g).map(Number).reduce((sum, part) => sum + part) / 3;
        return [read(style.backgroundColor), read(style.color)]";
    for (scheme, dark) in [("light", false), ("dark", true)] {
        browser.prefer("prefers-color-scheme", scheme).await;
        let tones: Vec<f64> = serde_json::from_value(browser.run(look, json!([])).await).unwrap();
        assert_eq!(tones[0] < tones[1], dark, "{scheme}: {tones:?}");
        assert!((tones[0] - tones[1]).abs() > 180.0, "{scheme}: {tones:?}");
    }
    browser.prefer("prefers-reduced-motion", "reduce").await;
    browser.fill("#text", "a text").await;
    browser.click("#run").await;
    browser.until_text("#origin", "Computed").await;
    assert_eq!(browser.run("return document.getAnimations().length", json!([])).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_has_a_name_and_shows_that_it_is_reached() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    for name in SECTIONS {
        browser.go(&section(&app.url("/console"), name)).await;
        let nameless = "return [...document.querySelectorAll('input, select, textarea, button, nav a, svg[role=img]')]
            .filter((one) => one.checkVisibility())
            .filter((one) => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()))
            .map((one) => one.outerHTML)";
        assert_eq!(browser.run(nameless, json!([])).await, json!([]), "{name}");
    }
    browser.go(&section(&app.url("/console"), "predict")).await;
    // From the top of the page to the button, by one key alone.
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.press(TAB).await;
        let script = "const one = document.activeElement;
            return [one.id || one.textContent.trim(), getComputedStyle(one).outlineStyle]";
        let (one, outline): (String, String) = serde_json::from_value(browser.run(script, json!([])).await).unwrap();
        assert_ne!(outline, "none", "{one} does not show that it is reached");
        reached.push(one);
        if reached.last().is_some_and(|last| last == "run") {
            break;
        }
    }
    for one in ["Predict", "Live", "model", "text", "run"] {
        assert!(reached.iter().any(|other| other == one), "{one} was not reached: {reached:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_elsewhere() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    for name in SECTIONS {
        browser.go(&section(&app.url("/console"), name)).await;
    }
    let loaded =
        browser.run("return performance.getEntriesByType('resource').map(({ name }) => name)", json!([])).await;
    let loaded: Vec<String> = serde_json::from_value(loaded).unwrap();
    assert!(loaded.len() > 10, "{loaded:?}");
    assert!(loaded.iter().all(|url| url.starts_with(&app.url("/"))), "{loaded:?}");
}
