//! Whether the server starts with the keys that it is given.

use std::{fs, process::Command};

use super::{Client, serve_command};
use crate::support::{Finished, KeysFile, Server, glassbox, project, run, variable};

/// `serve`, where it must not start.
fn refused(file: &KeysFile, listen: &str) -> Finished {
    let finished = run(serve_command(file).env(variable("server.listen"), listen));
    assert_eq!((finished.code, finished.stdout.matches("\"listening\"").count()), (Some(64), 0), "{}", finished.stderr);
    finished
}

#[test]
fn a_keys_file_that_is_of_no_use_ends_the_start_with_64_and_the_reason() {
    let file = KeysFile::new();
    let missing = refused(&file, "127.0.0.1:0");
    assert!(missing.stderr.contains("keys.toml cannot be read: No such file"), "{}", missing.stderr);
    assert_eq!(missing.stderr.lines().count(), 1, "{}", missing.stderr);
    for (text, part) in [
        ("", "line 1: the file is empty"),
        ("[[keys]]\nid = \"0123456789ab\"\n", "line 1, key 0123456789ab: secret_sha256 is missing"),
        ("\n\nkeys = ", "line 3: is not valid TOML"),
    ] {
        file.write(text);
        let finished = refused(&file, "127.0.0.1:0");
        assert!(finished.stderr.contains(part), "{text:?}: {}", finished.stderr);
    }
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    assert!(refused(&file, "127.0.0.1:0").stderr.contains("is not a regular file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_it_wants_a_key_that_can_be_used() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    file.revoke(&key.id);
    assert!(refused(&file, "0.0.0.0:0").stderr.contains("has no key that can be used"));
    file.write("# nobody yet\n");
    assert!(refused(&file, "0.0.0.0:0").stderr.contains("glassbox keys create"));
    // On loopback, keys can be made later.
    let server = Server::start(&mut serve_command(&file));
    assert_eq!(Client::of(&server).predict("").await, 401);
    let key = file.create(&[]);
    Client::of(&server).until(&key.text, 200).await;
    let server = Server::start(serve_command(&file).env(variable("server.listen"), "0.0.0.0:0"));
    assert!(server.addr.ip().is_unspecified());
    let mut client = Client::of(&server);
    client.url = client.url.replace("0.0.0.0", "127.0.0.1");
    assert_eq!((client.predict(&key.text).await, client.predict(&key.forged()).await), (200, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_need_no_key_and_with_auth_off_nobody_does() {
    let file = KeysFile::new();
    file.create(&[]);
    let server = Server::start(&mut serve_command(&file));
    let client = Client::of(&server);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.http.get(format!("{}{path}", client.url)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(client.predict("").await, 401);
    // A file that nobody asks is not read either.
    file.write("broken");
    let server = Server::start(serve_command(&file).env(variable("auth.mode"), "off"));
    assert_eq!(Client::of(&server).predict("").await, 200);
}

#[test]
fn check_config_looks_at_the_keys_and_shows_none() {
    let check = |file: &KeysFile| run(glassbox(&["check-config"]).env(variable("auth.keys_file"), file.path()));
    let file = KeysFile::new();
    // The keys may be mounted only where the server runs.
    let finished = check(&file);
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    assert!(finished.stdout.starts_with("# the keys file is not here\n"), "{}", finished.stdout);
    let keys = [file.create(&[]), file.create(&[])];
    file.revoke(&keys[1].id);
    let finished = check(&file);
    let expected = "# the keys file holds 2 keys, 1 of them usable, and 1 plans\n";
    assert!(finished.code == Some(0) && finished.stdout.starts_with(expected), "{}", finished.stdout);
    assert!(finished.stdout.parse::<toml::Table>().is_ok());
    file.write("broken");
    let finished = check(&file);
    assert_eq!((finished.code, &*finished.stdout), (Some(64), ""));
    assert!(finished.stderr.contains("line 1: is not valid TOML"), "{}", finished.stderr);
}

#[test]
fn the_readme_shows_how_a_key_is_made_used_and_revoked() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let section = readme.split("\n## Keys\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<&str> = section.split("```").filter_map(|block| block.strip_prefix("sh\n")).collect();
    let [create, serve, call, manage] = blocks[..] else { panic!("four blocks of commands: {blocks:?}") };

    let file = KeysFile::new();
    let shell = |script: &str, addr: &str| {
        let script = script.replace("target/release/glassbox", env!("CARGO_BIN_EXE_glassbox"));
        let mut command = Command::new("sh");
        command.args(["-ec", &script.replace("127.0.0.1:8080", addr)]).current_dir(file.folder());
        let finished = run(&mut command);
        assert_eq!(finished.code, Some(0), "{script}\n{}", finished.stderr);
        finished.stdout
    };
    let key = shell(&format!("{create}\necho $KEY"), "");
    let (name, value) = serve.split_once(' ').unwrap().0.split_once('=').unwrap();
    assert_eq!((name, value), ("GLASSBOX__AUTH__KEYS_FILE", "keys.toml"));
    let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env(name, file.path()));
    let commands = format!("KEY={key}\n{call}\n{manage}");
    let shown = shell(&commands, &server.addr.to_string());
    for part in [r#""prediction":{"label":"toxic""#, "data team", "toxicity*", "state      valid"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(file.check(&key).code, Some(1), "it is revoked in the end");
}
