//! Start, readiness, draining, the second signal; how many connections, and for how long.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::support::HeldGolden;
use crate::support::{Answer, Caller, Repository, Server, children, glassbox, python, run, until, variable};

#[cfg(target_os = "linux")]
#[test]
fn the_server_is_live_while_models_load_and_ready_when_they_are() {
    let repository = Repository::new();
    let disk = slow_model(&repository);
    let mut server = Server::spawn(disk.hold(&mut serve_repository(&repository)));
    let mut caller = Caller::connect(server.addr);

    assert_eq!(caller.get("/healthz").status, 200);
    until("the quick model is ready", || caller.get("/v1/models/quick").body["state"] == "ready");
    assert_eq!(predict(&mut caller, "quick", 1).status, 200);
    let Answer { status, body } = caller.get("/readyz");
    assert_eq!((status, &body["code"]), (503, &json!("model_not_ready")));
    let reason = json!({"model": "slow/1", "state": "loading", "reason": "it is being loaded", "required": true});
    assert_eq!(body["reasons"], json!([reason]));
    let answer = predict(&mut caller, "slow", 1);
    assert_eq!((answer.status, &answer.body["code"]), (503, &json!("model_not_ready")));
    assert!(!server.log.iter().any(|line| line["message"] == "ready"));

    disk.release();
    until("the server is ready", || caller.get("/readyz").status == 200);
    assert_eq!(caller.get("/readyz").body, json!({"status": "ready", "reasons": []}));
    assert_eq!(predict(&mut caller, "slow", 1).status, 200);
    server.until(|line| line["message"] == "ready");
    assert!(children(server.pid()).is_empty(), "a child process is left");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_signal_ends_a_server_whose_models_are_still_loading() {
    let repository = Repository::new();
    let disk = slow_model(&repository);
    let mut server = Server::spawn(disk.hold(&mut serve_repository(&repository)));
    let mut caller = Caller::connect(server.addr);
    until("the quick model is ready", || caller.get("/v1/models/quick").body["state"] == "ready");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_stop_signal_finishes_what_is_in_flight_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&mut serve(&[]));
        let addr = server.addr;
        let mut callers: Vec<_> = (0..16)
            .map(|n| {
                let mut caller = Caller::connect(addr);
                let rest = caller.begin_post("/v1/predict", &json!({"input": [n]}));
                (n, caller, rest)
            })
            .collect();
        // Half of them are being answered when the signal comes, half are still sending.
        for (_, caller, rest) in callers.iter_mut().filter(|(n, ..)| n % 2 == 0) {
            caller.send(rest);
        }
        server.signal(signal);
        let line = server.until(|line| line["message"] == "stop requested");
        assert_eq!(line["signal"], format!("SIG{signal}"));
        until("no new caller is accepted", || TcpStream::connect(addr).is_err());
        for (n, caller, rest) in &mut callers {
            if *n % 2 == 1 {
                caller.send(rest);
            }
            let answer = caller.answer();
            assert_eq!((answer.status, &answer.body["prediction"]), (200, &json!([f64::from(*n * 2)])), "{signal}");
            assert_eq!(caller.closed(), "");
        }
        assert_eq!(server.ended().code(), Some(0), "{signal}");
        server.until(|line| line["message"] == "stopped");
    }
}

#[test]
fn requests_that_lie_in_the_sockets_when_the_signal_comes_are_answered() {
    let mut server = Server::start(&mut serve(&[]));
    // Started beforehand, so that the signal comes right behind the last request.
    let mut killer = Command::new("sh")
        .args(["-c", "read line; kill -s TERM $0", &server.pid().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let body = json!({"input": [3]}).to_string();
    let head = "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json";
    let mut callers: Vec<_> = (0..128)
        .map(|_| {
            let mut caller = Caller::connect(server.addr);
            caller.send(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            caller
        })
        .collect();
    drop(killer.stdin.take());
    for caller in &mut callers {
        assert_eq!(caller.answer().body["prediction"], json!([6.0]));
    }
    killer.wait().unwrap();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn callers_that_heed_readiness_lose_nothing() {
    let delay = Duration::from_secs(3);
    let server = Server::start(&mut serve(&[("drain.delay", "3s")]));
    let addr = server.addr;
    let (leave, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut signalled = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (leave, answered) = (&leave, &answered);
            scope.spawn(move || {
                let mut caller = Caller::connect(addr);
                while !leave.load(Ordering::Relaxed) {
                    // Some keep their connection, some make a new one for every request.
                    if n % 2 == 0 {
                        caller = Caller::connect(addr);
                    }
                    let answer = predict(&mut caller, "doubler", n);
                    assert_eq!((answer.status, &answer.body["prediction"]), (200, &json!([f64::from(n * 2)])));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut early = Caller::connect(addr);
        until("there is traffic", || answered.load(Ordering::Relaxed) > 100);
        assert_eq!(early.get("/readyz").status, 200);
        server.signal("TERM");
        signalled = Instant::now();
        until("readiness is off", || early.get("/readyz").status == 503);
        let before = answered.load(Ordering::Relaxed);
        for caller in [&mut Caller::connect(addr), &mut early] {
            let Answer { status, body } = caller.get("/readyz");
            assert_eq!((status, &body["code"]), (503, &json!("draining")));
            assert!(caller.ended, "who keeps a connection is not asked to leave it");
            assert_eq!(caller.get("/healthz").status, 200);
        }
        until("the others are still answered", || answered.load(Ordering::Relaxed) > before + 20);
        leave.store(true, Ordering::Relaxed);
    });
    let mut server = server;
    assert_eq!(server.ended().code(), Some(0));
    assert!(signalled.elapsed() >= delay, "drain.delay was cut to {:?}", signalled.elapsed());
}

#[test]
fn idle_connections_do_not_hold_up_the_stop() {
    let mut server = Server::start(&mut serve(&[("server.header_timeout", "600s"), ("drain.timeout", "600s")]));
    let mut silent: Vec<_> = (0..20).map(|_| Caller::connect(server.addr)).collect();
    let mut kept: Vec<_> = (0..20).map(|_| Caller::connect(server.addr)).collect();
    for caller in &mut kept {
        assert_eq!(predict(caller, "doubler", 1).status, 200);
    }
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    for caller in silent.iter_mut().chain(&mut kept) {
        assert_eq!(caller.closed(), "");
    }
}

#[test]
fn drain_timeout_bounds_the_stop() {
    let timeout = Duration::from_millis(700);
    let mut server = Server::start(&mut serve(&[("drain.timeout", "700ms")]));
    let mut caller = Caller::connect(server.addr);
    caller.begin_post("/v1/predict", &json!({"input": [1]}));
    server.signal("TERM");
    let signalled = Instant::now();
    assert_eq!(server.ended().code(), Some(0));
    assert!(signalled.elapsed() >= timeout, "the caller had only {:?}", signalled.elapsed());
    caller.closed();
    server.until(|line| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("drain.timeout"))
    });
}

#[test]
fn a_run_that_does_not_end_is_left_behind_when_drain_timeout_has_passed() {
    let folder = tempfile::TempDir::new().unwrap();
    let graph = folder.path().join("loop.onnx");
    python("python/loop_graph.py", &[graph.to_str().unwrap()], "");
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", graph.to_str().unwrap()]);
    let mut server = Server::start(command.env(variable("drain.timeout"), "700ms"));
    let mut caller = Caller::connect(server.addr);
    assert_eq!(caller.post("/v1/predict", &json!({"input": 3})).body["prediction"], 3);
    // Some minutes.
    let rest = caller.begin_post("/v1/predict", &json!({"input": 1_000_000_000}));
    caller.send(&rest);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert_eq!(caller.closed(), "");
}

#[test]
fn a_second_signal_stops_at_once_and_a_doubled_one_does_not() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM")] {
        let mut server = Server::start(&mut serve(&[]));
        let mut caller = Caller::connect(server.addr);
        let rest = caller.begin_post("/v1/predict", &json!({"input": [4]}));
        server.signal(first);
        server.until(|line| line["message"] == "draining");
        server.signal(second);
        assert_eq!(server.wait(Duration::from_millis(500)), None, "{first} was delivered twice and meant once");
        if first == second {
            caller.send(&rest);
            assert_eq!(caller.answer().body["prediction"], json!([8.0]));
            assert_eq!(server.ended().code(), Some(0));
        } else {
            server.signal(second);
            // Its exit code tells that it did not wait for the caller.
            let status = server.ended();
            assert_eq!(status.code(), Some(1), "what was in flight was lost");
            assert_eq!(caller.closed(), "");
        }
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let mut child = serve(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(r#""message":"ready""#) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
    }
    let ready: Value = serde_json::from_str(&line).unwrap();
    let mut caller = Caller::connect(ready["addr"].as_str().unwrap().parse().unwrap());
    // Some ten times what a pipe holds, and nobody reads it.
    for n in 0..2000 {
        assert_eq!(predict(&mut caller, "doubler", n).status, 200);
    }
    let signalled = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let mut status = None;
    until("the server ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    drop(log);
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let finished = run(serve(&[]).args(["--listen", &addr.to_string()]));
    assert_eq!((finished.code, &*finished.stdout), (Some(1), ""));
    let expected = format!("glassbox: cannot listen on {addr}: Address already in use");
    assert!(finished.stderr.starts_with(&expected) && finished.stderr.lines().count() == 1, "{}", finished.stderr);
}

#[test]
fn connections_are_bounded_and_further_callers_are_refused_until_others_leave() {
    const MOST: usize = 4;
    // Beyond these, for probes and operators.
    const RESERVE: usize = 128;
    let server = Server::start(&mut serve(&[("server.max_connections", "4"), ("server.body_timeout", "300s")]));
    let (addr, idle) = (server.addr, sockets(&server));
    let body = json!({"model": "doubler", "input": [1]});
    let working: Vec<_> = (0..MOST)
        .map(|_| {
            let mut caller = Caller::connect(addr);
            let rest = caller.begin_post("/v1/predict", &body);
            (caller, rest)
        })
        .collect();
    assert_eq!(sockets(&server), idle + MOST);

    std::thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || {
                let mut caller = Caller::connect(addr);
                let refused = predict(&mut caller, "doubler", n);
                assert_eq!((refused.status, &refused.body["code"]), (503, &json!("overloaded")));
                assert!(caller.ended, "it holds a place for probes");
            });
        }
    });
    assert!(sockets(&server) <= idle + MOST + RESERVE, "more than {MOST} and {RESERVE} connections are open");
    for (mut caller, rest) in working {
        caller.send(&rest);
        assert_eq!(caller.answer().status, 200);
    }
    until("all others are served", || (0..20).all(|n| predict(&mut Caller::connect(addr), "doubler", n).status == 200));
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_its_timeout() {
    let timeout = Duration::from_secs(2);
    let server = Server::start(&mut serve(&[("server.header_timeout", "2s"), ("server.idle_timeout", "2s")]));
    let mut answered = Caller::connect(server.addr);
    assert_eq!(predict(&mut answered, "doubler", 1).status, 200);
    let callers = [
        ("nothing was sent", Caller::connect(server.addr), ""),
        ("half a head was sent", Caller::connect(server.addr), "GET /healthz HTTP/1.1\r\nHost:"),
        ("one request was answered", answered, ""),
    ];
    std::thread::scope(|scope| {
        for (what, mut caller, bytes) in callers {
            scope.spawn(move || {
                caller.send(bytes);
                let sent = Instant::now();
                caller.closed();
                let took = sent.elapsed();
                // The clock of the answered one started a moment before.
                assert!(took > timeout / 2, "{what}, and it took {took:?}");
            });
        }
    });
}

/// What loading a model leaves free goes back to the system only if the process was begun with these settings.
#[test]
#[cfg(target_os = "linux")]
fn the_allocators_keep_little_unless_the_operator_says_otherwise() {
    let names = ["MALLOC_TRIM_THRESHOLD_", "MIMALLOC_PURGE_DELAY"];
    let settings = |command: &mut Command| {
        // Loaded and answering: the process that listens is the one that was started.
        let server = Server::start(command);
        assert_eq!(predict(&mut Caller::connect(server.addr), "doubler", 1).status, 200);
        let environment = fs::read(format!("/proc/{}/environ", server.pid())).unwrap();
        let variables: Vec<_> = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let value = |name: &str| variables.iter().find_map(|variable| variable.strip_prefix(&format!("{name}=")));
        names.map(|name| value(name).map(str::to_owned))
    };
    let unset = || {
        let mut command = serve(&[]);
        for name in names {
            command.env_remove(name);
        }
        command
    };
    assert_eq!(settings(&mut unset()), [Some("131072".to_owned()), Some("10".to_owned())]);
    let own = settings(unset().env("MALLOC_TRIM_THRESHOLD_", "1000000"));
    assert_eq!(own, [Some("1000000".to_owned()), Some("10".to_owned())]);
}

/// One small model, named `model`, served from its file on a free port.
fn serve(settings: &[(&str, &str)]) -> Command {
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx"]);
    command.env(variable("server.listen"), "127.0.0.1:0").env(variable("rate_limit.enabled"), "false");
    // Nothing here is to wait for the end of it, unless it says so.
    command.env(variable("drain.timeout"), "600s");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}

fn serve_repository(repository: &Repository) -> Command {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    command.env(variable("models.repository"), repository.path()).env(variable("rate_limit.enabled"), "false");
    command.env(variable("drain.timeout"), "600s");
    command
}

/// Adds the models `quick` and `slow`. The latter loads until the disk gives its golden samples.
#[cfg(target_os = "linux")]
fn slow_model(repository: &Repository) -> HeldGolden {
    let graph = crate::support::project().join("model/doubler/1/model.onnx");
    for name in ["quick", "slow"] {
        repository.write(&format!("{name}/1/model.onnx"), fs::read(&graph).unwrap());
    }
    repository.write("slow/1/golden.json", r#"{"samples": []}"#);
    HeldGolden::new()
}

fn predict(caller: &mut Caller, model: &str, n: i32) -> Answer {
    caller.post("/v1/predict", &json!({"model": model, "input": [n]}))
}

/// Sockets that the server's process has open.
fn sockets(server: &Server) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}
