//! One input, one answer: what is shown of it, and what is said where there is none.

use serde_json::json;

use super::{FAILED_FETCH, console};
use crate::support::{CONTROL_ENTER, Repository, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_answered_with_its_stages_and_a_second_time_from_the_cache() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.choose("#model", "toxicity").await;
    browser.until_text("#model-says", "whether an English text is toxic").await;
    let facts = browser.text("#facts").await;
    for fact in ["non_toxic", "BYTES", "[any, 1]", "roc auc", "98.1 %", "up to 64 rows", "onnxruntime-cpu"] {
        assert!(facts.contains(fact), "{fact}: {facts}");
    }

    browser.fill("#text", "you are awful").await;
    browser.click("#run").await;
    browser.until_text("#label", "82.3 %").await;
    browser.until_text("#origin", "Computed").await;
    assert!(browser.text("#label").await.starts_with("toxic"));
    assert_eq!(browser.count(".bars li").await, 2);
    // It grows to its length.
    let long = "const width = (part) => document.querySelector(`.bars .best ${part}`).getBoundingClientRect().width;
        return Math.abs(width('.bar') / width('.track') - 0.823) < 0.01";
    browser.until("the bar is as long as its class is probable", long).await;
    for stage in ["auth", "decode", "cache", "preprocess", "inference", "postprocess", "encode", "other"] {
        assert!(browser.sees(&format!("#result [data-stage={stage}] .figure")).await, "{stage}");
    }
    // What is drawn is what the server measured: the stages fill the bar, one behind the other.
    let drawn = "const bars = [...document.querySelectorAll('#result .stages .bar')];
        return bars.map((bar) => parseFloat(bar.style.inlineSize)).reduce((sum, share) => sum + share)";
    let drawn = browser.run(drawn, json!([])).await.as_f64().unwrap();
    assert!((drawn - 100.0).abs() < 5.0, "the stages fill {drawn} % of the bar");

    browser.click("#run").await;
    browser.until_text("#origin", "From the cache (memory)").await;
    browser.until_text("#said", "toxic, 82.3 %. From the cache").await;
    browser.click("#fresh").await;
    browser.click("#run").await;
    browser.until_text("#origin", "Computed").await;
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_input_of_a_model_has_fields_of_its_own() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.choose("#model", "linear_regression").await;
    browser.until_text("#fields legend", "").await;
    browser.until("there are ten boxes", "return document.querySelectorAll('#fields input').length === 10").await;
    // What its numbers were where it was trained is among what is known of it.
    for part in ["Trained on", "bmi", "-0.0446", "0.0507"] {
        assert!(browser.text("#facts").await.contains(part), "{part}");
    }
    // A list that is pasted into the first one fills them all.
    let paste = "const data = new DataTransfer();
        data.setData('text', '[0, 0, 0, 0, 0,\\n 0, 0, 0, 0, 0]');
        const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
        document.querySelector('#fields input').dispatchEvent(event)";
    browser.run(paste, json!([])).await;
    browser.click("#run").await;
    browser.until_text("#result .label", "151.346").await;

    browser.choose("#model", "multi_io").await;
    browser.until_text("#fields", "category").await;
    assert!(!browser.sees("#result").await, "the answer of another model is still shown");
    for (field, value) in [("#input-0-0", "550"), ("#input-0-1", "0"), ("#input-1-0", "1")] {
        browser.fill(field, value).await;
    }
    browser.click("#run").await;
    browser.until_text("#result", "medium").await;
    assert!(browser.text("#result").await.contains("0.55"));

    browser.choose("#model", "doubler").await;
    browser.until("a list is typed as a list", "return document.querySelector('#fields textarea') !== null").await;
    browser.fill("#input-0", "1, 2.5  -3").await;
    browser.click("#run").await;
    browser.until("there are three values", "return document.querySelectorAll('.values li').length === 3").await;
    let values = browser.text(".values").await;
    assert!(values.contains('2') && values.contains('5') && values.contains("-6"), "{values}");
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_at_its_field() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    let focused = "return document.activeElement.id";
    browser.choose("#model", "toxicity").await;
    browser.until_text("#fields", "Text").await;
    browser.click("#run").await;
    browser.until_text("#text-fault", "empty").await;
    browser.until_text("#predict-notice", "The input does not fit the model.").await;
    assert_eq!(browser.run(focused, json!([])).await, "text");
    assert_eq!(browser.count("#text[aria-invalid=true]").await, 1);
    // What was wrong is forgotten when it is right.
    browser.fill("#text", "have a lovely day").await;
    browser.click("#run").await;
    browser.until_text("#label", "non_toxic").await;
    assert_eq!((browser.count("[aria-invalid]").await, browser.text("#predict-notice").await), (0, String::new()));

    // What is no number is not sent.
    browser.choose("#model", "multi_io").await;
    browser.until_text("#fields", "category").await;
    for (field, value) in [("#input-0-0", "550"), ("#input-0-1", "abc"), ("#input-1-0", "1.5")] {
        browser.fill(field, value).await;
    }
    browser.click("#run").await;
    browser.until_text("#input-0-fault", "Value 2: This is no number.").await;
    assert_eq!(browser.run(focused, json!([])).await, "input-0-1");
    // A number of another kind is found by the server, which points at it.
    browser.fill("#input-0-1", "0").await;
    browser.click("#run").await;
    browser
        .until(
            "the server's word is at the field",
            "return document.querySelector('#input-1-fault').textContent !== ''",
        )
        .await;
    assert_eq!(browser.run(focused, json!([])).await, "input-1-0");
    assert_eq!((browser.text("#input-0-fault").await, browser.count("[aria-invalid]").await), (String::new(), 1));
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_says_is_text_and_never_markup() {
    let repository = Repository::new();
    let label = "<img src=x onerror=document.title='owned'>";
    let manifest = format!(
        r#"
        provider = "stub"
        description = "{label}"
        task = "classification"
        labels = ["{label}", "<b>"]
        inputs = [{{ name = "text", datatype = "BYTES", shape = [-1, 1] }}]
        outputs = [{{ name = "probabilities", datatype = "FP32", shape = [-1, 2] }}]
        text.input = "text"
        "#
    );
    repository.write("sly/model.toml", manifest);
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await;
    let browser = console(&app).await;
    browser.fill("#text", "hello").await;
    browser.type_into("#text", CONTROL_ENTER).await;
    browser.until_text(".bars", "<img src=x").await;
    browser.until_text("#model-says", "<img src=x").await;
    assert_eq!(browser.count("main img, main b").await, 0);
    assert_eq!(browser.run("return document.title", json!([])).await, "Glassbox console");
    // Nor would a script run that got in.
    let inject = "const script = document.createElement('script');
        script.textContent = \"document.title = 'owned'\";
        document.body.append(script);
        return document.title";
    assert_eq!(browser.run(inject, json!([])).await, "Glassbox console");
    let refused = browser.complaints(&[]).await;
    assert!(refused.len() == 1 && refused[0].contains("Content Security Policy"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_told_in_words() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.choose("#model", "toxicity").await;
    browser.until_text("#fields", "Text").await;
    browser.fill("#text", "are you there").await;
    app.stopped().await.unwrap();
    browser.click("#run").await;
    browser.until_text("#predict-notice", "The server cannot be reached.").await;
}
