//! What the service manager that started the server is told, in systemd's protocol (sd_notify): that it serves, reads its
//! keys again, stops, and that new callers are answered.

use std::{
    convert::Infallible,
    ffi::OsStr,
    future, io,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hyper::StatusCode;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::healthcheck::Listener;
use crate::{
    config::{self, Manager},
    registry::Registry,
};

/// How long the manager may take to take a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// Signs of life in the time after which the manager believes that there are none any more.
const SIGNS: u32 = 3;

/// The service manager; nobody at all where the server was started by hand.
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    serving: AtomicBool,
}

impl Supervisor {
    /// Whoever asked to be told. One who cannot be reached is nobody: it will say so itself.
    pub(super) fn find() -> Self {
        let Manager { socket, watchdog } = config::manager();
        let socket = socket.and_then(|address| {
            let connected = connect(address.as_bytes());
            connected.inspect_err(|error| tracing::warn!(%error, "the service manager cannot be told anything")).ok()
        });
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket, serving: AtomicBool::new(false) }
    }

    /// Every model has been tried: callers are served, and what is ordered behind the server may start. So it is too where
    /// required models are missing: the others are served, and to start once more would mend nothing.
    pub(super) fn ready(&self, registry: &Registry) {
        self.serving.store(true, Ordering::Release);
        let missing = registry.not_ready().into_iter().filter(|item| item.required).count();
        let status = match missing {
            0 => "ready".to_owned(),
            missing => format!("serving, and not ready: {missing} required not loaded, see /readyz"),
        };
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Files are read again. The manager takes the end of that for the end of starting, too.
    pub(super) async fn reload(&self, reading: impl Future<Output = ()>) {
        let serving = || self.serving.load(Ordering::Acquire);
        if serving() {
            self.tell("RELOADING=1");
        }
        reading.await;
        if serving() {
            self.tell("READY=1");
        }
    }

    /// From here on the server ends by itself.
    pub(super) fn stopping(&self) {
        self.serving.store(false, Ordering::Release);
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Gives signs of life for as long as a new caller is let in and answered: a timer alone would go on where nothing else
    /// does. A full server answers this call from the places that it keeps for probes. Where these are taken as well, it turns
    /// connections away, this one or others: that is work, and a server that does it is well.
    pub(super) async fn watch(&self, listener: Listener, turned_away: impl Fn() -> u64) -> Infallible {
        let Some(within) = self.watchdog else { return future::pending().await };
        let each = within / SIGNS;
        let mut ticks = interval(each.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.serving.load(Ordering::Acquire) {
                continue;
            }
            let before = turned_away();
            match timeout(each, listener.ask("/healthz")).await {
                Ok(Ok(StatusCode::OK)) => self.tell("WATCHDOG=1"),
                _ if turned_away() > before => self.tell("WATCHDOG=1"),
                Ok(Ok(status)) => tracing::warn!(%status, "no sign of life: the server does not answer itself"),
                Ok(Err(error)) => tracing::warn!("no sign of life: {error:#}"),
                Err(_elapsed) => tracing::warn!("no sign of life: the server does not answer itself in time"),
            }
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, "the service manager cannot be told anything");
        }
    }
}

fn connect(address: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    match address.strip_prefix(b"@") {
        None => socket.connect(OsStr::from_bytes(address))?,
        Some(name) => connect_to_name(&socket, name)?,
    }
    Ok(socket)
}

/// To a socket that has a name and no file, as in containers that are managed from outside.
#[cfg(target_os = "linux")]
fn connect_to_name(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_to_name(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
