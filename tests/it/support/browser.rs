//! A real browser: headless Chromium, driven through chromedriver by the few calls of WebDriver (W3C) that the tests need.
//! They are JSON over HTTP, which the tests speak already: a crate for them would bring more than it saves.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, eventually};

/// How WebDriver names an element in its JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Control and Enter, as WebDriver types them: held until the end of the text.
pub const CONTROL_ENTER: &str = "\u{E009}\u{E007}";

/// The key that goes from one control to the next.
pub const TAB: &str = "\u{E004}";

/// One browser with one tab and a profile of its own, ended with the test.
pub struct Browser {
    driver: Child,
    addr: SocketAddr,
    session: String,
    client: reqwest::Client,
    folder: TempDir,
}

impl Browser {
    /// Opens a page.
    pub async fn open(url: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (driver, addr) = start_driver();
        let mut browser = Self { driver, addr, session: String::new(), client: reqwest::Client::new(), folder };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &format!("--user-data-dir={}", browser.folder.path().join("profile").display()),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "prefs": {"download.default_directory": browser.folder.path()}},
        });
        let session = browser.call("", json!({"capabilities": {"alwaysMatch": capabilities}})).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser.go(url).await;
        browser
    }

    pub async fn go(&self, url: &str) {
        self.call("/url", json!({"url": url})).await;
    }

    /// What a script returns; `arguments` holds what is handed to it.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.call("/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// The text that is seen in the first element that fits a selector; nothing where there is none.
    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, json!([selector])).await.as_str().unwrap().to_owned()
    }

    /// Whether an element fits a selector and can be seen.
    pub async fn sees(&self, selector: &str) -> bool {
        let script = "return document.querySelector(arguments[0])?.checkVisibility() ?? false";
        self.run(script, json!([selector])).await == true
    }

    /// How many elements fit a selector.
    pub async fn count(&self, selector: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length";
        self.run(script, json!([selector])).await.as_u64().unwrap()
    }

    /// Waits until a script returns true.
    pub async fn until(&self, what: &str, script: &str) {
        eventually(what, async || self.run(script, json!([])).await == true).await;
    }

    /// Waits until a text is seen in the first element that fits a selector.
    pub async fn until_text(&self, selector: &str, text: &str) {
        let what = format!("{selector} says {text:?}");
        eventually(&what, async || self.text(selector).await.contains(text)).await;
    }

    /// Clicks as a person does: what is covered or cannot be seen is an error.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.call(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Replaces what stands in a field by typing.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.call(&format!("/element/{element}/clear"), json!({})).await;
        self.type_into(selector, text).await;
    }

    /// Types into an element; for a chooser of files, the file's path.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.call(&format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// Chooses what an option says.
    pub async fn choose(&self, selector: &str, value: &str) {
        self.click(&format!("{selector} option[value=\"{value}\"]")).await;
    }

    /// Gives the tab the size of a screen.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.call("/goog/cdp/execute", command).await;
    }

    /// Sets what the person in front of it prefers, in the words of CSS.
    pub async fn prefer(&self, feature: &str, value: &str) {
        let media = json!({"features": [{"name": feature, "value": value}]});
        self.call("/goog/cdp/execute", json!({"cmd": "Emulation.setEmulatedMedia", "params": media})).await;
    }

    /// Presses one key, wherever the focus is.
    pub async fn press(&self, key: &str) {
        let strokes = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.call("/actions", json!({"actions": [keyboard]})).await;
    }

    /// Warnings and errors since the last look, but for those that contain one of `expected`.
    pub async fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let lines = self.call("/se/log", json!({"type": "browser"})).await;
        let serious = |line: &&Value| line["level"] == "SEVERE" || line["level"] == "WARNING";
        let messages = lines.as_array().unwrap().iter().filter(serious);
        let messages = messages.map(|line| line["message"].as_str().unwrap().to_owned());
        messages.filter(|message| !expected.iter().any(|part| message.contains(part))).collect()
    }

    /// Chooses a file of this name and content.
    pub async fn choose_file(&self, selector: &str, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        self.type_into(selector, path.to_str().unwrap()).await;
    }

    /// Waits for a file of this name to be downloaded, and reads it.
    pub async fn downloaded(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        eventually("the file is there", async || fs::metadata(&path).is_ok_and(|file| file.len() > 0)).await;
        fs::read_to_string(path).unwrap()
    }

    async fn find(&self, selector: &str) -> String {
        let found = self.call("/element", json!({"using": "css selector", "value": selector})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let session = if self.session.is_empty() { String::new() } else { format!("/{}", self.session) };
        let url = format!("http://{}/session{session}{path}", self.addr);
        let response = self.client.post(&url).timeout(PATIENCE).json(&body).send().await.unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }
}

impl Drop for Browser {
    /// Chromedriver ends its browser when it is asked to, and not when it is killed.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.addr) {
            let request = format!("DELETE /session/{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.session, self.addr);
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut [0; 1024]));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// On a free port, which it tells.
fn start_driver() -> (Child, SocketAddr) {
    let mut command = Command::new("chromedriver");
    let command = command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn().unwrap_or_else(|error| {
        panic!("chromedriver does not start ({error}): run 'make setup', or install chromium and chromium-driver")
    });
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| line.rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
    let port = port.expect("chromedriver does not say its port");
    // Read on, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (driver, SocketAddr::from(([127, 0, 0, 1], port)))
}
