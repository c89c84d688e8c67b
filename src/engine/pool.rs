//! Inference threads: each owns one session, all of them share one bounded queue and the model's weights.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::{
    session::{Cancel, Session},
    words::RunError,
};
use crate::model::{Tensor, Value};

/// The inference threads of one model. They end when it is dropped and the queue is empty.
#[derive(Debug)]
pub struct Pool {
    queue: Sender<Job>,
    instances: usize,
}

/// Why a run gave no outputs.
#[derive(Debug)]
pub(super) enum PoolError {
    /// The queue is full.
    Full,
    /// The deadline passed while the run waited.
    Expired,
    /// The run itself failed.
    Run(RunError),
    /// The thread is gone.
    Lost,
}

struct Job {
    inputs: Vec<Tensor>,
    deadline: Instant,
    cancel: Arc<Cancel>,
    /// Closed when the caller has left.
    reply: oneshot::Sender<Result<Vec<Value>, PoolError>>,
}

impl Pool {
    /// Starts one thread per session. `name` shows in the list of threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, sessions: Vec<Session>, queue_capacity: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = bounded(queue_capacity);
        let instances = sessions.len();
        for session in sessions {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name(format!("infer-{name}"))
                .spawn(move || work(&jobs, session))
                .context("cannot start an inference thread")?;
        }
        Ok(Self { queue, instances })
    }

    /// How many runs can go on at the same time.
    pub const fn instances(&self) -> usize {
        self.instances
    }

    /// Runs the graph on the next free thread. Dropping the future frees its place: a run that waits is skipped then, and
    /// one that goes on is ended.
    pub(super) async fn run(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Value>, PoolError> {
        let (reply, answer) = oneshot::channel();
        let cancel = Arc::new(Cancel::new().map_err(PoolError::Run)?);
        let _caller = Caller(Arc::clone(&cancel));
        self.queue.try_send(Job { inputs, deadline, cancel, reply }).map_err(|error| match error {
            TrySendError::Full(_) => PoolError::Full,
            TrySendError::Disconnected(_) => PoolError::Lost,
        })?;
        answer.await.unwrap_or(Err(PoolError::Lost))
    }
}

/// Whoever waits for a run. When that ends, with an answer or without one, so does the run.
struct Caller(Arc<Cancel>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn work(jobs: &Receiver<Job>, mut session: Session) {
    while let Ok(job) = jobs.recv() {
        if job.reply.is_closed() {
            continue;
        }
        let result = if Instant::now() >= job.deadline {
            Err(PoolError::Expired)
        } else {
            // A panic in the binding must cost one request, not the thread.
            catch_unwind(AssertUnwindSafe(|| session.run(&job.inputs, &job.cancel)))
                .unwrap_or_else(|_| Err(RunError::Failed("the run panicked".to_owned())))
                .map_err(PoolError::Run)
        };
        let _ = job.reply.send(result);
    }
}
