//! Keys and quotas: who is not let in is told why, and who has to wait is told how long.

use serde_json::json;

use super::{FAILED_FETCH, console};
use crate::support::{KeysFile, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_in_words_and_a_right_one_is_kept_for_the_tab_alone() {
    let file = KeysFile::new();
    let key = file.create(&["--scope", "predict", "--model", "toxicity"]);
    let app = TestApp::with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
    let browser = console(&app).await;
    browser.until_text("#trouble", "This server asks for a key.").await;
    assert!(browser.sees("#key").await && !browser.sees("#model").await);

    browser.fill("#key", &key.forged()).await;
    browser.click("#key-form .primary").await;
    browser.until_text("#trouble", "This key was not accepted.").await;
    browser.until_text("#key-state", "not accepted").await;
    browser.fill("#key", "gb_ä ö").await;
    browser.click("#key-form .primary").await;
    browser.until_text("#key-fault", "no spaces").await;

    browser.fill("#key", &key.text).await;
    browser.click("#key-form .primary").await;
    browser.until_text("#key-state", &format!("gb_{}, 1 model", key.id)).await;
    assert_eq!(browser.text("#trouble").await, "");
    browser.until_text("#model", "toxicity").await;
    // Nowhere but in the tab's own storage: not in its address, nor in what is seen, nor in what outlives it.
    let places = "return [location.href, document.documentElement.outerHTML, document.querySelector('#key').value,
        document.cookie, JSON.stringify(localStorage), document.title, JSON.stringify(history.state)].join()";
    let places = browser.run(places, json!([])).await;
    assert!(!places.as_str().unwrap().contains(key.secret()), "{places}");

    browser.go(&app.url("/console")).await;
    browser.until_text("#key-state", &format!("gb_{}", key.id)).await;
    browser.click("#key-open").await;
    browser.click("#key-forget").await;
    browser.until_text("#trouble", "This server asks for a key.").await;
    assert_eq!(browser.run("return sessionStorage.length", json!([])).await, 0);
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_sees_how_long_to_wait_and_can_go_on_then() {
    // The page itself asks twice.
    let app = TestApp::with(|config| {
        config.rate_limit.enabled = true;
        config.rate_limit.address_rate = 1;
        config.rate_limit.address_burst = 8;
    })
    .await;
    let browser = console(&app).await;
    browser.until_text("#fields", "Text").await;
    // What is said of the wait, and whether the button can be pressed meanwhile, is noted as it changes.
    let note = "window.said = [];
        const look = () => {
            const wait = document.querySelector('#predict-notice .wait');
            if (wait) window.said.push([wait.textContent, document.querySelector('#run').disabled]);
        };
        const options = { subtree: true, childList: true, characterData: true };
        new MutationObserver(look).observe(document.querySelector('#predict-notice'), options)";
    browser.run(note, json!([])).await;
    browser.fill("#text", "you are awful").await;
    for _ in 0..60 {
        browser.click("#run").await;
        browser.until("it is answered", "return !document.querySelector('#result').hasAttribute('aria-busy')").await;
        if browser.sees("#predict-notice .notice").await {
            break;
        }
    }
    let notice = "#predict-notice [data-code=rate_limited]";
    assert!(browser.text(notice).await.contains("Too many requests."), "{}", browser.text("#predict-notice").await);
    assert!(browser.text(notice).await.contains("1 items per second"));
    browser.until_text(&format!("{notice} .wait"), "You can try again now.").await;
    let said = browser.run("return window.said", json!([])).await;
    let said: Vec<(String, bool)> = serde_json::from_value(said).unwrap();
    assert_eq!(said.first(), Some(&("Again in 1 s".to_owned(), true)), "{said:?}");
    assert_eq!(said.last(), Some(&("You can try again now.".to_owned(), false)), "{said:?}");
    browser.click("#run").await;
    browser.until("the notice is gone", "return document.querySelector('#predict-notice').innerText === ''").await;
    browser.until_text("#label", "toxic").await;
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}
