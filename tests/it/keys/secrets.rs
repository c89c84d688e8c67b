//! Secrets and their hashes are nowhere but with their owners and in the keys file.

use std::{
    fs,
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Client, serve_command};
use crate::support::{KeysFile, Server, glassbox, run, variable};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_log_error_command_line_environment_or_configuration() {
    let file = KeysFile::new();
    let [good, revoked] = [(); 2].map(|()| file.create(&[]));
    let poor = file.create(&["--scope", "metrics"]);
    let picky = file.create(&["--model", "nobody"]);
    file.revoke(&revoked.id);

    // Its standard error goes to a file, the log to the test.
    let stderr = file.folder().join("stderr");
    let inner = serve_command(&file);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>\"$STDERR\""]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env(variable("telemetry.log_filter"), "trace").env("STDERR", &stderr);
    let mut server = Server::start(&mut command);
    let client = Client::of(&server);

    let unknown = good.text.replace(&good.id, "0123456789ab");
    let (upper, forged) = (good.text.to_uppercase(), good.forged());
    let mut answers = String::new();
    let keys = [&good.text, &revoked.text, &poor.text, &picky.text, &unknown, &upper, &forged];
    for key in keys {
        for (name, value) in [("authorization", format!("Bearer {key}")), ("x-api-key", key.clone())] {
            for (method, path, body) in [
                (Method::POST, "/v1/predict", json!({"input": [1]}).to_string()),
                (Method::POST, "/v1/predict", json!({"input": ["one"]}).to_string()),
                (Method::POST, "/v1/predict_batch", "{".to_owned()),
                (Method::GET, "/v1/models", String::new()),
                (Method::GET, "/v1/models/nobody", String::new()),
                (Method::GET, "/nowhere", String::new()),
                (Method::DELETE, "/", String::new()),
                (Method::GET, "/readyz", String::new()),
            ] {
                let url = format!("{}{path}?api_key={key}", client.url);
                let request = client.http.request(method, url).header(name, &value).body(body);
                let response = request.header("content-type", "application/json").send().await.unwrap();
                answers += &format!("{:?}\n{}\n", response.headers().clone(), response.text().await.unwrap());
            }
        }
    }
    assert_eq!(client.predict(&good.text).await, 200);
    let proc = format!("/proc/{}", server.pid());
    let process = ["cmdline", "environ"].map(|name| fs::read_to_string(format!("{proc}/{name}")).unwrap());
    assert!(process[0].contains("serve") && process[1].contains("KEYS_FILE"), "{process:?}");

    // Faults in the file itself, with a hash in the wrong place each.
    let text = file.text();
    for (from, to) in [("secret_sha256", "id"), ("name = \"test\"", "name = test"), ("id = \"", "id = \"gb_")] {
        file.write(text.replace(from, to));
        server.until(|line| line["level"] == "WARN");
    }
    server.signal("HUP");
    server.until(|line| line["level"] == "WARN");
    let check = run(glassbox(&["check-config"]).env(variable("auth.keys_file"), file.path()));
    assert_eq!(check.code, Some(64));
    file.write(&text);
    let shown = run(glassbox(&["check-config"]).env(variable("auth.keys_file"), file.path()));
    assert_eq!(shown.code, Some(0));
    server.signal("TERM");
    server.until(|line| line["message"] == "stopped");
    server.ended();

    let log: Vec<String> = server.log.iter().map(ToString::to_string).collect();
    assert!(
        log.iter().any(|line| line.contains("\"TRACE\"") || line.contains("\"DEBUG\"")),
        "the filter has no effect"
    );
    assert!(log.iter().filter(|line| line.contains("\"request\"")).count() > 100);
    let places = [
        ("log", log.join("\n")),
        ("standard error", fs::read_to_string(&stderr).unwrap()),
        ("answers", answers),
        ("cmdline", process[0].clone()),
        ("environ", process[1].clone()),
        ("check-config", check.stderr + &check.stdout + &shown.stdout + &shown.stderr),
    ];
    for (place, text) in places {
        let text = text.to_lowercase();
        for key in [&good, &revoked, &poor, &picky] {
            let hash: String = Sha256::digest(key.secret()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(file.text().contains(&hash), "this is what is looked for");
            for secret in [key.secret(), &hash] {
                assert!(!text.contains(&secret[..16]), "{place} holds a secret");
            }
        }
    }
}
