//! The service manager: what the server tells it, and that the units say what it understands.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Caller, Finished, HeldGolden, PATIENCE, Redis, Repository, Server, glassbox, project, run, until, variable,
};

/// Its watchdog's time in these tests; signs of life come three times as often.
const WATCHDOG: Duration = Duration::from_millis(900);

/// What a manager hears.
struct Manager {
    socket: UnixDatagram,
    address: String,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), address: path.display().to_string(), _folder: folder }
    }

    /// Without a file, as containers have it.
    fn without_file() -> Self {
        let name = format!("glassbox-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { socket, address: format!("@{name}"), _folder: TempDir::new().unwrap() }
    }

    fn start(&self, command: &mut Command) -> Server {
        Server::spawn(command.env("NOTIFY_SOCKET", &self.address))
    }

    /// The next message within `limit`.
    fn hears_within(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// The next message that is no sign of life.
    fn hears(&self) -> String {
        loop {
            let message = self.hears_within(PATIENCE).expect("something is told");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    /// Waits for signs of life that come from now on: of who is dead, none does.
    fn hears_signs_of_life(&self, count: usize) {
        while self.hears_within(Duration::from_millis(1)).is_some() {}
        for _ in 0..count {
            assert_eq!(self.hears_within(PATIENCE).as_deref(), Some("WATCHDOG=1"));
        }
    }

    /// Signs of life that come from now on, for so long.
    fn signs_of_life(&self, time: Duration) -> usize {
        while self.hears_within(Duration::from_millis(1)).is_some() {}
        let end = Instant::now() + time;
        let mut signs = 0;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            signs += usize::from(self.hears_within(left).as_deref() == Some("WATCHDOG=1"));
        }
        signs
    }
}

#[test]
fn the_manager_is_told_ready_reloading_and_stopping_each_when_it_is_so() {
    for manager in [Manager::new(), Manager::without_file()] {
        let repository = Repository::new();
        repository.copy("doubler", "doubler");
        // It loads until the disk gives its samples.
        let disk = HeldGolden::new();
        let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
        let mut server = manager.start(disk.hold(&mut command).env(variable("models.repository"), repository.path()));
        assert_eq!(Caller::connect(server.addr).get("/healthz").status, 200);
        server.signal("HUP");
        server.until(|line| line["message"] == "reload requested");
        assert_eq!(manager.hears_within(Duration::from_millis(100)), None, "it is not ready yet");
        disk.release();
        assert_eq!(manager.hears(), "READY=1\nSTATUS=ready");
        server.signal("HUP");
        assert_eq!([manager.hears(), manager.hears()], ["RELOADING=1", "READY=1"]);
        server.signal("TERM");
        assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining");
        assert_eq!(server.ended().code(), Some(0));
        assert_eq!(manager.hears_within(Duration::from_millis(1)), None);
    }
}

#[test]
fn a_model_that_cannot_be_loaded_is_told_and_does_not_keep_the_others_from_being_served() {
    let (manager, repository) = (Manager::new(), Repository::new());
    repository.copy("doubler", "doubler");
    repository.write("broken/1/model.onnx", "none");
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let server = manager.start(command.env(variable("models.repository"), repository.path()));
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving, and not ready: 1 required not loaded, see /readyz");
    let answer = Caller::connect(server.addr).post("/v1/predict", &json!({"model": "doubler", "input": [1]}));
    assert_eq!(answer.status, 200);
}

#[test]
fn signs_of_life_come_while_new_callers_are_answered_and_no_longer() {
    let manager = Manager::new();
    let server = manager.start(&mut watched());
    assert!(manager.hears().starts_with("READY=1"));
    manager.hears_signs_of_life(3);
    // Nobody can be let in any more: there are no descriptors for it.
    let limit = |descriptors: &str| {
        let pid = server.pid().to_string();
        let set = run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={descriptors}:")]));
        assert_eq!(set.code, Some(0), "{}", set.stderr);
    };
    limit("3");
    until("the signs end", || manager.signs_of_life(WATCHDOG) == 0);
    limit("1000");
    until("the signs come again", || manager.signs_of_life(WATCHDOG) > 0);
}

#[test]
fn a_server_whose_callers_hold_all_its_places_is_alive() {
    let manager = Manager::new();
    let command = &mut watched();
    command.env(variable("server.max_connections"), "3").env(variable("server.body_timeout"), "300s");
    let server = manager.start(command);
    assert!(manager.hears().starts_with("READY=1"));
    let mut callers: Vec<_> = (0..3).map(|_| Caller::connect(server.addr)).collect();
    for caller in &mut callers {
        caller.begin_post("/v1/predict", &json!({"model": "doubler", "input": [1]}));
    }
    // Others want the places beside them, which are for probes.
    callers.extend((0..100).map(|_| Caller::connect(server.addr)));
    manager.hears_signs_of_life(2);
}

#[test]
fn a_server_that_was_started_by_hand_tells_nobody_and_one_whose_manager_is_gone_serves() {
    let (manager, mut command) = (Manager::new(), watched());
    let server = Server::spawn(&mut command);
    assert_eq!(Caller::connect(server.addr).get("/healthz").status, 200);
    assert_eq!(manager.hears_within(WATCHDOG), None);
    let mut server = Server::spawn(watched().env("NOTIFY_SOCKET", "/nowhere/notify"));
    assert_eq!(Caller::connect(server.addr).get("/healthz").status, 200);
    assert!(server.log.iter().any(|line| line["level"] == "WARN"), "{:?}", server.log);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_worker_tells_its_manager_what_a_server_does() {
    let (manager, redis) = (Manager::new(), Redis::start());
    let mut command = glassbox(&["worker", "--listen", "127.0.0.1:0", "--model", "model/doubler/1/model.onnx"]);
    command.env(variable("redis.url"), redis.url()).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    let mut worker = manager.start(&mut command);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=ready");
    manager.hears_signs_of_life(2);
    worker.signal("HUP");
    assert_eq!([manager.hears(), manager.hears()], ["RELOADING=1", "READY=1"]);
    let probes: Vec<_> = (0..64)
        .map(|_| {
            let mut probe = Caller::connect(worker.addr);
            assert_eq!(probe.get("/healthz").status, 200);
            probe
        })
        .collect();
    // All places are taken, and it is well.
    manager.hears_signs_of_life(2);
    drop(probes);
    worker.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining");
    assert_eq!(worker.ended().code(), Some(0));
}

#[test]
fn the_units_are_understood_and_confine_the_server() {
    let folder = TempDir::new().unwrap();
    for name in ["glassbox.service", "glassbox@8081.service", "glassbox-worker@8091.service"] {
        let text = unit(&name.replace(char::is_numeric, ""));
        let there = text.replace("/opt/glassbox/glassbox ", concat!(env!("CARGO_BIN_EXE_glassbox"), " "));
        fs::write(folder.path().join(name), there).unwrap();
        let overrides = folder.path().join(format!("{name}.d"));
        fs::create_dir(&overrides).unwrap();
        fs::write(overrides.join("secrets.conf"), unit("secrets.conf")).unwrap();
        let path = folder.path().join(name).display().to_string();
        let Finished { code, stdout, stderr, .. } = analyze(&["verify", "--man=no", &path]);
        assert_eq!((code, &*stdout, &*stderr), (Some(0), "", ""), "{name}");
        // In tenths: 3.0 is what is promised.
        let checked = analyze(&["security", "--offline=true", "--threshold=30", "--no-pager", &path]);
        assert_eq!(checked.code, Some(0), "{}", checked.stdout);
        assert!(checked.stdout.contains("Overall exposure level"), "{}", checked.stdout);
    }
    let weak = folder.path().join("glassbox.service").display().to_string();
    assert_eq!(
        analyze(&["security", "--offline=true", "--threshold=1", "--no-pager", &weak]).code,
        Some(1),
        "the threshold is no threshold"
    );
}

#[test]
fn the_units_differ_only_in_what_makes_several_servers_and_workers_possible() {
    let (one, several) = (unit("glassbox.service"), unit("glassbox@.service"));
    let new: Vec<_> = several.lines().skip(1).filter(|line| !one.lines().any(|other| other == *line)).collect();
    let expected = [
        "Description=Glassbox on port %i, ONNX models over HTTP",
        "Environment=GLASSBOX__SERVER__LISTEN=127.0.0.1:%i",
        "StateDirectory=glassbox/%i",
        "WorkingDirectory=%S/glassbox/%i",
    ];
    assert_eq!(new, expected);
    assert_eq!(several.lines().count(), one.lines().count() + 1);

    let worker = unit("glassbox-worker@.service");
    let settings = |unit: &str| -> Vec<String> {
        let lines = unit.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (several, worker) = (settings(&several), settings(&worker));
    let new: Vec<_> = worker.iter().filter(|line| !several.contains(line)).collect();
    let expected = [
        "Description=Glassbox worker with probes on port %i, ONNX models for API servers",
        "ExecStart=/opt/glassbox/glassbox worker --config /etc/glassbox/glassbox.toml",
        "Environment=GLASSBOX__QUEUE__WORKER_LISTEN=127.0.0.1:%i",
        "WorkingDirectory=/",
        "LimitNOFILE=4096",
    ];
    assert_eq!(new, expected);
    // Its state's folder and that folder's mode, and what SIGHUP is good for.
    assert_eq!(worker.len(), several.len() - 3);
}

#[test]
fn the_time_to_stop_is_enough_to_drain_and_the_configuration_is_one() {
    let file = project().join("deploy/systemd/glassbox.toml");
    let checked = run(glassbox(&["check-config", "--config"]).arg(&file));
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let config: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    let seconds = |key: &str| -> u64 { config["drain"][key].as_str().unwrap().trim_end_matches('s').parse().unwrap() };
    let unit = unit("glassbox.service");
    let stop: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.parse().ok()).unwrap();
    assert!(stop >= seconds("delay") + seconds("timeout") + 8, "{stop} s");
}

#[test]
fn the_user_is_one_that_systemd_can_make() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let made = run(Command::new("systemd-sysusers")
        .arg(format!("--root={}", root.path().display()))
        .arg(project().join("deploy/systemd/sysusers.conf")));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.contains(":Glassbox:/var/lib/glassbox:/usr/sbin/nologin"), "{users}");
}

fn watched() -> Command {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", "model/doubler/1/model.onnx"]);
    command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    command
}

fn unit(name: &str) -> String {
    fs::read_to_string(project().join("deploy/systemd").join(name)).unwrap()
}

fn analyze(arguments: &[&str]) -> Finished {
    let there = Command::new("systemd-analyze").arg("--version").output();
    assert!(there.is_ok(), "systemd-analyze is not here: run 'make setup', or install systemd");
    run(Command::new("systemd-analyze").args(arguments))
}
