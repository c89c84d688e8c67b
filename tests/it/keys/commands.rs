//! `glassbox keys`: what the commands print, and what they do to the file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use serde_json::Value;

use crate::support::{KeysFile, glassbox, run, variable};

#[test]
fn a_key_is_shown_once_and_its_file_holds_a_hash_only() {
    let file = KeysFile::new();
    let finished = file.command("create", &["--name", "data team"]);
    let key = finished.stdout.strip_suffix('\n').unwrap();
    assert_eq!((finished.code, key.lines().count(), key.len()), (Some(0), 1, 3 + 12 + 1 + 48), "{key}");
    let [id, secret] = [1, 2].map(|part| key.split('_').nth(part).unwrap());
    assert!(finished.stderr.contains(id), "{}", finished.stderr);
    for text in [&finished.stderr, &file.text(), &file.command("list", &[]).stdout, &file.check(key).stdout] {
        assert!(text.contains(id) && !text.contains(secret), "{text}");
    }
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn list_tells_what_each_key_may_do_and_never_its_hash() {
    let file = KeysFile::new();
    file.write("[plans.gold]\nrate = 10\nburst = 20\nconcurrent = 3\n");
    let options =
        ["--model", "tox*", "--model", "doubler", "--plan", "gold", "--scope", "predict", "--scope", "history"];
    let [rich, expired, revoked] = [&options[..], &["--expires-in", "90d"], &[]].map(|options| file.create(options));
    let early = file.create(&["--not-before", "2100-01-01T00:00:00Z"]);
    file.revoke(&revoked.id);
    let text = file.text();
    let date = text.lines().find(|line| line.starts_with("expires_at")).unwrap();
    file.write(text.replace(date, "expires_at = \"2020-01-01T00:00:00Z\""));

    let finished = file.command("list", &[]);
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    let document: Value = serde_json::from_str(&file.command("list", &["--json"]).stdout).unwrap();
    for (index, (key, parts)) in [
        (rich, &["valid", "predict", "history", "tox*", "doubler", "gold"][..]),
        (expired, &["expired", "default", "2020-01-01T00:00:00Z"]),
        (revoked, &["revoked"]),
        (early, &["not yet", "2100-01-01T00:00:00Z"]),
    ]
    .into_iter()
    .enumerate()
    {
        let start = finished.stdout.split_once(&key.id).expect("the key is listed").1;
        let row = start.split("├").next().unwrap();
        let words = row.split(['│', '┆', '\n', ' ']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let shown = document["keys"][index].to_string();
        assert_eq!(document["keys"][index]["id"], key.id.as_str());
        for part in parts {
            assert!(words.contains(part) && shown.contains(part), "{part} is not in {words} and {shown}");
        }
        assert!(!finished.stdout.contains(key.secret()) && !shown.contains(key.secret()));
    }
    let text = file.text();
    for hash in text.lines().filter_map(|line| line.strip_prefix("secret_sha256 = ")) {
        assert!(!finished.stdout.contains(&hash[1..20]) && !document.to_string().contains(&hash[1..20]));
    }
}

#[test]
fn check_tells_who_a_key_is_and_ends_with_0_only_when_it_can_be_used() {
    let file = KeysFile::new();
    let [valid, revoked] = [(); 2].map(|()| file.create(&["--model", "tox*", "--scope", "metrics"]));
    let early = file.create(&["--not-before", "2100-01-01T00:00:00Z"]);
    file.revoke(&revoked.id);
    for (key, code, part) in [(&valid, 0, "valid"), (&revoked, 1, "revoked"), (&early, 1, "not yet valid")] {
        for text in [key.text.clone(), format!("{}\n", key.text)] {
            let finished = file.check(&text);
            assert_eq!((finished.code, &*finished.stderr), (Some(code), ""));
            assert!(finished.stdout.contains(part) && finished.stdout.contains(&key.id), "{}", finished.stdout);
        }
    }
    let shown = file.check(&valid.text).stdout;
    for part in ["metrics", "tox*", "default: 1000/s, burst 2000"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    for (key, part) in [
        (valid.forged(), "another secret"),
        (valid.text.replace(&valid.id, "000000000000"), "has the id 000000000000"),
        ("open sesame".to_owned(), "this is no key"),
        (String::new(), "this is no key"),
        ("x".repeat(1_000_000), "this is no key"),
    ] {
        let finished = file.check(&key);
        assert_eq!((finished.code, &*finished.stdout), (Some(1), ""));
        assert!(finished.stderr.contains(part) && !finished.stderr.contains(valid.secret()), "{}", finished.stderr);
    }
}

#[test]
fn what_people_wrote_into_the_file_stays_as_it_is() {
    let file = KeysFile::new();
    let hash = "5".repeat(64);
    let text = format!(
        "# ours\n\n[[keys]]   # the first\nid = '0123456789ab'\nname =   \"ünï\"\nsecret_sha256 = \"{hash}\"\n\
         scopes = [ \"predict\",  # why\n  \"admin\" ]\n\n# gold\n[plans.gold]\nrate = 1_000\nburst = 10\nconcurrent = 3\n# end\n"
    );
    file.write(&text);
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let key = file.create(&["--plan", "gold"]);
    let added = file.text();
    let entry = added.strip_prefix(&text).expect("a key is added at the end, and nothing else is touched");
    assert!(entry.starts_with("\n[[keys]]\n") && entry.contains(&key.id), "{entry}");
    file.revoke("0123456789ab");
    let revoked: Vec<String> = file.text().lines().map(str::to_owned).collect();
    let without: Vec<&String> = revoked.iter().filter(|line| !line.starts_with("revoked_at = ")).collect();
    assert_eq!(
        (without, revoked.len()),
        (added.lines().map(str::to_owned).collect::<Vec<_>>().iter().collect(), added.lines().count() + 1)
    );
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o640);
    // Who revokes it again is told so, and changes nothing.
    let before = file.text();
    assert!(file.command("revoke", &["0123456789ab"]).stderr.contains("already"));
    assert_eq!(file.text(), before);
    let left: Vec<_> = fs::read_dir(file.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["keys.toml"], "nothing is left beside the file");
}

#[test]
fn behind_a_symbolic_link_the_file_is_changed_and_the_link_stays() {
    let (file, other) = (KeysFile::new(), KeysFile::new());
    let first = other.create(&[]);
    symlink(other.path(), file.path()).unwrap();
    let second = file.create(&[]);
    assert!(file.path().is_symlink());
    assert!([first, second].iter().all(|key| other.check(&key.text).code == Some(0)));
    assert_eq!(fs::read_dir(file.folder()).unwrap().count(), 1);
}

#[test]
fn keys_that_are_made_at_the_same_time_are_all_kept() {
    let file = KeysFile::new();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| file.create(&[]))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for key in &keys {
        assert_eq!(file.check(&key.text).code, Some(0), "{}", key.id);
    }
    assert_eq!(file.text().matches("[[keys]]").count(), keys.len());
}

#[test]
fn a_key_that_could_not_be_shown_is_revoked() {
    let file = KeysFile::new();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" keys create --name x --file \"$1\" > /dev/full", env!("CARGO_BIN_EXE_glassbox")]);
    let finished = run(command.arg(file.path()).env_clear());
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(file.text().contains("revoked_at"), "{}", file.text());
}

#[test]
fn all_faults_of_a_file_are_told_with_their_place_and_without_a_value() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let good = file.text();
    let hash = good.split("secret_sha256 = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let with = |from: &str, to: &str| good.replace(from, to);
    let cases = [
        (with(&hash, &hash[1..]), vec!["line 7", "secret_sha256: expected 64"]),
        (with("secret_sha256", "secret_sha265"), vec!["secret_sha256 is missing", "line 7", "there is no such field"]),
        (with("id = ", &format!("\"{hash}\" = 1\nid = ")), vec!["line 5", "there is no such field"]),
        (with(&key.id, &key.text), vec!["line 5", "id: expected 12"]),
        (with("\"predict\"", "\"all\""), vec!["scopes: expected a list of predict, history"]),
        (with("[\"predict\"]", "[]"), vec!["scopes: expected"]),
        (with("name = ", &format!("plan = \"{hash}\"\nname = ")), vec!["plan: expected the name of a plan"]),
        (with("name = ", "models = [\"a b\"]\nname = "), vec!["models: expected a list of at most 64 globs"]),
        (with("name = ", "expires_at = 2030-01-01\nname = "), vec!["expires_at: expected a time with its offset"]),
        (
            with("name = ", "not_before = 2030-01-01T00:00:00Z\nexpires_at = 2029-01-01T00:00:00Z\nname = "),
            vec!["expires_at is not after not_before"],
        ),
        (format!("{good}{good}"), vec!["line 14, key", "another key has this id"]),
        (
            format!("{good}[plans.slow]\nrate = 0\nburst = 1\n"),
            vec!["rate: expected a whole number", "concurrent is missing"],
        ),
        (format!("{good}[plans.\"{hash}\"]\nrate = 1\nburst = 1\nconcurrent = 1\n"), vec!["a plan's name is 1 to 32"]),
        (format!("{good}[{hash}]\n"), vec!["there is no such section"]),
        (with(&format!("\"{hash}\""), &hash), vec!["line 7: is not valid TOML"]),
        (with(&format!("{hash}\""), &hash), vec!["line 7: is not valid TOML"]),
        (format!("{good}# {}", "x".repeat(17 << 20)), vec!["larger than 16 MiB"]),
        (good.repeat(40), vec!["at least 32 problems"]),
        (String::new(), vec!["the file is empty"]),
    ];
    for (text, parts) in cases {
        file.write(&text);
        for command in [&["list"][..], &["create", "--name", "x"], &["revoke", &key.id]] {
            let finished = file.command(command[0], &command[1..]);
            // A file that holds nothing yet can be filled.
            if text.is_empty() && command[0] != "list" {
                continue;
            }
            let said = &finished.stderr;
            assert_eq!((finished.code, &*finished.stdout), (Some(64), ""), "{command:?}: {said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} are not in {said}");
            assert!(!said.contains(&hash[1..20]) && !said.contains(key.secret()), "{said}");
            assert_eq!(file.text().len(), text.len(), "a broken file is left as it is");
        }
    }
    file.write([0xff, 0xfe]);
    assert!(file.command("list", &[]).stderr.contains("is not valid UTF-8"));
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let before = file.text();
    for (args, code, part) in [
        (&["create", "--name", "x", "--scope", "all"][..], 2, "predict, history, metrics, admin"),
        (&["create", "--name", "x", "--model", "a b"], 2, "may stand for others"),
        (&["create", "--name", "x", "--expires-in", "soon"], 2, "--expires-in"),
        (&["create", "--name", "x", "--not-before", "soon"], 2, "--not-before"),
        (&["create"], 2, "--name"),
        (&["create", "--name", ""], 64, "name: expected 1 to 128 characters"),
        (&["create", "--name", "x", "--plan", "gold"], 64, "plan: expected the name of a plan"),
        (&["create", "--name", "x", "--expires-in", "9999y"], 1, "longer than there is time"),
        (&["revoke", "000000000000"], 1, "no key 000000000000 is in"),
        (&["revoke", &key.text], 1, "12 hexadecimal digits"),
        (&["check", &key.text], 2, "Usage"),
    ] {
        let finished = file.command(args[0], &args[1..]);
        assert_eq!((finished.code, &*finished.stdout), (Some(code), ""), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(part), "{args:?}: {}", finished.stderr);
        assert_eq!(file.text(), before, "{args:?}");
    }
    let finished = run(&mut glassbox(&["keys", "list"]));
    assert_eq!(finished.code, Some(64));
    assert!(finished.stderr.contains("auth.keys_file: is not set"), "{}", finished.stderr);
}

#[test]
fn every_command_explains_itself_with_examples_that_work() {
    let file = KeysFile::new();
    file.write("[plans.partner]\nrate = 10\nburst = 20\nconcurrent = 3\n");
    let mut tried = 0;
    for command in [&[][..], &["create"], &["list"], &["check"]] {
        let help = run(glassbox(&["keys"]).args(command).arg("--help"));
        assert_eq!((help.code, &*help.stderr), (Some(0), ""), "{command:?}");
        let (_, examples) = help.stdout.split_once("\nExample").expect("there is an example");
        let examples: Vec<&str> =
            examples.lines().map(str::trim).filter(|line| line.contains("glassbox keys")).collect();
        assert!(!examples.is_empty(), "{command:?}");
        // The key of an earlier example, as the reader has it.
        let key = format!("KEY={}", file.create(&[]).text);
        let script = [&["set -e", &key][..], &examples].concat().join("\n");
        let script = script.replace("glassbox keys", &format!("{} keys", env!("CARGO_BIN_EXE_glassbox")));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(file.folder()).env(variable("auth.keys_file"), "keys.toml");
        let finished = run(&mut shell);
        assert_eq!(finished.code, Some(0), "{script}\n{}", finished.stderr);
        tried += examples.len();
    }
    assert!(tried >= 8, "only {tried} examples were tried");
    assert!(run(&mut glassbox(&["keys", "revoke", "--help"])).stdout.contains("glassbox keys revoke --file"));
}
