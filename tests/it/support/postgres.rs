//! A real PostgreSQL as a child process of the test, in a folder and on a port of its own, ended with it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::{children, eventually, free};

/// A server with one empty database, which trusts everybody on this machine.
pub struct Postgres {
    pub addr: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Postgres {
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        if is_root() {
            let status = Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap();
            assert!(status.success(), "there is no user 'postgres': run 'make setup', or install postgresql");
        }
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--auth", "trust", "--username", "glassbox", "--encoding", "UTF8", "--locale", "C"]);
        let made = initdb.arg("--pgdata").arg(folder.path().join("data")).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let [addr] = free();
        let postgres = Self { addr, child: spawn(addr, &folder), folder };
        postgres.until_it_answers().await;
        postgres
    }

    /// Of the database; `password` is not asked for.
    pub fn url(&self) -> String {
        format!("postgres://glassbox:hunter2@{}/postgres", self.addr)
    }

    /// A connection past the server under test.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// Runs statements past the server under test.
    pub async fn run(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&mut self.connect().await).await.unwrap();
    }

    /// Ends it at once, as a crash would, and waits for that.
    pub fn kill(&mut self) {
        self.signal("QUIT");
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with what it had.
    pub async fn restart(&mut self) {
        self.child = spawn(self.addr, &self.folder);
        self.until_it_answers().await;
    }

    /// Stops its clock: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        // The first one makes the others, so it comes first.
        self.signal("STOP");
        self.signal_backends("STOP");
    }

    pub fn thaw(&self) {
        self.signal_backends("CONT");
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Some may have ended meanwhile.
    fn signal_backends(&self, name: &str) {
        for child in children(self.child.id()) {
            let _ = Command::new("kill").args(["-s", name, &child.to_string()]).stderr(Stdio::null()).status();
        }
    }

    async fn until_it_answers(&self) {
        let url = self.url();
        eventually("postgres answers", async || PgConnection::connect(&url).await.is_ok()).await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.thaw();
        self.kill();
    }
}

fn spawn(addr: SocketAddr, folder: &TempDir) -> Child {
    let mut command = program("postgres");
    command.arg("-D").arg(folder.path().join("data"));
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={}", addr.port()),
        "unix_socket_directories=",
        "shared_buffers=16MB",
        // The machine itself does not crash here.
        "fsync=off",
    ] {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// One of its programs. It refuses to run as root.
fn program(name: &str) -> Command {
    let path = find(name).unwrap_or_else(|| panic!("{name} is missing: run 'make setup', or install postgresql"));
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]).arg(path);
    command.current_dir("/");
    command
}

/// On the path, or where Debian keeps the programs of several versions.
fn find(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are, which is no part of the configuration")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    std::env::split_paths(&path).chain(versions).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}
