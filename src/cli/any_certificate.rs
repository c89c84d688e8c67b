//! TLS for the health check, which sends nothing secret and asks this machine's own server by its address.
//!
//! Its certificate names a host that is not asked for here, and may be signed by nobody this machine knows.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::app::any_certificate;

/// Connects to a server whatever its certificate says.
///
/// # Errors
/// When the library's own defaults do not fit together.
pub(super) fn connector() -> anyhow::Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(any_certificate::client(rustls::ALL_VERSIONS)?)))
}
