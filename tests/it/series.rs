//! Whatever callers send: no series is added to `/metrics`, and no memory is kept.

mod requests;
mod wire;

use std::{collections::BTreeSet, net::SocketAddr, process::Command, thread};

use self::{requests::Requests, wire::Wire};
use crate::support::{KeysFile, Metrics, Server, glassbox, until, variable};

const MIB: u64 = 1024 * 1024;

/// Requests that are on their way on one connection at the same time.
const PIPELINED: usize = 32;

#[test]
fn a_hundred_thousand_random_requests_leave_series_and_memory_as_they_were() {
    // Closed by default, with limits that nobody meets.
    let seen = flood(100_000, &[("rate_limit.enabled", "false")]);
    // All kinds of answers were among them, each more than once in a while.
    for status in [200, 400, 401, 403, 404, 405, 415, 422, 504] {
        assert!(seen.iter().filter(|other| **other == status).count() > 100, "hardly any {status}");
    }
}

#[test]
fn forged_addresses_leave_series_and_memory_as_they_were() {
    let limits = [
        ("server.trusted_proxies", "127.0.0.0/8"),
        ("rate_limit.rate", "20"),
        ("rate_limit.burst", "20"),
        ("rate_limit.address_rate", "1"),
        ("rate_limit.address_burst", "1"),
    ];
    let seen = flood(20_000, &limits);
    for status in [200, 401, 429] {
        assert!(seen.contains(&status), "no {status}");
    }
}

/// Sends so many requests to a server with these settings, and looks at it before, meanwhile and afterwards. Returns what
/// they were answered with.
fn flood(count: usize, settings: &[(&str, &str)]) -> Vec<u16> {
    let keys = KeysFile::new();
    let valid = [&["--scope", "predict"][..], &["--scope", "predict", "--model", "other-*"]];
    let valid = valid.map(|options| keys.create(options));
    let mut command = serve(&keys);
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    let server = Server::start(&mut command);
    until_ready(server.addr);

    let before = series(server.addr);
    let send = |from: usize, to: usize| {
        let connections = (0..4).map(|connection| {
            let requests = Requests::new(from * 4 + connection, &valid);
            let addr = server.addr;
            thread::spawn(move || send(addr, requests, (to - from) / 4))
        });
        let connections: Vec<_> = connections.collect();
        connections.into_iter().flat_map(|connection| connection.join().unwrap()).collect::<Vec<_>>()
    };
    let mut seen = send(0, count / 10);
    let warm = server.resident();
    seen.extend(send(count / 10, count));
    let grown = server.resident().saturating_sub(warm);
    assert_eq!(seen.len(), count);
    let after = series(server.addr);
    println!("{} series, {} KiB more after {count} requests", after.len(), grown / 1024);
    let new: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(grown < 16 * MIB, "{grown} bytes more than after the first tenth");
    seen
}

fn serve(keys: &KeysFile) -> Command {
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx"]);
    for (key, value) in [
        ("server.listen", "127.0.0.1:0"),
        ("auth.keys_file", keys.path().to_str().unwrap()),
        // Answers are kept, but not so many that they could be taken for a leak.
        ("cache.capacity", "1MiB"),
    ] {
        command.env(variable(key), value);
    }
    command
}

fn until_ready(addr: SocketAddr) {
    until("the server is ready", || Wire::connect(addr).ask("GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n") == 200);
}

fn series(addr: SocketAddr) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Metrics::at(addr).await.series().into_iter().map(str::to_owned).collect() })
}

/// Sends so many requests on one connection, many at a time, and returns the statuses of their answers.
fn send(addr: SocketAddr, mut requests: Requests, count: usize) -> Vec<u16> {
    let mut wire = Wire::connect(addr);
    let mut statuses = Vec::with_capacity(count);
    while statuses.len() < count {
        let some: Vec<_> = (statuses.len()..count).take(PIPELINED).map(|_| requests.next()).collect();
        wire.say(&some.iter().map(|request| request.text.as_str()).collect::<String>());
        statuses.extend(some.iter().map(|request| wire.answer(request.bodiless)));
    }
    statuses
}
