//! What goes on on one connection, and whether it may go on.
//!
//! A caller holds nothing for ever: not the connection without a request, not a request without its head, not an answer
//! that it does not take. hyper bounds the first two for HTTP/1 only, and the last one for no protocol.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::config::ServerConfig;

/// What a caller of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who takes less of an answer than this within the limit takes it too slowly.
const LEAST_TAKEN: usize = 64 * 1024;

/// What an answer may take beyond the limit of its request, so that the server's own failure arrives first.
const GRACE: Duration = Duration::from_secs(1);

/// How long callers have to say goodbye once they were asked to.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// How long a caller may do nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For the first request's head, and for every other from its first byte on.
    pub head: Duration,
    /// Without a request.
    idle: Duration,
    /// For a request, and then for each [`LEAST_TAKEN`] bytes of its answer.
    progress: Duration,
}

impl Limits {
    pub(super) fn new(config: &ServerConfig) -> Self {
        let (head, idle) = (config.header_timeout, config.idle_timeout);
        Self { head, idle, progress: config.request_timeout.saturating_add(GRACE) }
    }

    /// How often to look.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.progress);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_millis(500))
    }
}

/// A request whose head takes longer counts as silence, where others wait for its place.
const SLOW_HEAD: Duration = Duration::from_secs(1);

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well.
    GoOn,
    /// No further request; those that are there may end.
    SayGoodbye,
    /// Nothing that is there is worth waiting for.
    Cut,
}

/// What goes on on one connection. Shared by the connection, its stream and its answers.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// In the order in which they came, and so of their numbers.
    requests: Vec<Progress>,
    next: u64,
    without: Without,
    goodbye: Option<Instant>,
}

#[derive(Debug)]
struct Progress {
    number: u64,
    since: Instant,
    taken: usize,
}

impl Progress {
    fn begin_anew(&mut self) {
        (self.since, self.taken) = (Instant::now(), 0);
    }
}

/// What a connection without a request waits for.
#[derive(Debug, Clone, Copy)]
enum Without {
    /// The first request: so many bytes have come, and they are those of HTTP/2's preface.
    First { since: Instant, preface: usize },
    /// HTTP/1: a head, of which something is there.
    Head { since: Instant },
    /// The next request.
    Idle { since: Instant, http2: bool },
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let without = Without::First { since: Instant::now(), preface: 0 };
        Arc::new(Self(Mutex::new(State { requests: Vec::new(), next: 0, without, goodbye: None })))
    }

    /// The caller has sent `bytes`.
    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        if !state.requests.is_empty() || bytes.is_empty() {
            return;
        }
        state.without = match state.without {
            Without::First { since, preface } => match &PREFACE[preface..] {
                rest if bytes.iter().zip(rest).any(|(came, expected)| came != expected) => Without::Head { since },
                rest => Without::First { since, preface: preface + bytes.len().min(rest.len()) },
            },
            // In HTTP/2, what is no request is no reason to stay.
            Without::Idle { http2: false, .. } => Without::Head { since: Instant::now() },
            waiting => waiting,
        };
    }

    /// A request has come; it lasts until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Flight {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.requests.push(Progress { number, since: Instant::now(), taken: 0 });
        Flight { activity: Arc::clone(self), number }
    }

    /// Since when there is no request; nothing while there is one, or the head of one on its way.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        match state.without {
            _ if !state.requests.is_empty() => None,
            Without::First { since, .. } | Without::Idle { since, .. } => Some(since),
            Without::Head { since } => (since.elapsed() > SLOW_HEAD).then_some(since),
        }
    }

    /// Whether there is no request.
    pub(super) fn is_silent(&self) -> bool {
        self.state().requests.is_empty()
    }

    /// The caller was asked to leave.
    pub(super) fn said_goodbye(&self) {
        self.state().goodbye.get_or_insert_with(Instant::now);
    }

    /// What is to be done now.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let state = self.state();
        if state.requests.is_empty() {
            return state.without_request(limits);
        }
        let stuck = state.requests.iter().filter(|request| request.since.elapsed() > limits.progress).count();
        match stuck {
            0 => Verdict::GoOn,
            // Others of this connection still get their answers.
            some if some < state.requests.len() => Verdict::SayGoodbye,
            _all => Verdict::Cut,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&self, number: u64) -> Option<usize> {
        self.requests.binary_search_by_key(&number, |request| request.number).ok()
    }

    fn without_request(&self, limits: &Limits) -> Verdict {
        let (since, limit, verdict) = match self.without {
            Without::First { since, .. } if self.without.is_http2() => (since, limits.head, Verdict::SayGoodbye),
            Without::First { since, .. } | Without::Head { since } => (since, limits.head, Verdict::Cut),
            Without::Idle { since, .. } => (since, limits.idle, Verdict::SayGoodbye),
        };
        if self.goodbye.is_some_and(|goodbye| goodbye.max(since).elapsed() > FAREWELL) {
            return Verdict::Cut;
        }
        if since.elapsed() > limit { verdict } else { Verdict::GoOn }
    }
}

impl Without {
    const fn is_http2(self) -> bool {
        match self {
            Self::First { preface, .. } => preface == PREFACE.len(),
            Self::Head { .. } => false,
            Self::Idle { http2, .. } => http2,
        }
    }
}

/// One request and its answer, until the system has all of it.
#[derive(Debug)]
pub(super) struct Flight {
    activity: Arc<Activity>,
    number: u64,
}

impl Flight {
    /// The answer is there.
    pub(super) fn answered(&self) {
        self.note(Progress::begin_anew);
    }

    /// The caller took so many bytes of the answer.
    pub(super) fn taken(&self, bytes: usize) {
        self.note(|progress| {
            progress.taken += bytes;
            if progress.taken >= LEAST_TAKEN {
                progress.begin_anew();
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        let mut state = self.activity.state();
        if let Some(place) = state.place(self.number) {
            change(&mut state.requests[place]);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        if let Some(place) = state.place(self.number) {
            state.requests.remove(place);
        }
        if state.requests.is_empty() {
            state.without = Without::Idle { since: Instant::now(), http2: state.without.is_http2() };
        }
    }
}
