//! A connection that has a place.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;

use crate::app::activity::Activity;

/// The kinds of places. They change under the lock of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// One of those that the bounds allow.
    Seated,
    /// One beyond, for probes and operators.
    Reserve,
    /// None any more: it ends in good order.
    Leaving,
    /// None any more: it ends at once.
    Cut,
}

/// Shared by the room and the task of the connection.
#[derive(Debug)]
pub(super) struct Occupant {
    /// The address, or the network, that it comes from.
    pub origin: IpAddr,
    /// Whether places of its origin are bounded.
    pub is_bounded: bool,
    activity: Arc<Activity>,
    standing: AtomicU8,
    end: Notify,
}

impl Occupant {
    pub(super) fn new(origin: IpAddr, is_bounded: bool) -> Self {
        let standing = AtomicU8::new(Standing::Reserve as u8);
        Self { origin, is_bounded, activity: Activity::new(), standing, end: Notify::new() }
    }

    pub(super) const fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(super) fn standing(&self) -> Standing {
        const ALL: [Standing; 4] = [Standing::Seated, Standing::Reserve, Standing::Leaving, Standing::Cut];
        ALL[usize::from(self.standing.load(Ordering::Relaxed)) % ALL.len()]
    }

    pub(super) fn set(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// Has the connection end; it ends with the requests that it is at unless it is cut.
    pub(super) fn end(&self) {
        self.end.notify_one();
    }

    pub(super) async fn has_to_end(&self) {
        self.end.notified().await;
    }
}
