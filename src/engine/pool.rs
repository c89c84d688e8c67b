//! Inference threads: each owns one session, all of them share the lines of waiting runs and the model's weights.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::oneshot;

use super::{
    clock::Clock,
    queue::{Full, Limits, Queue, Ticket},
    session::{Cancel, Session},
    words::RunError,
};
use crate::{
    model::{Tensor, Value},
    telemetry::metrics::{ModelMetrics, WaitingRun},
};

/// The inference threads of one model. They end when it is dropped and nobody waits.
#[derive(Debug)]
pub struct Pool {
    queue: Arc<Queue<Job>>,
    instances: usize,
    metrics: Arc<OnceLock<ModelMetrics>>,
}

/// Why a run gave no outputs.
#[derive(Debug)]
pub(super) enum PoolError {
    /// The deadline passed while the run waited.
    Expired,
    /// The run itself failed.
    Run(RunError),
    /// The thread is gone.
    Lost,
}

/// A request that was let in, and what its runs have in common.
#[derive(Debug)]
pub(super) struct Admitted {
    ticket: Ticket<Job>,
    deadline: Instant,
    clock: Arc<Clock>,
}

struct Job {
    inputs: Vec<Tensor>,
    rows: usize,
    deadline: Instant,
    waits_since: Instant,
    /// Counts this run among the waiting ones.
    waits: Option<WaitingRun>,
    clock: Arc<Clock>,
    cancel: Arc<Cancel>,
    /// Closed when the caller has left.
    reply: oneshot::Sender<Result<Vec<Value>, PoolError>>,
}

impl fmt::Debug for Job {
    /// Without the inputs: they are the caller's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts one thread per session. `name` shows in the list of threads. `run_time` is what a run took so far, if any
    /// was tried: the first callers have to be told something.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &str,
        sessions: Vec<Session>,
        limits: Limits,
        run_time: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let instances = sessions.len();
        // Made first: the threads that were started end with it should a later one fail to.
        let pool = Self { queue: Queue::new(instances, limits), instances, metrics: Arc::default() };
        if let Some(run_time) = run_time {
            pool.queue.learn(run_time);
        }
        for (number, session) in sessions.into_iter().enumerate() {
            let (queue, metrics) = (Arc::clone(&pool.queue), Arc::clone(&pool.metrics));
            std::thread::Builder::new()
                .name(format!("infer-{name}"))
                .spawn(move || work(&queue, number, session, &metrics))
                .context("cannot start an inference thread")?;
        }
        Ok(pool)
    }

    /// How many runs can go on at the same time.
    pub const fn instances(&self) -> usize {
        self.instances
    }

    /// Measures all runs from here on.
    pub(super) fn measure(&self, metrics: ModelMetrics) {
        let _ = self.metrics.set(metrics);
    }

    /// Lets a request of so many `runs` in, or refuses it at once. `clock` learns how long they wait and run.
    pub(super) fn admit(&self, runs: usize, deadline: Instant, clock: &Arc<Clock>) -> Result<Admitted, Full> {
        let ticket = self.queue.admit(runs, deadline)?;
        Ok(Admitted { ticket, deadline, clock: Arc::clone(clock) })
    }

    /// Runs the graph on the next free thread. Dropping the future frees its place: a run that waits is taken out of the
    /// line then, and one that goes on is ended.
    pub(super) async fn run(
        &self,
        admitted: &Admitted,
        inputs: Vec<Tensor>,
        rows: usize,
    ) -> Result<Vec<Value>, PoolError> {
        let (reply, answer) = oneshot::channel();
        let cancel = Arc::new(Cancel::new().map_err(PoolError::Run)?);
        let _caller = Caller(Arc::clone(&cancel));
        let waits = self.metrics.get().map(ModelMetrics::waits);
        let Admitted { ticket, deadline, clock } = admitted;
        let (deadline, clock) = (*deadline, Arc::clone(clock));
        let job = Job { inputs, rows, deadline, waits_since: Instant::now(), waits, clock, cancel, reply };
        let place = ticket.push(job);
        let outputs = answer.await.unwrap_or(Err(PoolError::Lost));
        place.served();
        outputs
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Whoever waits for a run. When that ends, with an answer or without one, so does the run.
struct Caller(Arc<Cancel>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn work(queue: &Queue<Job>, number: usize, mut session: Session, metrics: &OnceLock<ModelMetrics>) {
    while let Some(mut job) = queue.pop(number) {
        drop(job.waits.take());
        let started = Instant::now();
        let queued = started - job.waits_since;
        let mut run_time = None;
        let result = if job.reply.is_closed() {
            Err(PoolError::Lost)
        } else if started >= job.deadline {
            Err(PoolError::Expired)
        } else {
            job.clock.started(queued);
            // A panic in the binding must cost one request, not the thread.
            let outputs = catch_unwind(AssertUnwindSafe(|| session.run(&job.inputs, &job.cancel)))
                .unwrap_or_else(|_| Err(RunError::Failed("the run panicked".to_owned())));
            let ran = started.elapsed();
            job.clock.ran(ran);
            run_time = Some(ran);
            if let Some(metrics) = metrics.get() {
                metrics.ran(queued, ran, job.rows);
            }
            outputs.map_err(PoolError::Run)
        };
        queue.finished(number, run_time);
        let _ = job.reply.send(result);
    }
}
