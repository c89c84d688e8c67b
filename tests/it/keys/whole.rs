//! What is whole, and what is half of a keys file or says nothing: a running server does not turn everybody away for it.

use std::{fs, time::Duration};

use super::{Client, serve};
use crate::support::{KeysFile, Server, eventually};

const WARNING: &str = "the keys file is of no use: the keys that were read last still count";

/// Waits for a warning with these words, which is a new one.
fn warned(server: &mut Server, words: &str) {
    server.until(|line| line["message"] == WARNING && line["error"].as_str().unwrap().contains(words));
}

/// How often the file was read with this result.
async fn loads(client: &Client, result: &str) -> usize {
    let text = client.http.get(format!("{}/metrics", client.url)).send().await.unwrap().text().await.unwrap();
    let series = format!("api_keys_loads_total{{result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&*series)).unwrap().parse().unwrap()
}

/// The file as people write it: without the mark at the end.
fn by_hand(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("# End of the keys file"))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_usable_key_changes_nothing_and_is_told() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let good = file.text();
    let mut server = serve(&file);
    let client = Client::of(&server);
    let entry = good.replace("scopes = ", "expires_at = \"2020-01-01T00:00:00Z\"\nscopes = ");
    let stranger = KeysFile::new();
    let other = stranger.create(&[]);
    stranger.revoke(&other.id);
    for (n, text) in [
        "# nobody\n".to_owned(),
        "[plans.gold]\nrate = 1\nburst = 1\nconcurrent = 1\n".to_owned(),
        by_hand(&entry),
        entry,
        stranger.text(),
    ]
    .into_iter()
    .enumerate()
    {
        // Another fault, so that the next one is told anew.
        file.write("broken");
        warned(&mut server, "is not valid TOML");
        file.write(&text);
        warned(&mut server, "has no key that can be used; where nobody is to be let in, it says 'keys = []'");
        assert_eq!(client.predict(&key.text).await, 200, "{text}");
        assert_eq!(loads(&client, "failed").await, 2 * (n + 1), "{text}");
    }
    file.write(&good);
    let added = file.create(&[]);
    client.until(&added.text, 200).await;
    assert_eq!(client.predict(&key.text).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_in_two_halves_locks_nobody_out() {
    for marked in [true, false] {
        let file = KeysFile::new();
        let keys = [(); 3].map(|()| file.create(&[]));
        let text = if marked { file.text() } else { by_hand(&file.text()) };
        file.write(&text);
        let mut server = serve(&file);
        let client = Client::of(&server);
        let second = text.match_indices("[[keys]]").nth(1).unwrap().0;
        // Between two keys, where the mark is missed; behind the first key's last value, in the middle of the line.
        let cuts = if marked { vec![second, second - 2] } else { vec![second - 2] };
        for cut in cuts {
            file.write(text[..cut].trim_end_matches(|c| c == '\n' && !marked));
            server.until(|line| line["message"].as_str().unwrap().starts_with("the keys file may not be complete yet"));
            for key in &keys {
                assert_eq!(client.predict(&key.text).await, 200, "{marked} {cut}");
            }
            file.write(&text);
            server.until(|line| line["message"] == "the keys file was read" && line["keys"] == 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_without_its_end_counts_in_the_end_and_at_once_on_request() {
    let file = KeysFile::new();
    let [stays, goes] = [(); 2].map(|()| file.create(&[]));
    let text = file.text();
    let server = serve(&file);
    let client = Client::of(&server);
    let without = by_hand(&text[..text.rfind("[[keys]]").unwrap()]);
    file.write(without.trim_end());
    client.until(&goes.text, 401).await;
    assert_eq!(client.predict(&stays.text).await, 200);
    file.write(by_hand(&text).trim_end());
    eventually("the change is seen", async || {
        server.signal("HUP");
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.predict(&goes.text).await == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_is_refused_at_once_where_the_file_may_be_incomplete() {
    let file = KeysFile::new();
    let [stays, goes] = [(); 2].map(|()| file.create(&[]));
    let server = serve(&file);
    let client = Client::of(&server);
    let text = by_hand(&file.text());
    file.write(format!("{}\nrevoked_at = \"2020-01-01T00:00:00Z\"", text.trim_end()));
    client.until(&goes.text, 401).await;
    assert_eq!((client.predict(&stays.text).await, loads(&client, "ok").await), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_to_be_locked_out_is() {
    for by_hand_only in [false, true] {
        let file = KeysFile::new();
        let [first, last] = [(); 2].map(|()| file.create(&[]));
        if by_hand_only {
            file.write(by_hand(&file.text()));
        }
        let mut server = serve(&file);
        let client = Client::of(&server);
        // One key is revoked and the other is missing: what is said of the one counts.
        let text = file.text();
        let cut = text.match_indices("[[keys]]").nth(1).unwrap().0;
        let revoked = format!("{}revoked_at = \"2020-01-01T00:00:00Z\"\n", text[..cut].trim_end().to_owned() + "\n");
        file.write(&revoked);
        warned(&mut server, "has no key that can be used");
        assert_eq!((client.predict(&first.text).await, client.predict(&last.text).await), (401, 200));
        // The last one, too.
        file.write(&text);
        client.until(&first.text, 200).await;
        file.revoke(&first.id);
        client.until(&first.text, 401).await;
        file.revoke(&last.id);
        client.until(&last.text, 401).await;
        // And all at once.
        file.write(&text);
        client.until(&last.text, 200).await;
        file.write("keys = []\n");
        client.until(&last.text, 401).await;
        assert_eq!(client.predict(&first.text).await, 401);
    }
}

#[test]
fn a_file_that_the_command_makes_ends_with_a_mark_and_keeps_it() {
    let file = KeysFile::new();
    let keys = [(); 3].map(|()| file.create(&[]));
    file.revoke(&keys[1].id);
    let text = file.text();
    let mark = "# End of the keys file. Leave this line the last one.";
    assert_eq!((text.lines().last(), text.matches(mark).count()), (Some(mark), 1), "{text}");
    // What people add stays behind it, and the mark where it is.
    file.write(format!("{text}# ours\n"));
    file.create(&[]);
    let text = file.text();
    assert!(text.matches(mark).count() == 1 && text.contains("\n# ours\n") && text.matches("[[keys]]").count() == 4);
    fs::write(file.path(), "").unwrap();
    file.create(&[]);
    assert_eq!(file.text().lines().last(), Some(mark));
}
