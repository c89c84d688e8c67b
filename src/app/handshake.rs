//! Tries a certificate before it is shown to anybody: a handshake in memory, in each version of TLS.
//!
//! A certificate can be well formed and of no use all the same. Callers read a chain of 64 KiB and no longer one.

use std::sync::Arc;

use rustls::{
    ClientConnection, ConnectionCommon, ServerConfig, ServerConnection,
    pki_types::{IpAddr, Ipv4Addr, ServerName},
};

use super::any_certificate;

/// Times that a message goes there and back; a handshake takes two.
const MAX_ROUNDS: usize = 16;

/// Whether a caller that trusts the certificate gets a connection.
///
/// # Errors
/// Why it gets none.
pub(super) fn attempt(config: &Arc<ServerConfig>) -> Result<(), rustls::Error> {
    rustls::ALL_VERSIONS.iter().try_for_each(|version| {
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let mut client = ClientConnection::new(Arc::new(any_certificate::client(&[version])?), name)?;
        let mut server = ServerConnection::new(Arc::clone(config))?;
        for _ in 0..MAX_ROUNDS {
            pass(&mut client, &mut server)?;
            pass(&mut server, &mut client)?;
            if !client.is_handshaking() && !server.is_handshaking() {
                return Ok(());
            }
        }
        Err(rustls::Error::HandshakeNotComplete)
    })
}

/// Hands all that one side has to say to the other.
fn pass<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<(), rustls::Error> {
    let failed = |error: std::io::Error| rustls::Error::General(error.to_string());
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).map_err(failed)?;
    }
    let mut rest = &*bytes;
    while !rest.is_empty() {
        to.read_tls(&mut rest).map_err(failed)?;
        to.process_new_packets()?;
    }
    Ok(())
}
