//! Room for the bytes of requests and answers: what the server holds of both has a bound, callers share it fairly, and a
//! request that finds none is refused.

mod ledger;
mod reading;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::Body;
use bytes::Bytes;

use self::ledger::{Holding, Ledger, Refusal};
pub(super) use self::reading::likely_bytes;
use super::{context::Context, rate_limit::Payer, state::ApiState};
use crate::{config::ServerConfig, error::Error};

/// What every request takes, in KiB: its body and what becomes of it, as long as both are small.
const LEAST: u64 = 4;

/// What one request may take without being counted for its caller, in KiB. Counting takes a lock.
const UNCOUNTED: u64 = 32;

/// The room for one kind of bytes, in KiB.
#[derive(Debug)]
pub(super) struct Space {
    name: &'static str,
    limit: u64,
    left: AtomicU64,
    /// What one caller may hold of what the others leave.
    share: f64,
    /// What a caller may hold whatever the others leave: one request.
    single: u64,
    /// What is kept for small requests, so that callers who hold much never take all of it.
    kept: u64,
    ledger: Ledger,
}

/// What room is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A body that arrives, and so may lose its room.
    Body,
    /// A body that is there, or an answer.
    Answer,
    /// An export, which has room apart from that.
    Export,
}

/// The part that one request takes, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    state: ApiState,
    /// Tells who pays.
    context: Arc<Context>,
    purpose: Purpose,
    kib: u64,
    /// Its place in the ledger, once it is counted.
    holding: Option<Arc<Holding>>,
}

impl Space {
    /// Room for requests and answers.
    pub(super) fn for_bodies(config: &ServerConfig) -> Self {
        let single = config.body_limit.as_u64().div_ceil(1024) + LEAST;
        let new =
            Self::new("the room for requests and answers", config.bodies_limit.as_u64(), config.bodies_share, single);
        let kept = (new.limit / 16).min(new.limit - new.single);
        Self { kept, ..new }
    }

    /// Room for so many exports of `bytes` each, a half of them for one caller.
    pub(super) fn for_exports(count: u64, bytes: u64) -> Self {
        Self::new("the room for exports", count * bytes, 0.5, bytes.div_ceil(1024))
    }

    fn new(name: &'static str, bytes: u64, share: f64, single: u64) -> Self {
        let limit = bytes / 1024;
        let (single, left) = (single.min(limit), AtomicU64::new(limit));
        Self { name, limit, left, share, single, kept: 0, ledger: Ledger::default() }
    }

    /// What a caller may hold that holds `own` of it now.
    fn allowed(&self, own: u64) -> u64 {
        let others_leave = own + self.left.load(Ordering::Relaxed);
        self.single.max(part(self.share, others_leave))
    }

    /// What of that may be bodies that nobody has begun to read. The other half is for what becomes of them, or all of them
    /// would be there and none could be read.
    fn allowed_unread(&self, own: u64) -> u64 {
        self.single.max(self.allowed(own) / 2)
    }

    /// What one request may hold at the most, even where others hold a little.
    fn most(&self) -> u64 {
        self.single.max(part(self.share, self.limit).saturating_sub(self.limit / 64))
    }

    /// Whether so much is left that small requests need not be counted.
    fn is_roomy(&self) -> bool {
        self.left.load(Ordering::Relaxed) > self.limit / 2
    }

    /// What one request may take uncounted.
    fn uncounted(&self) -> u64 {
        UNCOUNTED.min((self.limit / 256).max(LEAST))
    }

    fn take(&self, kib: u64) -> bool {
        self.take_leaving(kib, 0)
    }

    /// Takes so much, unless less than `kept` were left.
    fn take_leaving(&self, kib: u64, kept: u64) -> bool {
        let rest = |left: u64| left.checked_sub(kib).filter(|rest| *rest >= kept);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
    }

    fn give_back(&self, kib: u64) {
        self.left.fetch_add(kib, Ordering::Relaxed);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share from 0 to 1 of a number of KiB"
)]
fn part(share: f64, kib: u64) -> u64 {
    (kib as f64 * share) as u64
}

impl Room {
    /// The least that a request takes, for its caller: the key, or the address where there is none.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn enter(state: &ApiState, context: &Arc<Context>) -> Result<Self, Error> {
        Self::open(state, context, Purpose::Answer)
    }

    /// The same for a body that is about to arrive: until [`arrived`](Self::arrived), a slow one loses its room where that runs out.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn for_body(state: &ApiState, context: &Arc<Context>) -> Result<Self, Error> {
        Self::open(state, context, Purpose::Body)
    }

    /// Room for an export, apart from that of requests and answers.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn for_export(state: &ApiState, context: &Arc<Context>, bytes: usize) -> Result<Self, Error> {
        let mut room = Self::open(state, context, Purpose::Export)?;
        room.fit(bytes)?;
        Ok(room)
    }

    fn open(state: &ApiState, context: &Arc<Context>, purpose: Purpose) -> Result<Self, Error> {
        let context = Arc::clone(context);
        let mut room = Self { state: state.clone(), context, purpose, kib: 0, holding: None };
        room.take(LEAST.min(room.space().limit))?;
        Ok(room)
    }

    /// The body is there.
    ///
    /// # Errors
    /// `request_timeout` where its room was lost meanwhile.
    pub(super) fn arrived(&mut self) -> Result<(), Error> {
        self.purpose = Purpose::Answer;
        let settled = self.holding.as_ref().is_none_or(|holding| self.space().settle(holding));
        if settled { Ok(()) } else { Err(Error::TooSlow) }
    }

    /// Waits until the room of an arriving body is lost.
    pub(super) async fn lost(&self) -> Error {
        match &self.holding {
            Some(holding) => holding.lost().await,
            None => pending().await,
        }
        Error::TooSlow
    }

    /// Takes more, until there is room for `bytes`.
    ///
    /// # Errors
    /// `payload_too_large` for more than one request ever gets; `overloaded`; `request_timeout` where the room of an arriving
    /// body was lost.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let kib = (bytes as u64).div_ceil(1024);
        let most = self.space().most();
        if kib > most {
            return Err(Error::TooCostly { limit: most * 1024 });
        }
        self.take(kib.saturating_sub(self.kib))
    }

    /// Takes more or gives back, until there is room for `bytes` and for little else.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn fit(&mut self, bytes: usize) -> Result<(), Error> {
        let kib = (bytes as u64).div_ceil(1024);
        // Giving back a little is not worth its price.
        if let Some(surplus) = self.kib.checked_sub(kib).filter(|surplus| *surplus > UNCOUNTED) {
            match &self.holding {
                Some(holding) => self.space().shrink(holding, surplus),
                None => self.space().give_back(surplus),
            }
            self.kib -= surplus;
        }
        self.take(kib.saturating_sub(self.kib))
    }

    fn take(&mut self, more: u64) -> Result<(), Error> {
        if more == 0 {
            return Ok(());
        }
        let space = self.space();
        let small = self.holding.is_none() && self.kib + more <= space.uncounted();
        if small && space.is_roomy() && space.take(more) {
            self.kib += more;
            return Ok(());
        }
        let counted = match &self.holding {
            Some(holding) => space.grow(holding, more).map(|()| None),
            None => {
                let payer = Payer::of(&self.context);
                space.count(payer, self.kib, more, self.purpose == Purpose::Body).map(Some)
            }
        };
        let name = space.name;
        if self.holding.is_none() && matches!(counted, Err(Refusal::Lost)) {
            // Others have it already.
            self.kib = 0;
        }
        let counted = counted.map_err(|refusal| match refusal {
            Refusal::Lost => Error::TooSlow,
            Refusal::Full => Error::Overloaded { what: name.to_owned(), retry_after: None },
            Refusal::Share => Error::Overloaded { what: format!("this caller's share of {name}"), retry_after: None },
        })?;
        self.holding = counted.or(self.holding.take());
        self.kib += more;
        Ok(())
    }

    fn space(&self) -> &Space {
        if self.purpose == Purpose::Export { &self.state.exports } else { &self.state.space }
    }

    /// A body that holds this room until its last byte is with the system, or its caller has left.
    ///
    /// # Errors
    /// `overloaded`
    pub(super) fn answer(mut self, bytes: Vec<u8>) -> Result<Body, Error> {
        self.fit(bytes.len())?;
        Ok(Body::from(Bytes::from_owner(Held { bytes, _room: self })))
    }

    /// `bytes` that hold a share of this room, like the body of [`answer`](Self::answer).
    pub(super) fn hold(self: &Arc<Self>, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: Arc::clone(self) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        match &self.holding {
            Some(holding) => self.space().leave(holding),
            None => self.space().give_back(self.kib),
        }
    }
}

/// The room goes with the bytes, not with the body: HTTP/2 takes a body out of our hands whole, long before its caller
/// takes it.
struct Held<T, R> {
    bytes: T,
    _room: R,
}

impl<T: AsRef<[u8]>, R> AsRef<[u8]> for Held<T, R> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
