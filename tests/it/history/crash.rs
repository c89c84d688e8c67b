//! The server itself is killed, or started several times at once.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Database;
use crate::support::{Caller, Server, glassbox, run, until, variable};

/// What a crash may lose.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Rows of this age are there also where the disk is busy with the writes of others.
const SAFE: Duration = Duration::from_secs(10);

#[cfg(target_os = "linux")]
const SLOW_SYNC: &str = "slow_sync.so";

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_under_load_loses_at_most_the_rows_of_one_flush_interval() {
    for mut database in Database::both().await {
        let server = Server::start(&mut serve(&database));
        crash_under_load(&mut database, server, false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_database_is_away_loses_no_more() {
    let mut database = Database::postgres().await;
    let server = Server::start(&mut serve(&database));
    crash_under_load(&mut database, server, true);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_disk_is_slow_to_sync_loses_no_more() {
    let mut database = Database::postgres().await;
    let server = Server::start(&mut slow_to_sync(&database));
    let libraries = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    assert!(libraries.contains(SLOW_SYNC), "what delays its disk is not in use");
    crash_under_load(&mut database, server, true);
}

fn crash_under_load(database: &mut Database, mut server: Server, frozen: bool) {
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::new())));
    let callers: Vec<_> = (0..3)
        .map(|caller| {
            let (addr, stop, acknowledged) = (server.addr, Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                let mut number = 0;
                let mut connection = Caller::connect(addr);
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("{caller}-{number}");
                    if !predict(&mut connection, &id) {
                        return;
                    }
                    acknowledged.lock().unwrap().insert(id, Instant::now());
                    number += 1;
                }
            })
        })
        .collect();
    let count = || acknowledged.lock().unwrap().len();
    until("there is traffic", || count() > 500);
    if frozen {
        database.server().freeze();
        let before = count();
        until("rows go to the spool", || segments(database).iter().any(|file| fs::metadata(file).unwrap().len() > 0));
        until("traffic goes on", || count() > before + 500);
    }
    // Longer than what may be lost.
    let began = Instant::now();
    until("traffic goes on", || began.elapsed() > SAFE + FLUSH_INTERVAL);
    let killed = Instant::now();
    server.signal("KILL");
    stop.store(true, Ordering::Relaxed);
    server.ended();
    // Who was in the middle of an answer has fallen over it.
    callers.into_iter().for_each(|caller| drop(caller.join()));
    if frozen {
        database.server().thaw();
    }

    let server = Server::start(&mut serve(database));
    until_nothing_waits(&server);
    let stored = request_ids(database);
    for (id, count) in &stored {
        assert_eq!(*count, 1, "{id} is there more than once");
    }
    let acknowledged = acknowledged.lock().unwrap();
    let old = acknowledged.iter().filter(|(_, time)| killed.duration_since(**time) > SAFE);
    let lost: Vec<_> = old.clone().filter(|(id, _)| !stored.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} rows are lost: {lost:?}", lost.len(), old.count());
    assert!(stored.len() > 1000, "only {} rows are there", stored.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_of_the_spool_is_recognised_and_what_stands_before_it_is_written() {
    for (tail, torn) in [(&b""[..], true), (b"\0\0\0\0\0\0\0\0\0\0\0\0", false), (b"\x40\0\0\0half a record", false)] {
        let mut database = Database::postgres().await;
        database.server().kill();
        let mut server = Server::start(&mut serve(&database));
        let mut caller = Caller::connect(server.addr);
        for number in 0..20 {
            assert!(predict(&mut caller, &format!("{number}")));
        }
        until("all rows are in the spool", || spooled(&server) == 20);
        server.signal("KILL");
        server.ended();
        let [segment] = &segments(&database)[..] else { panic!("one segment, not {:?}", segments(&database)) };
        let mut bytes = fs::read(segment).unwrap();
        if torn {
            bytes.truncate(bytes.len() - 7);
        }
        bytes.extend_from_slice(tail);
        fs::write(segment, bytes).unwrap();

        database.server().restart().await;
        let mut server = Server::start(&mut serve(&database));
        let told = "the last rows of the spool were not whole";
        if !server.log.iter().any(|line| line["message"] == told) {
            server.until(|line| line["message"] == told);
        }
        until_nothing_waits(&server);
        let stored = request_ids(&database);
        let whole = if torn { 19 } else { 20 };
        assert_eq!((stored.len(), stored.values().sum::<usize>()), (whole, whole));
        until("the segment is gone", || segments(&database).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_has_written_its_last_rows() {
    for database in Database::both().await {
        let mut server = Server::start(&mut serve(&database));
        let mut caller = Caller::connect(server.addr);
        for number in 0..50 {
            assert!(predict(&mut caller, &format!("{number}")));
        }
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0));
        // The last rows have some seconds. What a busy disk does not take within them lies in the spool.
        if !segments(&database).is_empty() {
            let server = Server::start(&mut serve(&database));
            until_nothing_waits(&server);
        }
        assert_eq!(request_ids(&database).len(), 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_make_the_tables_once() {
    for database in Database::both().await {
        let servers: Vec<Server> = std::thread::scope(|scope| {
            let start = |number: usize| {
                let mut command = serve(&database);
                // Each has a spool of its own.
                command.env(variable("history.spool_path"), database.folder.path().join(format!("spool-{number}")));
                scope.spawn(move || Server::start(&mut command))
            };
            let starting: Vec<_> = (0..4).map(start).collect();
            starting.into_iter().map(|server| server.join().unwrap()).collect()
        });
        for (number, server) in servers.iter().enumerate() {
            let mut caller = Caller::connect(server.addr);
            assert!(predict(&mut caller, &format!("of-{number}")));
            until_nothing_waits(server);
            assert_eq!(caller.get("/readyz").body["status"], "ready");
        }
        assert_eq!(request_ids(&database).len(), 4);
    }
}

/// A server over one small model.
pub(super) fn serve(database: &Database) -> Command {
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx", "--listen", "127.0.0.1:0"]);
    command.env(variable("rate_limit.enabled"), "false").envs(database.variables());
    command.env(variable("history.flush_interval"), format!("{}ms", FLUSH_INTERVAL.as_millis()));
    command
}

/// The same server, for which a disk takes three flush intervals to sync.
#[cfg(target_os = "linux")]
fn slow_to_sync(database: &Database) -> Command {
    let library = database.folder.path().join(SLOW_SYNC);
    let seconds = format!("-DSECONDS={}", 3 * FLUSH_INTERVAL.as_secs());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/history/slow_sync.c");
    // What links Rust programs is a C compiler.
    let compiled = run(Command::new("cc").args(["-shared", "-fPIC", &seconds, "-o"]).args([&library, &source]));
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let mut command = serve(database);
    command.env("LD_PRELOAD", library);
    command
}

/// Whether it was answered, and not cut off.
pub(super) fn predict(caller: &mut Caller, request_id: &str) -> bool {
    let body = json!({"input": [1]}).to_string();
    let head = "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
    let head = format!("{head}X-Request-Id: {request_id}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    caller.try_send(&head) && caller.try_answer().is_some_and(|answer| answer.status == 200)
}

/// The files of the spool.
pub(super) fn segments(database: &Database) -> Vec<PathBuf> {
    let entries = fs::read_dir(database.spool()).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "rows")).collect()
}

pub(super) fn metric(server: &Server, series: &str) -> usize {
    let text = run(Command::new("curl").args(["-s", &format!("http://{}/metrics", server.addr)])).stdout;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{series} is not in /metrics")).parse().unwrap()
}

pub(super) fn spooled(server: &Server) -> usize {
    metric(server, "history_rows_total{result=\"spooled\"}")
}

/// Waits until all that the server knows of is in the database.
pub(super) fn until_nothing_waits(server: &Server) {
    until("the database is used", || metric(server, "history_database_away") == 0);
    until("nothing waits", || metric(server, "history_pending_rows") == 0);
}

/// How often each request is there, as the command tells without a server.
pub(super) fn request_ids(database: &Database) -> HashMap<String, usize> {
    let finished = run(glassbox(&["history", "export"]).envs(database.variables()));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let mut ids = HashMap::new();
    for line in finished.stdout.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        *ids.entry(row["request_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    ids
}
