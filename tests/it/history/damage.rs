//! The spool's files are damaged, cut, deleted, or none at all.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, symlink},
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use super::{
    Database,
    crash::{metric, predict, request_ids, segments, serve, spooled, until_nothing_waits},
};
use crate::support::{Caller, Server, run, until};

/// The database's folder cannot be made, until [`unblock`].
fn block(database: &Database) {
    fs::write(database.file().parent().unwrap(), "no folder").unwrap();
}

fn unblock(database: &Database) {
    fs::remove_file(database.file().parent().unwrap()).unwrap();
}

/// A server that has this many rows in its spool.
fn server_with_spool(database: &Database, rows: usize) -> Server {
    let server = Server::start(&mut serve(database));
    let mut caller = Caller::connect(server.addr);
    for number in 0..rows {
        assert!(predict(&mut caller, &format!("{}-{number}", server.pid())));
    }
    until("all rows are in the spool", || spooled(&server) == rows);
    server
}

fn kill(mut server: Server) {
    server.signal("KILL");
    server.wait(std::time::Duration::from_secs(10)).expect("it is killed");
}

fn dropped(server: &Server) -> usize {
    metric(server, "history_rows_total{result=\"dropped\"}")
}

/// What readiness says of damage, if anything.
fn told(server: &Server) -> Option<String> {
    let body = Caller::connect(server.addr).get("/readyz").body;
    let reason = body["reasons"].as_array().unwrap().iter().find(|reason| reason["state"] == "damaged").cloned();
    assert!(reason.is_none() || body["status"] == "degraded", "{body}");
    reason.map(|reason| reason["reason"].as_str().unwrap().to_owned())
}

/// Where the records of a segment begin.
fn records(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![8];
    while let Some(head) = bytes.get(*starts.last().unwrap()..).and_then(|rest| rest.first_chunk::<4>()) {
        starts.push(starts.last().unwrap() + 8 + u32::from_le_bytes(*head) as usize);
    }
    starts.pop();
    starts
}

fn logged<'a>(server: &'a Server, message: &str) -> Vec<&'a Value> {
    server.log.iter().filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with(message))).collect()
}

#[test]
fn a_damaged_record_costs_only_itself_and_is_told_until_somebody_looked() {
    // A place in the tenth record, the bits that are turned there, and the rows that this costs.
    for (place, bits, lost) in [(3, 0x7f, 1), (0, 0x55, 1), (20, 0x01, 1), (9, 0x80, 1), (usize::MAX, 0x55, 0)] {
        let database = Database::sqlite();
        block(&database);
        kill(server_with_spool(&database, 40));
        let [segment] = &segments(&database)[..] else { panic!("{:?}", segments(&database)) };
        let mut bytes = fs::read(segment).unwrap();
        let starts = records(&bytes);
        assert_eq!(starts.len(), 40, "records are of the form that older servers wrote");
        let (at, piece) = if place == usize::MAX { (0, 0..8) } else { (starts[9] + place, starts[9]..starts[10]) };
        bytes[at] ^= bits;
        fs::write(segment, &bytes).unwrap();

        unblock(&database);
        let mut server = Server::start(&mut serve(&database));
        until_nothing_waits(&server);
        assert_eq!((request_ids(&database).len(), dropped(&server)), (40 - lost, lost), "byte {place}");
        let name = segment.with_extension("damaged");
        assert_eq!(fs::read(&name).unwrap(), bytes[piece], "the damage and nothing else is kept");
        let reason = told(&server).expect("it is told");
        assert!(reason.contains(name.file_name().unwrap().to_str().unwrap()), "{reason}");
        assert_eq!(metric(&server, "history_spool_damaged_files"), 1);
        let message = "a part of the spool is damaged and is kept aside";
        if logged(&server, message).is_empty() {
            server.until(|line| line["message"] == message);
        }
        assert_eq!(logged(&server, message)[0]["rows"], lost);
        assert!(segments(&database).is_empty());
        kill(server);

        let server = Server::start(&mut serve(&database));
        assert!(told(&server).is_some_and(|again| again == reason), "a restart makes nobody look");
        assert_eq!((dropped(&server), logged(&server, message).len()), (0, 0), "it is counted and told once");
        fs::remove_file(name).unwrap();
        until("it is seen that somebody looked", || told(&server).is_none());
        assert_eq!(metric(&server, "history_spool_damaged_files"), 0);
    }
}

#[test]
fn damage_that_waits_for_the_database_is_counted_once_across_restarts() {
    let database = Database::sqlite();
    block(&database);
    kill(server_with_spool(&database, 20));
    let segment = segments(&database).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let place = records(&bytes)[4] + 30;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for lost in [1, 0, 0] {
        let server = Server::start(&mut serve(&database));
        until("the spool was looked at", || metric(&server, "history_pending_rows") == 19);
        assert!(told(&server).is_some());
        assert_eq!(dropped(&server), lost);
        kill(server);
    }
    unblock(&database);
    let server = Server::start(&mut serve(&database));
    until_nothing_waits(&server);
    assert_eq!((request_ids(&database).len(), dropped(&server)), (19, 0));
}

#[test]
fn a_spool_that_is_damaged_while_the_server_runs_stops_nothing_else() {
    let database = Database::sqlite();
    block(&database);
    kill(server_with_spool(&database, 20));
    let server = server_with_spool(&database, 20);
    let earlier = |path: &PathBuf| path.ends_with("0000000000000001.rows");
    let (older, newer): (Vec<_>, Vec<_>) = segments(&database).into_iter().partition(earlier);
    let mut bytes = fs::read(&older[0]).unwrap();
    let starts = records(&bytes);
    for record in [0, 7, 8] {
        bytes[starts[record] + 40] ^= 1;
    }
    fs::write(&older[0], bytes).unwrap();
    // Four rows are cut off, and half of a fifth.
    let bytes = fs::read(&newer[0]).unwrap();
    let cut = records(&bytes)[15] + 40;
    fs::write(&newer[0], &bytes[..cut]).unwrap();
    let mut caller = Caller::connect(server.addr);
    for number in 0..5 {
        assert!(predict(&mut caller, &format!("later-{number}")));
    }
    until("they are in the spool", || spooled(&server) == 25);
    unblock(&database);
    until_nothing_waits(&server);
    assert_eq!((request_ids(&database).len(), dropped(&server)), (20 - 3 + 20 - 5 + 5, 3 + 5));
    assert!(told(&server).is_some());
    assert!(predict(&mut caller, "last"));
    until("new rows go on", || request_ids(&database).contains_key("last"));
}

#[test]
fn a_part_of_the_spool_that_is_deleted_while_the_server_runs_is_counted_and_stops_nothing_else() {
    let database = Database::sqlite();
    block(&database);
    let server = server_with_spool(&database, 20);
    fs::remove_dir_all(database.spool()).unwrap();
    let mut caller = Caller::connect(server.addr);
    for number in 0..5 {
        assert!(predict(&mut caller, &format!("later-{number}")));
    }
    until("they are in the spool", || spooled(&server) == 25);
    unblock(&database);
    until_nothing_waits(&server);
    assert_eq!((request_ids(&database).len(), dropped(&server)), (5, 20));
}

#[test]
fn a_part_of_the_spool_that_cannot_be_read_is_passed_over_and_tried_again() {
    let database = Database::sqlite();
    block(&database);
    kill(server_with_spool(&database, 20));
    let server = server_with_spool(&database, 20);
    let (first, away) = (database.spool().join("0000000000000001.rows"), database.folder.path().join("away"));
    fs::rename(&first, &away).unwrap();
    fs::create_dir(&first).unwrap();
    unblock(&database);
    until("the other part is stored", || metric(&server, "history_rows_total{result=\"stored\"}") == 20);
    let mut caller = Caller::connect(server.addr);
    let is_told = |caller: &mut Caller| {
        let body = caller.get("/readyz").body;
        body["reasons"].as_array().unwrap().iter().any(|reason| reason["state"] == "unreadable")
    };
    assert!(is_told(&mut caller));
    assert_eq!((metric(&server, "history_spool_damaged_files"), metric(&server, "history_pending_rows")), (1, 20));
    assert!(predict(&mut caller, "last"));
    until("new rows go on", || metric(&server, "history_rows_total{result=\"stored\"}") == 21);
    fs::remove_dir(&first).unwrap();
    fs::rename(&away, &first).unwrap();
    until_nothing_waits(&server);
    assert_eq!((request_ids(&database).len(), dropped(&server)), (41, 0));
    assert!(!is_told(&mut caller));
}

#[test]
fn files_in_the_spool_that_are_none_of_its_own_are_neither_followed_nor_waited_for() {
    let database = Database::sqlite();
    let (spool, victim) = (database.spool(), database.folder.path().join("victim"));
    fs::create_dir_all(spool.join("0000000000000097.rows")).unwrap();
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, spool.join("0000000000000098.rows")).unwrap();
    let pipe = spool.join("0000000000000001.rows");
    assert_eq!(run(Command::new("mkfifo").arg(&pipe)).code, Some(0));
    for name in
        ["abc.rows", "18446744073709551615.rows", "9999999999999999.rows", "9999999999999999999999.rows", "7.rows"]
    {
        fs::write(spool.join(name), "x").unwrap();
    }
    block(&database);
    let mut server = server_with_spool(&database, 20);
    unblock(&database);
    until_nothing_waits(&server);
    assert_eq!((request_ids(&database).len(), dropped(&server)), (20, 0));
    assert_eq!(told(&server), None);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(fs::read(spool.join("9999999999999999.rows")).unwrap(), b"x");
    server.signal("TERM");
    assert_eq!(server.wait(std::time::Duration::from_secs(30)).expect("it ends").code(), Some(0));
}

#[test]
fn damage_that_nobody_looks_at_leaves_room_for_rows() {
    let database = Database::sqlite();
    fs::create_dir_all(database.spool()).unwrap();
    for number in 1..=200 {
        fs::write(database.spool().join(format!("{number:016}.rows")), vec![b'x'; 8 * 1024]).unwrap();
    }
    block(&database);
    let mut command = serve(&database);
    command.env(crate::support::variable("history.spool_limit"), "1MiB");
    let server = Server::start(&mut command);
    until("all files are looked at", || segments(&database).is_empty());
    let kept: Vec<u64> = fs::read_dir(database.spool())
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            entry.path().extension().is_some_and(|it| it == "damaged").then(|| entry.metadata().unwrap().len())
        })
        .collect();
    assert!(!kept.is_empty() && kept.len() <= 64 && kept.iter().sum::<u64>() <= 256 * 1024, "{kept:?}");
    until("each file is counted", || dropped(&server) == 200);
    assert_eq!(metric(&server, "history_spool_damaged_files"), kept.len());
    let mut caller = Caller::connect(server.addr);
    assert!(predict(&mut caller, "one"));
    until("there is room for rows", || spooled(&server) == 1);
}
