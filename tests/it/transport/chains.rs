//! Chains that no caller reads: refused at the start, and the old pair stays where they come later.

use std::fs;

use super::{
    certificates::{Pair, trust},
    client::Client,
    serve,
};
use crate::support::{Server, run};

/// The pair's certificate, and so many more behind it, each of which is good for so many names.
fn chain(pair: &Pair, more: usize, names: usize) -> String {
    let own = fs::read_to_string(pair.cert()).unwrap();
    let names: Vec<String> = (0..names).map(|n| format!("a-name-that-takes-room-{n}.example.org")).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
    own + &other.repeat(more)
}

/// Chains that are too long: by their number, by the bytes of all, by those of one file.
fn too_long(pair: &Pair) -> [(String, &'static str); 3] {
    [
        (chain(pair, 32, 1), "holds more than 32 certificates"),
        (chain(pair, 4, 600), "no handshake comes to an end"),
        (chain(pair, 30_000, 1), "cannot be read: it is larger than 1 MiB"),
    ]
}

#[test]
fn a_chain_that_no_caller_reads_is_refused_at_the_start() {
    let pair = Pair::new();
    let good = fs::read_to_string(pair.cert()).unwrap();
    for (chain, words) in too_long(&pair) {
        fs::write(pair.cert(), chain).unwrap();
        let finished = run(&mut serve(&pair.settings()));
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(
            finished.stderr.contains("server.tls_cert: ") && finished.stderr.contains(words),
            "{}",
            finished.stderr
        );
        assert!(!finished.stderr.contains("BEGIN"), "{}", finished.stderr);
        fs::write(pair.cert(), &good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_no_caller_reads_leaves_the_old_pair_in_place_and_is_told() {
    let pair = Pair::new();
    let mut server = Server::start(&mut serve(&pair.settings()));
    let readable = chain(&pair, 9, 1);
    for (chain, words) in too_long(&pair) {
        fs::write(pair.cert(), chain).unwrap();
        let warning = server.until(|line| line["level"] == "WARN" && line["key"] == "server.tls_cert");
        assert!(warning["error"].as_str().unwrap().contains(words), "{warning}");
        let client = Client::https(server.addr, &trust(&[&pair])).await.unwrap();
        assert_eq!(client.certificate.as_ref(), Some(&pair.certificate));
    }
    // A long chain that callers read is taken.
    fs::write(pair.cert(), readable).unwrap();
    server.until(|line| line["message"] == "the certificate has changed");
    assert!(Client::https(server.addr, &trust(&[&pair])).await.is_ok());
}
