//! The requests that are worth a second look: the slowest of each route, and the last ones that failed. What is kept has a
//! bound, and never holds an input, a prediction or a key.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{micros, record::Facts};

/// The slowest of one route that are kept.
const SLOWEST: usize = 32;

/// How long a slow request is remembered: for one to two of these.
const GENERATION: Duration = Duration::from_secs(30 * 60);

/// The last failures that are kept, of the server and of its callers each: callers who fail all the time must not push
/// out what the server did wrong.
const FAILURES: usize = 128;

/// One request as it was answered.
#[derive(Debug)]
pub struct Seen {
    /// When it was answered.
    pub time: SystemTime,
    /// Its id.
    pub request_id: Arc<str>,
    /// Its method, one that HTTP defines.
    pub method: &'static str,
    /// The template of its path.
    pub route: Arc<str>,
    /// What was answered; 499 when its caller had left.
    pub status: u16,
    /// The failure, if it was one.
    pub error_code: Option<&'static str>,
    /// Bytes of the answer's body, where they are known.
    pub response_bytes: Option<u64>,
    /// Everything else.
    pub facts: Facts,
}

impl Seen {
    /// From the request's head to its answer's.
    pub fn latency(&self) -> Duration {
        self.facts.timings.total()
    }
}

/// Keeps them.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    routes: Vec<(&'static str, Slowest)>,
    failures: Mutex<VecDeque<Arc<Seen>>>,
    refusals: Mutex<VecDeque<Arc<Seen>>>,
}

/// What is to be found.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// The error's code.
    pub code: Option<&'a str>,
    /// How long it took at least.
    pub least: Duration,
    /// The request.
    pub request_id: Option<&'a str>,
}

impl Wanted<'_> {
    fn is(&self, seen: &Seen) -> bool {
        let model = seen.facts.model.as_ref().map(|served| &*served.model);
        self.model.is_none_or(|wanted| model == Some(wanted))
            && self.code.is_none_or(|wanted| seen.error_code == Some(wanted))
            && self.request_id.is_none_or(|wanted| *seen.request_id == *wanted)
            && seen.latency() >= self.least
    }
}

impl Recorder {
    /// Keeps requests of `routes`, by the templates of their paths.
    pub fn new(routes: impl Iterator<Item = &'static str>) -> Self {
        Self {
            started: Instant::now(),
            routes: routes.map(|route| (route, Slowest::default())).collect(),
            failures: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Keeps a request, if it is one of the slowest of its route or if `failed`. It is put together only then.
    pub fn saw(&self, route: &str, latency: Duration, failed: bool, seen: impl FnOnce() -> Arc<Seen>) {
        let slowest = self.routes.iter().find(|(own, _)| *own == route).map(|(_, slowest)| slowest);
        let slowest = slowest.filter(|slowest| slowest.takes(latency, self.started));
        if slowest.is_none() && !failed {
            return;
        }
        let seen = seen();
        if let Some(slowest) = slowest {
            slowest.keep(&seen, self.started);
        }
        if failed {
            let ring = if seen.status >= 499 { &self.failures } else { &self.refusals };
            let mut ring = locked(ring);
            ring.truncate(FAILURES - 1);
            ring.push_front(seen);
        }
    }

    /// The slowest of all routes, slowest first.
    pub fn slowest(&self, wanted: &Wanted<'_>) -> Vec<Arc<Seen>> {
        let mut found: Vec<_> = self.routes.iter().flat_map(|(_, slowest)| slowest.all(self.started)).collect();
        found.retain(|seen| wanted.is(seen));
        found.sort_by_key(|seen| std::cmp::Reverse(seen.latency()));
        found
    }

    /// What failed, the last one first.
    pub fn failed(&self, wanted: &Wanted<'_>) -> Vec<Arc<Seen>> {
        let rings = [&self.failures, &self.refusals];
        let mut found: Vec<_> =
            rings.into_iter().flat_map(|ring| locked(ring).iter().cloned().collect::<Vec<_>>()).collect();
        found.retain(|seen| wanted.is(seen));
        found.sort_by_key(|seen| std::cmp::Reverse(seen.time));
        found
    }
}

/// The slowest of one route.
#[derive(Debug, Default)]
struct Slowest {
    /// What a request must take, in microseconds, to be one of them. Read by every request, so that hardly any of them
    /// takes the lock.
    floor: AtomicU64,
    kept: Mutex<Generations>,
}

/// Those of this generation and of the last one: what was slow an hour ago tells nobody anything.
#[derive(Debug, Default)]
struct Generations {
    number: u64,
    young: Vec<Arc<Seen>>,
    old: Vec<Arc<Seen>>,
}

impl Slowest {
    fn takes(&self, latency: Duration, started: Instant) -> bool {
        let floor = self.floor.load(Ordering::Relaxed);
        // The generation is in the upper bits: a new one begins with a floor of nothing.
        (floor >> FLOOR_BITS) != generation(started) || micros(latency) > floor & FLOOR
    }

    fn keep(&self, seen: &Arc<Seen>, started: Instant) {
        let mut kept = locked(&self.kept);
        kept.age(generation(started));
        let place = kept.young.partition_point(|other| other.latency() >= seen.latency());
        kept.young.insert(place, Arc::clone(seen));
        kept.young.truncate(SLOWEST);
        let floor = match kept.young.get(SLOWEST - 1) {
            Some(last) => micros(last.latency()).min(FLOOR),
            None => 0,
        };
        self.floor.store((kept.number << FLOOR_BITS) | floor, Ordering::Relaxed);
    }

    fn all(&self, started: Instant) -> Vec<Arc<Seen>> {
        let mut kept = locked(&self.kept);
        kept.age(generation(started));
        let mut all: Vec<_> = kept.young.iter().chain(&kept.old).cloned().collect();
        all.sort_by_key(|seen| std::cmp::Reverse(seen.latency()));
        all.truncate(SLOWEST);
        all
    }
}

impl Generations {
    fn age(&mut self, number: u64) {
        if number > self.number {
            let young = std::mem::take(&mut self.young);
            self.old = if number == self.number + 1 { young } else { Vec::new() };
            self.number = number;
        }
    }
}

/// 2^40 microseconds are twelve days.
const FLOOR_BITS: u32 = 40;
const FLOOR: u64 = (1 << FLOOR_BITS) - 1;

fn generation(started: Instant) -> u64 {
    started.elapsed().as_secs() / GENERATION.as_secs()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record::Record;

    fn saw(recorder: &Recorder, route: &str, millis: u64, status: u16) {
        let facts = Record::new().end_after(Duration::from_millis(millis));
        let seen = || {
            Arc::new(Seen {
                time: SystemTime::now(),
                request_id: format!("{route} {millis}").into(),
                method: "POST",
                route: route.into(),
                status,
                error_code: (status != 200).then_some("internal"),
                response_bytes: None,
                facts,
            })
        };
        recorder.saw(route, Duration::from_millis(millis), status != 200, seen);
    }

    fn latencies(seen: &[Arc<Seen>]) -> Vec<u128> {
        seen.iter().map(|seen| seen.latency().as_millis()).collect()
    }

    #[test]
    fn the_slowest_of_each_route_are_kept_and_no_more() {
        let recorder = Recorder::new(["/a", "/b"].into_iter());
        for millis in (0..1000).rev().chain(0..1000) {
            saw(&recorder, "/a", millis, 200);
        }
        saw(&recorder, "/b", 1, 200);
        saw(&recorder, "/c", 5000, 200);
        let slowest = latencies(&recorder.slowest(&Wanted::default()));
        assert_eq!(slowest.len(), SLOWEST + 1, "a route that is not known is not kept");
        assert_eq!((slowest[0], slowest[1], slowest[SLOWEST - 1], slowest[SLOWEST]), (999, 999, 984, 1));
        let least = Wanted { least: Duration::from_millis(990), ..Wanted::default() };
        assert_eq!(recorder.slowest(&least).len(), 20);
        let one = Wanted { request_id: Some("/b 1"), ..Wanted::default() };
        assert_eq!(latencies(&recorder.slowest(&one)), [1]);
        assert!(recorder.failed(&Wanted::default()).is_empty());
    }

    #[test]
    fn the_last_failures_are_kept_and_callers_do_not_push_out_the_servers() {
        let recorder = Recorder::new(["/a"].into_iter());
        saw(&recorder, "/a", 1, 500);
        for millis in 0..500 {
            saw(&recorder, "/a", millis, 422);
        }
        let failed = recorder.failed(&Wanted::default());
        assert_eq!(failed.len(), FAILURES + 1);
        assert_eq!((failed[0].latency().as_millis(), failed[FAILURES].status), (499, 500));
        assert!(recorder.failed(&Wanted { code: Some("other"), ..Wanted::default() }).is_empty());
    }

    #[test]
    fn what_was_slow_long_ago_is_forgotten() {
        let slowest = Slowest::default();
        let mut kept = locked(&slowest.kept);
        let recorder = Recorder::new(["/a"].into_iter());
        saw(&recorder, "/a", 7, 200);
        kept.young = recorder.slowest(&Wanted::default());
        kept.age(1);
        assert_eq!((kept.young.len(), kept.old.len()), (0, 1));
        kept.age(2);
        assert_eq!((kept.young.len(), kept.old.len()), (0, 0));
    }
}
