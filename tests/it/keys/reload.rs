//! A running server follows its keys file, and no caller with another key notices.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Client, app, predict, serve};
use crate::support::{KeysFile, PATIENCE, Server, glassbox};

/// Longer than several looks at the file.
const LOOKS: Duration = Duration::from_secs(1);

/// The promise of the documentation is a second. The command that writes the file, and the caller, take their own on a busy
/// machine.
const WITHIN: Duration = Duration::from_secs(10);

/// Callers who never rest, all with one key.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client, key: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let caller = |_| {
            let (client, key, stop, answered) = (client.clone(), key.to_owned(), stop.clone(), answered.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.predict(&key).await, 200, "another key's request failed");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        #[expect(clippy::disallowed_methods, reason = "the callers stand outside of the app's lifecycle")]
        let callers = (0..4).map(caller).map(tokio::spawn).collect();
        Self { stop, answered, callers }
    }

    /// How many requests were answered, all of them well.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("every request of the load is answered");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_a_key_is_added_revoked_and_rotated_within_a_second_and_no_other_notices() {
    let file = KeysFile::new();
    let constant = file.create(&[]);
    let server = serve(&file);
    let client = Client::of(&server);
    let load = Load::start(&client, &constant.text);
    for round in 0..3 {
        let old = file.create(&[]);
        let took = client.until(&old.text, 200).await;
        assert!(took < WITHIN, "round {round}: a key that was added counts after {took:?}");
        // Rotated: its owner has two keys for a while, and then only the new one.
        let new = file.create(&[]);
        let took = client.until(&new.text, 200).await;
        assert!(took < WITHIN, "round {round}: a key that was added counts after {took:?}");
        assert_eq!(client.predict(&old.text).await, 200);
        file.revoke(&old.id);
        let took = client.until(&old.text, 401).await;
        assert!(took < WITHIN, "round {round}: a key that was revoked counts for {took:?}");
        assert_eq!(client.predict(&new.text).await, 200);
    }
    let answered = load.end().await;
    assert!(answered > 100, "only {answered} requests were made meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_of_no_use_keeps_the_last_good_keys_and_each_fault_is_logged_once() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let good = file.text();
    let mut server = serve(&file);
    let client = Client::of(&server);
    let load = Load::start(&client, &key.text);
    let faults: [(&str, &dyn Fn(), &str); 4] = [
        ("broken", &|| file.write("[[keys]]\nid = 7\n"), "id: expected 12"),
        ("truncated", &|| file.write(""), "the file is empty"),
        ("gone", &|| fs::remove_file(file.path()).unwrap(), "No such file"),
        ("a folder", &|| fs::create_dir(file.path()).unwrap(), "not a regular file"),
    ];
    for (what, harm, part) in faults {
        harm();
        let is_the_warning = |line: &serde_json::Value| {
            line["level"] == "WARN" && line["error"].as_str().is_some_and(|error| error.contains(part))
        };
        let line = server.until(is_the_warning);
        assert!(!line.to_string().contains(&good[good.len() - 100..]), "{what}");
        // Longer than some looks at the file, in which the fault is not told again.
        let told = Instant::now();
        while told.elapsed() < LOOKS {
            assert_eq!(client.predict(&key.text).await, 200, "{what}");
        }
    }
    fs::remove_dir(file.path()).unwrap();
    file.write(&good);
    let added = file.create(&[]);
    client.until(&added.text, 200).await;
    let was_read = |line: &serde_json::Value| line["message"] == "the keys file was read" && line["keys"] == 2;
    server.until(was_read);
    let warnings = server.log.iter().filter(|line| line["level"] == "WARN");
    assert_eq!(warnings.count(), faults.len(), "{:#?}", server.log);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_file_is_counted_and_keys_that_are_gone_have_no_series_left() {
    let file = KeysFile::new();
    let [stays, goes] = [(); 2].map(|()| file.create(&[]));
    let app = app(&file).await;
    let loads = |result: &str| app.series(&format!("api_keys_loads_total{{result=\"{result}\"}}")).unwrap();
    let requests = |key: &str| app.series(&format!("api_key_requests_total{{key=\"{key}\"}}"));
    let until = async |what: &str, condition: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!((loads("ok"), loads("failed")), (1.0, 0.0));
    assert_eq!((requests(&stays.id), requests(&goes.id)), (Some(0.0), Some(0.0)));
    assert_eq!(predict(&app, &stays.text, "doubler").await.status, 200);

    let text = file.text();
    file.write(text.replace("[[keys]]", "[[key]]"));
    until("the broken file is counted", &|| loads("failed") == 1.0).await;
    assert_eq!(predict(&app, &goes.text, "doubler").await.status, 200);

    let at = text.rfind("[[keys]]").unwrap();
    file.write(format!("{}[plans.gold]\nrate = 1\nburst = 1\nconcurrent = 1\n", &text[..at]));
    until("the good file is counted", &|| loads("ok") == 2.0).await;
    assert_eq!((requests(&stays.id), requests(&goes.id)), (Some(1.0), None));
    let gold = || app.series("rate_limit_rejections_total{plan=\"gold\"}");
    assert_eq!(gold(), Some(0.0));
    assert_eq!(predict(&app, &goes.text, "doubler").await.status, 401);

    file.write(&text[..at]);
    until("the plan is gone", &|| gold().is_none()).await;
    assert_eq!((loads("ok"), loads("failed")), (3.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_of_symbolic_links_is_a_change() {
    let (file, first, second) = (KeysFile::new(), KeysFile::new(), KeysFile::new());
    let (old, new) = (first.create(&[]), second.create(&[]));
    // As Kubernetes mounts a secret: keys.toml -> ..data/keys.toml, ..data -> a folder that is replaced as a whole.
    let data = file.folder().join("..data");
    symlink(first.folder(), &data).unwrap();
    symlink("..data/keys.toml", file.path()).unwrap();
    let server = serve(&file);
    let client = Client::of(&server);
    assert_eq!((client.predict(&old.text).await, client.predict(&new.text).await), (200, 401));
    let next = file.folder().join("..data_tmp");
    symlink(second.folder(), &next).unwrap();
    fs::rename(&next, &data).unwrap();
    drop(first);
    let took = client.until(&new.text, 200).await;
    assert!(took < WITHIN, "the new keys count after {took:?}");
    assert_eq!(client.predict(&old.text).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sighup_the_keys_are_read_again_and_nothing_else_happens() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let mut server = serve(&file);
    let client = Client::of(&server);
    for _ in 0..3 {
        // The file is as it was: nothing else makes the server read it.
        server.signal("HUP");
        server.until(|line| line["message"] == "reload requested" && line["signal"] == "SIGHUP");
        server.until(|line| line["message"] == "the keys file was read");
        assert_eq!(client.predict(&key.text).await, 200);
    }
    file.write("broken");
    server.until(|line| line["level"] == "WARN");
    server.signal("HUP");
    // Who asks is answered, known or not.
    server.until(|line| line["message"] == "reload requested");
    server.until(|line| line["level"] == "WARN");
    assert_eq!(client.predict(&key.text).await, 200);

    let mut open = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", "model/doubler/1/model.onnx"]);
    let mut open = Server::start(&mut open);
    open.signal("HUP");
    open.until(|line| line["message"] == "reload requested");
    assert_eq!(Client::of(&open).predict("").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_begins_and_ends_when_its_time_comes() {
    let file = KeysFile::new();
    let made = Instant::now();
    let in_three_seconds = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let begins = file.create(&["--not-before", &in_three_seconds.to_string()]);
    let ends = file.create(&["--expires-in", "3s"]);
    let server = serve(&file);
    let client = Client::of(&server);
    client.until(&begins.text, 200).await;
    client.until(&ends.text, 401).await;
    // Times in the file are cut to whole seconds.
    assert!(made.elapsed() > Duration::from_secs(2), "they came and went after {:?}", made.elapsed());
}
