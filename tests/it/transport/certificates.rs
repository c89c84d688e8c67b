//! Certificates: which are taken, and what happens when they change.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use tempfile::TempDir;

use super::{
    client::{Client, Trust, handshake},
    serve,
};
use crate::support::{PATIENCE, Server, eventually, glassbox, run, until, variable};

/// A certificate for `localhost` and its key, in two files of a folder.
pub struct Pair {
    folder: TempDir,
    pub certificate: CertificateDer<'static>,
}

impl Pair {
    pub fn new() -> Self {
        Self::ending(4096)
    }

    /// Good until the first day of a year.
    fn ending(year: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { certificate: cert.der().clone(), folder }
    }

    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// What a server speaks TLS with this pair by.
    pub fn settings(&self) -> Vec<(&'static str, &'static str)> {
        // A test's own small leak: settings are texts that live as long as the test.
        let text = |path: PathBuf| -> &'static str { path.to_str().unwrap().to_owned().leak() };
        vec![("server.tls_cert", text(self.cert())), ("server.tls_key", text(self.key()))]
    }

    /// Puts the other pair's files in the place of this one's, each at once.
    fn replace_by(&self, other: &Self) {
        for name in ["cert.pem", "key.pem"] {
            let new = self.folder.path().join("new");
            fs::copy(other.folder.path().join(name), &new).unwrap();
            fs::rename(new, self.folder.path().join(name)).unwrap();
        }
    }
}

/// A caller who believes these certificates.
pub fn trust(pairs: &[&Pair]) -> Trust {
    Trust {
        roots: pairs.iter().map(|pair| pair.certificate.clone()).collect(),
        protocols: &["h2", "http/1.1"],
        versions: rustls::ALL_VERSIONS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_within_seconds_and_no_request_fails() {
    let (old, new) = (Pair::new(), Pair::new());
    let server = Server::start(&mut serve(&old.settings()));
    let (addr, trust) = (server.addr, trust(&[&old, &new]));
    let mut kept = Client::https(addr, &trust).await.unwrap();
    assert_eq!(kept.certificate.as_ref(), Some(&old.certificate));
    let (leave, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async {
        while !leave.load(Ordering::Relaxed) {
            let mut client = Client::https(addr, &trust).await.unwrap();
            assert_eq!(client.post("/v1/predict", &json!({"input": [1]})).await.status, 200);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let change = async {
        old.replace_by(&new);
        let changed = Instant::now();
        while Client::https(addr, &trust).await.unwrap().certificate.as_ref() != Some(&new.certificate) {
            assert!(changed.elapsed() < PATIENCE, "the old certificate is still shown");
        }
        // Who was there before stays.
        assert_eq!(kept.post("/v1/predict", &json!({"input": [1]})).await.status, 200);
        leave.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, change);
    assert!(answered.load(Ordering::Relaxed) > 5);
    assert_eq!(loads(addr, &trust).await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_when_the_certificate_ends_that_is_shown() {
    // Times are written in another form from 2050 on.
    let (old, new) = (Pair::ending(2031), Pair::ending(2060));
    let server = Server::start(&mut serve(&old.settings()));
    let trust = trust(&[&old, &new]);
    let ends = async || -> i64 {
        let told = metric(server.addr, &trust, "tls_certificate_expiry_timestamp_seconds").await;
        told.expect("it is not told").parse().unwrap()
    };
    assert_eq!(ends().await, 1_924_992_000);
    old.replace_by(&new);
    eventually("the new certificate's end is told", async || ends().await == 2_840_140_800).await;
    fs::write(old.cert(), "").unwrap();
    eventually("the broken one is seen", async || loads(server.addr, &trust).await == (2, 1)).await;
    assert_eq!(ends().await, 2_840_140_800);
    let plain = Server::start(&mut serve(&[]));
    let metrics = Client::http1(plain.addr).await.get("/metrics").await;
    assert!(!String::from_utf8_lossy(&metrics.body).contains("tls_certificate_expiry"), "there is no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_behind_a_link_is_seen_when_the_link_is_swapped() {
    let (old, new) = (Pair::new(), Pair::new());
    // As Kubernetes mounts a secret: the files are links into a folder, which is a link itself.
    let mount = TempDir::new().unwrap();
    let data = mount.path().join("data");
    symlink(old.folder.path(), &data).unwrap();
    for name in ["cert.pem", "key.pem"] {
        symlink(Path::new("data").join(name), mount.path().join(name)).unwrap();
    }
    let path = |name: &str| mount.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let server = Server::start(&mut serve(&[("server.tls_cert", &cert), ("server.tls_key", &key)]));
    let trust = trust(&[&old, &new]);
    let shown = async || Client::https(server.addr, &trust).await.unwrap().certificate.unwrap();
    assert_eq!(shown().await, old.certificate);
    symlink(new.folder.path(), mount.path().join("swap")).unwrap();
    fs::rename(mount.path().join("swap"), &data).unwrap();
    let swapped = Instant::now();
    while shown().await != new.certificate {
        assert!(swapped.elapsed() < PATIENCE, "the old certificate is still shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_certificate_leaves_the_old_one_in_place_and_is_told_once() {
    let (old, other) = (Pair::new(), Pair::new());
    let mut server = Server::start(&mut serve(&old.settings()));
    let trust = trust(&[&old]);
    let is_warning = |line: &serde_json::Value| {
        line["level"] == "WARN" && line["message"].as_str().unwrap().contains("certificate is not used")
    };
    let good = fs::read(old.cert()).unwrap();
    let half = &good[..good.len() / 2];
    let breaks = [
        ("server.tls_key", Some(fs::read(other.cert()).unwrap())),
        ("server.tls_cert", Some(half.to_owned())),
        ("server.tls_cert", Some(Vec::new())),
        ("server.tls_cert", None),
    ];
    for (n, (key, content)) in breaks.iter().enumerate() {
        match content {
            Some(content) => fs::write(old.cert(), content).unwrap(),
            None => fs::remove_file(old.cert()).unwrap(),
        }
        let warning = server.until(is_warning);
        assert_eq!(warning["key"], *key);
        assert_eq!(Client::https(server.addr, &trust).await.unwrap().certificate.as_ref(), Some(&old.certificate));
        assert_eq!(loads(server.addr, &trust).await, (1, n + 1));
    }
    assert_eq!(server.log.iter().filter(|line| is_warning(line)).count(), breaks.len());
    // The next good one is taken.
    old.replace_by(&other);
    server.until(|line| line["message"] == "the certificate has changed");
    let trust = self::trust(&[&other]);
    assert_eq!(loads(server.addr, &trust).await, (2, breaks.len()));
}

#[test]
fn a_server_does_not_start_with_a_certificate_that_it_cannot_use() {
    let (pair, other) = (Pair::new(), Pair::new());
    let text = |path: &Path| path.display().to_string();
    let empty = pair.folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let absent = pair.folder.path().join("absent.pem");
    for (cert, key, expected) in [
        (&absent, &pair.key(), "server.tls_cert: cannot be read: No such file"),
        (&pair.cert(), &absent, "server.tls_key: cannot be read: No such file"),
        (&empty, &pair.key(), "server.tls_cert: holds no certificate"),
        (&pair.cert(), &empty, "server.tls_key: holds no certificate or key"),
        (&pair.key(), &pair.key(), "server.tls_cert: holds no certificate"),
        (&pair.cert(), &pair.cert(), "server.tls_key: holds no certificate or key"),
        (&pair.cert(), &other.key(), "server.tls_key: is not the key of the certificate"),
    ] {
        let (cert, key) = (text(cert), text(key));
        let finished = run(&mut serve(&[("server.tls_cert", &cert), ("server.tls_key", &key)]));
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(finished.stderr.contains(expected), "{expected} is not said: {}", finished.stderr);
        assert!(!finished.stderr.contains("BEGIN"), "{}", finished.stderr);
    }
    let finished = run(&mut serve(&[("server.tls_cert", &text(&pair.cert()))]));
    assert_eq!(finished.code, Some(64));
    assert!(finished.stderr.contains("server.tls_cert: needs server.tls_key beside it"), "{}", finished.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_usual_form_are_taken() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output();
        let output = output.expect("'openssl' is missing: install the package 'openssl'");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for (name, begins, make) in [
        ("pkcs1.pem", "RSA PRIVATE KEY", &["genrsa", "-traditional", "-out"][..]),
        ("sec1.pem", "EC PRIVATE KEY", &["ecparam", "-name", "prime256v1", "-genkey", "-out"]),
        ("pkcs8.pem", "PRIVATE KEY", &["genpkey", "-algorithm", "ed25519", "-out"]),
    ] {
        let (key, cert) = (path(name), path(&format!("cert.{name}")));
        openssl(&[make, &[&*key]].concat());
        assert!(fs::read_to_string(&key).unwrap().contains(&format!("-----BEGIN {begins}-----")), "{name}");
        let request = ["req", "-x509", "-new", "-days", "2", "-subj", "/CN=localhost", "-key", &key, "-out", &cert];
        let extensions = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(&[&request[..], &extensions[..]].concat());
        let server = Server::start(&mut serve(&[("server.tls_cert", &cert), ("server.tls_key", &key)]));
        let mut trust = trust(&[]);
        trust.roots = vec![CertificateDer::from_pem_file(&cert).unwrap()];
        let mut client = Client::https(server.addr, &trust).await.unwrap();
        assert_eq!(client.get("/healthz").await.status, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_end_is_cut_and_holds_up_nobody() {
    let pair = Pair::new();
    let settings = [pair.settings(), vec![("server.header_timeout", "3s"), ("server.max_connections", "8")]].concat();
    let server = Server::start(&mut serve(&settings));
    let begin = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut silent: Vec<_> = (0..4)
        .map(|n| {
            let mut stream = TcpStream::connect(server.addr).unwrap();
            stream.write_all(&begin[..n * 3]).unwrap();
            stream
        })
        .collect();
    let mut client = Client::https(server.addr, &trust(&[&pair])).await.unwrap();
    assert_eq!(client.get("/healthz").await.status, 200);
    for stream in &mut silent {
        ends(stream);
    }
    // A handshake is not enough: a request has to come.
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(handshake(server.addr, &trust(&[&pair])).await.unwrap());
    }
    for stream in idle {
        ends(&mut stream.into_inner().0.into_std().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_at_the_https_port_fails_at_once() {
    let pair = Pair::new();
    let server = Server::start(&mut serve(&[pair.settings(), vec![("server.header_timeout", "600s")]].concat()));
    for bytes in [&b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.write_all(bytes).unwrap();
        let told = ends(&mut stream);
        assert!(!told.starts_with(b"HTTP"), "{told:?}");
    }
    let mut client = Client::https(server.addr, &trust(&[&pair])).await.unwrap();
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[test]
fn the_health_check_and_the_start_line_know_of_tls() {
    let pair = Pair::new();
    let server = Server::start(&mut serve(&pair.settings()));
    assert_eq!(server.log.iter().find(|line| line["message"] == "listening").unwrap()["scheme"], "https");
    let check = |listen: String, settings: &[(&str, &str)]| {
        let mut command = glassbox(&["healthcheck"]);
        run(command
            .env(variable("server.listen"), listen)
            .envs(settings.iter().map(|(key, value)| (variable(key), value))))
    };
    until("the server is ready", || check(server.addr.to_string(), &pair.settings()).code == Some(0));
    let plain = check(server.addr.to_string(), &[]);
    assert_eq!(plain.code, Some(1), "plain HTTP found an answer");
    drop(server);
}

/// How often a certificate was read, and with what result: well, and not.
async fn loads(addr: std::net::SocketAddr, trust: &Trust) -> (usize, usize) {
    let count = async |result: &str| {
        let series = format!("tls_certificate_loads_total{{result=\"{result}\"}}");
        metric(addr, trust, &series).await.unwrap().parse().unwrap()
    };
    (count("ok").await, count("failed").await)
}

/// The value of one series, as it is written.
async fn metric(addr: std::net::SocketAddr, trust: &Trust, series: &str) -> Option<String> {
    let metrics = Client::https(addr, trust).await.unwrap().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.to_owned())
}

/// What comes until the server ends the connection.
fn ends(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut told = Vec::new();
    match stream.read_to_end(&mut told) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection is still open: {error}"),
    }
    told
}
