//! Places for connections. A new caller beyond the bounds takes the place of the connection that has been idle for longest. Where
//! none is idle, its connection comes into a small reserve, in which only probes and operators are answered.

mod idle;
mod occupant;
mod room;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use self::{
    occupant::{Occupant, Standing},
    room::{Bounds, Room},
};
use super::activity::Activity;
use crate::{config::ServerConfig, telemetry::metrics::Metrics};

/// How often a request in the reserve looks for a place, besides when one is freed: connections become idle unnoticed.
const LOOK: Duration = Duration::from_millis(20);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    bounds: Bounds,
    trusted: Vec<IpNet>,
    room: Mutex<Room>,
    freed: Notify,
    metrics: Arc<Metrics>,
}

impl Seats {
    pub(super) fn new(config: &ServerConfig, metrics: Arc<Metrics>) -> Self {
        let bounds = Bounds { all: config.max_connections, of_one: config.address_connections };
        let trusted = config.trusted_proxies.clone();
        Self { bounds, trusted, room: Mutex::default(), freed: Notify::new(), metrics }
    }

    /// The same, with another number of places.
    pub(super) fn at_most(self, connections: usize) -> Self {
        Self { bounds: Bounds { all: connections, ..self.bounds }, ..self }
    }

    /// A place for a new connection, or else one in the reserve. Nothing where that is taken as well.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Seat> {
        let peer = peer.ip().to_canonical();
        let is_bounded = !self.trusted.iter().any(|network| network.contains(&peer));
        let occupant = Arc::new(Occupant::new(network(peer), is_bounded));
        let mut room = self.room();
        let seated = self.seat(&mut room, &occupant) || self.reserve(&mut room, &occupant);
        drop(room);
        if !seated {
            self.metrics.http.refused();
        }
        seated.then(|| Seat { seats: Arc::clone(self), occupant })
    }

    /// Ends one idle connection, where there is any: the system has no descriptors left.
    pub(super) fn make_room(&self) {
        if self.room().displace_any() {
            self.metrics.http.displaced();
        }
    }

    fn seat(&self, room: &mut Room, occupant: &Arc<Occupant>) -> bool {
        let Some(displaced) = room.seat(occupant, self.bounds) else { return false };
        if displaced {
            self.metrics.http.displaced();
        }
        true
    }

    fn reserve(&self, room: &mut Room, occupant: &Arc<Occupant>) -> bool {
        let Some(displaced) = room.reserve(occupant) else { return false };
        if displaced {
            self.metrics.http.refused();
        }
        true
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscriber has the whole of an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    occupant: Arc<Occupant>,
}

impl Seat {
    /// What goes on on the connection.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        self.occupant.activity()
    }

    /// Whether only probes and operators are answered.
    pub(super) fn is_in_reserve(&self) -> bool {
        self.occupant.standing() == Standing::Reserve
    }

    /// Resolves when the connection has to end.
    pub(super) async fn has_to_end(&self) {
        self.occupant.has_to_end().await;
    }

    /// Whether it has to end without a farewell.
    pub(super) fn is_cut(&self) -> bool {
        self.occupant.standing() == Standing::Cut
    }

    /// The connection ends with the requests that it is at.
    pub(super) fn end(&self) {
        self.occupant.end();
    }

    /// Leaves the reserve as soon as there is a place; false when there is none within `patience`.
    pub(super) async fn leaves_reserve(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let freed = self.seats.freed.notified();
            let now = Instant::now();
            match self.take_place() {
                Attempt::Seated => return true,
                Attempt::Crowded => return false,
                Attempt::Waiting if now >= deadline => return false,
                Attempt::Waiting => {}
            }
            let _ = timeout_at(deadline.min(now + LOOK), freed).await;
        }
    }

    fn take_place(&self) -> Attempt {
        let mut room = self.seats.room();
        // Another request of this connection may have been here first.
        match !self.is_in_reserve() || self.seats.seat(&mut room, &self.occupant) {
            true => Attempt::Seated,
            false if room.is_crowded(self.occupant.origin) => Attempt::Crowded,
            false => Attempt::Waiting,
        }
    }
}

/// What comes of a request in the reserve.
enum Attempt {
    Seated,
    Waiting,
    /// Others want the places of those who wait.
    Crowded,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.seats.room().leave(&self.occupant) {
            self.seats.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::6", "2001:db8:1:3::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }
}
