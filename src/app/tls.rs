//! HTTPS: the certificate and its key, read anew when their files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, RootCertStore, ServerConfig as TlsConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::handshake;
use crate::{
    config::{Problem, Problems, ServerConfig},
    files::{self, MIB},
    telemetry::{labels::Attempt, metrics::Metrics},
};

/// Eight times the longest chain that callers read, with words around it.
const MAX_FILE: u64 = MIB;

/// Chains have two to four certificates; Java's callers take ten.
const MAX_CHAIN: usize = 32;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Speaks TLS with the certificate that was read last.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    current: Arc<ArcSwap<TlsConfig>>,
}

impl Tls {
    pub(super) const fn new(current: Arc<ArcSwap<TlsConfig>>) -> Self {
        Self { current }
    }

    /// The caller's handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }
}

/// The files of a certificate and its key, and what was read from them last.
#[derive(Debug)]
pub(super) struct Certificate {
    files: Files,
    current: Arc<ArcSwap<TlsConfig>>,
    seen: Stamp,
    metrics: Arc<Metrics>,
}

impl Certificate {
    /// Reads both files, if the configuration names them.
    ///
    /// # Errors
    /// [`Problems`], when they are no certificate with its key.
    pub(super) fn read(config: &ServerConfig, metrics: Arc<Metrics>) -> Result<Option<Self>, Problems> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let files = Files { cert: cert.clone(), key: key.clone() };
        let seen = files.stamp();
        let pair = files.read().map_err(|problem| Problems(vec![problem]))?;
        metrics.server.tls_loaded(Attempt::Ok);
        metrics.server.tls_ends(pair.ends);
        Ok(Some(Self { files, current: Arc::new(ArcSwap::new(pair.tls)), seen, metrics }))
    }

    /// What speaks TLS with this certificate, and with all that come after it.
    pub(super) fn tls(&self) -> Tls {
        Tls::new(Arc::clone(&self.current))
    }

    /// Looks for ever whether the files have changed, and reads them when they did. A pair that is broken leaves the old
    /// one in place.
    pub(super) async fn watch(mut self) {
        let mut before = self.seen;
        loop {
            tokio::time::sleep(LOOK).await;
            // Files can lie on a disk that takes its time.
            let files = self.files.clone();
            let Ok(stamp) = tokio::task::spawn_blocking(move || files.stamp()).await else { return };
            // Who replaces two files is between them for a moment: they are read once they rest.
            let rests = stamp == before;
            before = stamp;
            if stamp != self.seen && rests {
                self.seen = stamp;
                self.reload().await;
            }
        }
    }

    async fn reload(&self) {
        let files = self.files.clone();
        let result = match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(Ok(pair)) => {
                self.current.store(pair.tls);
                self.metrics.server.tls_ends(pair.ends);
                tracing::info!("the certificate has changed");
                Attempt::Ok
            }
            Ok(Err(Problem { key, message, .. })) => {
                tracing::warn!(key, error = message, "the new certificate is not used: the old one stays");
                Attempt::Failed
            }
            Err(_stopping) => return,
        };
        self.metrics.server.tls_loaded(result);
    }
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What was read from them.
struct Pair {
    tls: Arc<TlsConfig>,
    /// In seconds since 1970.
    ends: Option<i64>,
}

/// What tells one state of the files from another: device, inode, size, and the times of the last changes of content and
/// inode. Links are followed, so that a swapped one is seen.
type Stamp = [Option<(u64, u64, u64, (i64, i64), (i64, i64))>; 2];

impl Files {
    fn stamp(&self) -> Stamp {
        let stamp = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            Some((
                file.dev(),
                file.ino(),
                file.size(),
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            ))
        };
        [stamp(&self.cert), stamp(&self.key)]
    }

    fn read(&self) -> Result<Pair, Problem> {
        let chain = chain(&self.cert).map_err(|message| problem("server.tls_cert", message))?;
        let ends = chain.first().and_then(ends);
        let key = files::read(&self.key, MAX_FILE).map_err(pem::Error::Io);
        let key = key.and_then(|pem| PrivateKeyDer::from_pem_slice(&pem));
        let key = key.map_err(|error| problem("server.tls_key", unreadable(&error)))?;
        let builder = TlsConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| unusable(&error))?;
        let mut config =
            builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| unusable(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = Arc::new(config);
        let refused =
            |error| problem("server.tls_cert", format!("is of no use, no handshake comes to an end: {error}"));
        handshake::attempt(&tls).map_err(refused)?;
        Ok(Pair { tls, ends })
    }
}

/// The certificates of a file, the server's own first.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = files::read(path, MAX_FILE).map_err(|error| unreadable(&pem::Error::Io(error)))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).take(MAX_CHAIN + 1).collect();
    match chain.map_err(|error| unreadable(&error))? {
        chain if chain.is_empty() => Err(unreadable(&pem::Error::NoItemsFound)),
        chain if chain.len() > MAX_CHAIN => Err(format!("holds more than {MAX_CHAIN} certificates")),
        chain => Ok(chain),
    }
}

/// When a certificate ends, in seconds since 1970. The verifier reads that, but says it only of what has ended: it is asked
/// for the end of time, where no certificate is good, and a certificate's own time is the first that it looks at.
fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let (nobody, never) = (RootCertStore::empty(), UnixTime::since_unix_epoch(Duration::MAX));
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], never, &[]) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            i64::try_from(not_after.as_secs()).ok()
        }
        _ => None,
    }
}

fn problem(key: &str, message: String) -> Problem {
    Problem { key: key.to_owned(), origin: None, message }
}

/// Never the content: one of the files is a secret.
fn unreadable(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => "holds no certificate or key in PEM that can be used".to_owned(),
        _ => "is not valid PEM".to_owned(),
    }
}

fn unusable(error: &rustls::Error) -> Problem {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            problem("server.tls_key", "is not the key of the certificate in server.tls_cert".to_owned())
        }
        rustls::Error::InvalidCertificate(_) => {
            problem("server.tls_cert", "holds no certificate that can be used".to_owned())
        }
        other => problem("server.tls_key", format!("cannot be used with the certificate in server.tls_cert: {other}")),
    }
}
