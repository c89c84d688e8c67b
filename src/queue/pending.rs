//! The questions of this API server that wait for their answers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// More wait in one process only when something is wrong.
const MOST: usize = 65_536;

/// After so many looks at which an entry was gone and no answer had come, nobody will answer it.
const MOST_MISSED: u8 = 2;

/// Where an entry lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub stream: Arc<str>,
    pub id: String,
}

/// What a question is told.
#[derive(Debug)]
pub(super) enum Told {
    /// The bytes of its answer.
    Answer(Vec<u8>),
    /// That nobody will answer it.
    Lost,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    tell: oneshot::Sender<Told>,
    since: Instant,
    place: Option<Place>,
    missed: u8,
}

impl Pending {
    /// One more question, with its number; nothing when there are too many.
    pub(super) fn begin(&self) -> Option<(u64, oneshot::Receiver<Told>)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.len() >= MOST {
            return None;
        }
        waiting.insert(number, Waiting { tell, since: Instant::now(), place: None, missed: 0 });
        Some((number, told))
    }

    /// The question was added to a stream.
    pub(super) fn placed(&self, number: u64, place: Place) {
        if let Some(waiting) = self.waiting().get_mut(&number) {
            waiting.place = Some(place);
        }
    }

    /// Answers a question; returns whether anybody waited for that.
    pub(super) fn answer(&self, number: u64, bytes: Vec<u8>) -> bool {
        let waiting = self.waiting().remove(&number);
        waiting.is_some_and(|waiting| waiting.tell.send(Told::Answer(bytes)).is_ok())
    }

    /// Nobody waits for this answer any more. Returns where the entry lies, if it was not answered.
    pub(super) fn end(&self, number: u64) -> Option<Place> {
        self.waiting().remove(&number)?.place
    }

    /// Tells all that nobody will answer them.
    pub(super) fn lose_all(&self) {
        for (_, waiting) in self.waiting().drain() {
            let _ = waiting.tell.send(Told::Lost);
        }
    }

    /// Tells all who ask of a stream that is not `read` by anybody. Returns where their entries lie.
    pub(super) fn lose_unread(&self, read: impl Fn(&str) -> bool) -> Vec<Place> {
        let mut waiting = self.waiting();
        let unread = |waiting: &Waiting| waiting.place.as_ref().is_some_and(|place| !read(&place.stream));
        let lost: Vec<u64> = waiting.iter().filter(|(_, one)| unread(one)).map(|(number, _)| *number).collect();
        let lost = lost.into_iter().filter_map(|number| waiting.remove(&number));
        lost.filter_map(|lost| {
            let _ = lost.tell.send(Told::Lost);
            lost.place
        })
        .collect()
    }

    pub(super) fn count(&self) -> usize {
        self.waiting().len()
    }

    /// Those that wait for so long, by their streams.
    pub(super) fn older_than(&self, age: Duration) -> HashMap<Arc<str>, Vec<(u64, String)>> {
        let mut old: HashMap<Arc<str>, Vec<(u64, String)>> = HashMap::new();
        for (number, waiting) in self.waiting().iter().filter(|(_, waiting)| waiting.since.elapsed() >= age) {
            if let Some(place) = &waiting.place {
                old.entry(Arc::clone(&place.stream)).or_default().push((*number, place.id.clone()));
            }
        }
        old
    }

    /// The entry of this question is gone, or not. An answer may be on its way: it was written when the entry went.
    pub(super) fn seen(&self, number: u64, there: bool) {
        let mut all = self.waiting();
        let Some(waiting) = all.get_mut(&number) else { return };
        waiting.missed = if there { 0 } else { waiting.missed + 1 };
        if waiting.missed >= MOST_MISSED
            && let Some(lost) = all.remove(&number)
        {
            let _ = lost.tell.send(Told::Lost);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
