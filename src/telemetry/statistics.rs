//! What the requests of one version came to, as the statistics of the Open Inference Protocol count it: requests and
//! nanoseconds since the version was loaded. In parts, one for each thread that holds connections, like the metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{labels::Stage, record::Timings, threads};

/// Further threads share parts.
const MOST_PARTS: usize = 16;

/// Batch sizes that are told apart; runs of further ones are counted in the total alone.
const MOST_SIZES: usize = 256;

/// How often, and how long altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// How long altogether, in nanoseconds.
    pub ns: u64,
}

/// What is told of a version.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// When the last request ended, in milliseconds since 1970; 0 before the first.
    pub last_inference_ms: u64,
    /// Rows that were computed for requests that were answered: without those that were known.
    pub inferences: u64,
    /// Runs of the model.
    pub executions: u64,
    /// Requests that were answered.
    pub success: Tally,
    /// Requests that were not.
    pub fail: Tally,
    /// Waiting for a session; of all requests that were answered.
    pub queue: Tally,
    /// Making inputs, running the model, making answers; of those that the cache did not answer.
    pub compute: [Tally; 3],
    /// Requests all of whose answers were known, and the time of looking.
    pub cache_hit: Tally,
    /// Requests of which something was not known, and the time of looking and keeping.
    pub cache_miss: Tally,
    /// Runs by their rows.
    pub batches: BTreeMap<usize, Tally>,
}

/// How one request was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Rows that were computed for it.
    pub computed_rows: usize,
    /// Whether all of its answers were known; `None` where nobody looked.
    pub known: Option<bool>,
}

/// Counts for one version.
#[derive(Debug)]
pub struct Statistics(Box<[Part]>);

/// Alone on its cache line, and on the one that is fetched with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
    last_ms: AtomicU64,
    inferences: AtomicU64,
    executions: AtomicU64,
    tallies: [Cell; 8],
    /// Runs of one row, which most are.
    single: Cell,
    batches: Mutex<BTreeMap<usize, Tally>>,
}

#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    ns: AtomicU64,
}

/// Places among the tallies of a part.
const SUCCESS: usize = 0;
const FAIL: usize = 1;
const QUEUE: usize = 2;
const COMPUTE: [(usize, Stage); 3] = [(3, Stage::Preprocess), (4, Stage::Inference), (5, Stage::Postprocess)];
const HIT: usize = 6;
const MISS: usize = 7;

impl Default for Statistics {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_PARTS);
        Self((0..=threads).map(|_| Part::default()).collect())
    }
}

impl Statistics {
    /// A request was answered after `latency`; `timings` are those of its stages.
    pub fn answered(&self, latency: Duration, timings: &Timings, Answered { computed_rows, known }: Answered) {
        let part = self.here();
        part.ended();
        let stage = |stage| timings.stage(stage).unwrap_or_default();
        part.tallies[SUCCESS].add(latency);
        part.tallies[QUEUE].add(stage(Stage::Queue));
        part.inferences.fetch_add(computed_rows as u64, Ordering::Relaxed);
        if let Some(known) = known {
            part.tallies[if known { HIT } else { MISS }].add(stage(Stage::Cache));
        }
        if known != Some(true) {
            COMPUTE.iter().for_each(|(place, of)| part.tallies[*place].add(stage(*of)));
        }
    }

    /// A request was not answered.
    pub fn failed(&self, latency: Duration) {
        let part = self.here();
        part.ended();
        part.tallies[FAIL].add(latency);
    }

    /// A run of so many rows took `time`.
    pub fn ran(&self, time: Duration, rows: usize) {
        let part = self.here();
        part.executions.fetch_add(1, Ordering::Relaxed);
        if rows == 1 {
            return part.single.add(time);
        }
        let mut batches = part.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if batches.len() < MOST_SIZES || batches.contains_key(&rows) {
            let tally = batches.entry(rows).or_default();
            tally.count += 1;
            tally.ns += nanoseconds(time);
        }
    }

    /// The sum of all parts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for part in &self.0 {
            totals.last_inference_ms = totals.last_inference_ms.max(part.last_ms.load(Ordering::Relaxed));
            totals.inferences += part.inferences.load(Ordering::Relaxed);
            totals.executions += part.executions.load(Ordering::Relaxed);
            let [success, fail, queue, input, infer, output, hit, miss] = &part.tallies;
            let of = &mut totals.compute;
            let [to_input, to_infer, to_output] = of;
            for (sum, cell) in [
                (&mut totals.success, success),
                (&mut totals.fail, fail),
                (&mut totals.queue, queue),
                (to_input, input),
                (to_infer, infer),
                (to_output, output),
                (&mut totals.cache_hit, hit),
                (&mut totals.cache_miss, miss),
            ] {
                sum.add(cell.read());
            }
            let single = part.single.read();
            if single.count > 0 {
                totals.batches.entry(1).or_default().add(single);
            }
            for (rows, tally) in &*part.batches.lock().unwrap_or_else(PoisonError::into_inner) {
                totals.batches.entry(*rows).or_default().add(*tally);
            }
        }
        totals
    }

    fn here(&self) -> &Part {
        &self.0[threads::number().map_or(0, |number| number + 1) % self.0.len()]
    }
}

impl Part {
    fn ended(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Cell {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    fn read(&self) -> Tally {
        Tally { count: self.count.load(Ordering::Relaxed), ns: self.ns.load(Ordering::Relaxed) }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.ns += other.ns;
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{labels::Label, record::Record};

    #[test]
    fn what_threads_count_apart_is_told_as_one() {
        let (statistics, ms) = (Statistics::default(), Duration::from_millis);
        let record = Record::new();
        let since = std::time::Instant::now();
        for (stage, time) in Stage::ALL.iter().zip([9, 9, 9, 4, 2, 1, 3, 5, 9]) {
            record.add_since(*stage, since, ms(time));
        }
        let timings = record.end().timings;
        std::thread::scope(|scope| {
            for number in 0..40 {
                let (statistics, timings) = (&statistics, &timings);
                scope.spawn(move || {
                    threads::number_this(number);
                    let known = [Some(true), Some(false), None][number % 3];
                    statistics.answered(ms(10), timings, Answered { computed_rows: number % 3, known });
                    statistics.failed(ms(1));
                    statistics.ran(ms(3), 1 + number % 2);
                });
            }
        });
        let totals = statistics.totals();
        let tally = |count, millis: u64| Tally { count, ns: count * millis * 1_000_000 };
        assert_eq!((totals.inferences, totals.executions), (39, 40));
        assert_eq!((totals.success, totals.fail, totals.queue), (tally(40, 10), tally(40, 1), tally(40, 2)));
        assert_eq!(totals.compute, [tally(26, 1), tally(26, 3), tally(26, 5)]);
        assert_eq!((totals.cache_hit, totals.cache_miss), (tally(14, 4), tally(13, 4)));
        assert_eq!(totals.batches.into_iter().collect::<Vec<_>>(), [(1, tally(20, 3)), (2, tally(20, 3))]);
        assert!(totals.last_inference_ms > 1_700_000_000_000);
    }

    #[test]
    fn no_more_batch_sizes_are_told_apart_than_have_room() {
        let statistics = Statistics::default();
        (0..10_000).for_each(|rows| statistics.ran(Duration::from_millis(1), rows));
        let totals = statistics.totals();
        assert_eq!((totals.executions, totals.batches.len()), (10_000, MOST_SIZES + 1));
    }
}
