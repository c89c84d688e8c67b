//! The thread that makes dear answers, and those answers for all who wait for them: nobody sees one that was begun before
//! the request came, and each kind is begun ten times a second at most. The threads that read bodies are not used for them, and at most one processor is.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::Error;

/// The least time between the beginnings of two answers of one kind.
const MIN_PAUSE: Duration = Duration::from_millis(100);

type Job = Box<dyn FnOnce() + Send>;

/// The thread. It is started when it is needed first, and ends with this.
#[derive(Debug)]
pub(super) struct Renderer {
    turn: Arc<Semaphore>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// The right to use it. Requests get it in the order in which they come.
pub(super) struct Turn(OwnedSemaphorePermit);

impl Renderer {
    pub(super) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), jobs: Mutex::default() }
    }

    /// Waits until nothing else is made.
    ///
    /// # Errors
    /// None: there is no end of turns.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        Arc::clone(&self.turn).acquire_owned().await.map(Turn).map_err(Error::internal)
    }

    /// Does `work`, and goes on with it when its caller has left: the turn ends with the work.
    ///
    /// # Errors
    /// `internal` for work that panics, and where the system gives no thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        let job = move || {
            let Turn(_permit) = turn;
            // Nobody waits for it where its caller has left.
            let _ = done.send(work());
        };
        self.send(Box::new(job)).map_err(Error::internal)?;
        result.await.map_err(Error::internal)
    }

    fn send(&self, job: Job) -> anyhow::Result<()> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = match &*jobs {
            Some(jobs) => jobs,
            None => jobs.insert(start()?),
        };
        jobs.send(job).map_err(|_| anyhow::anyhow!("the thread for renderings has ended"))
    }
}

fn start() -> std::io::Result<mpsc::Sender<Job>> {
    // There is one turn, and so one job at most.
    let (jobs, coming) = mpsc::channel::<Job>();
    let work = move || coming.into_iter().for_each(|job| drop(catch_unwind(AssertUnwindSafe(job))));
    thread::Builder::new().name("glassbox-render".to_owned()).spawn(work)?;
    Ok(jobs)
}

/// The answer that was made last, to the question that was asked last.
#[derive(Debug)]
pub(super) struct Moment<Q, A>(Mutex<Option<Made<Q, A>>>);

#[derive(Debug)]
struct Made<Q, A> {
    question: Q,
    /// When it was begun: it says nothing of what happened later.
    began: Instant,
    answer: A,
}

impl<Q: PartialEq + Send + 'static, A: Clone + Send + 'static> Moment<Q, A> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    /// What `make` returns on the thread of `renderer`, begun by this request or by another that came no earlier.
    ///
    /// # Errors
    /// Those of `make`; `internal` where it panics.
    pub(super) async fn get(
        self: &Arc<Self>,
        renderer: &Renderer,
        question: Q,
        make: impl FnOnce(&Q) -> Result<A, Error> + Send + 'static,
    ) -> Result<A, Error> {
        let asked = Instant::now();
        let turn = loop {
            let turn = renderer.turn().await?;
            // Another request has made it meanwhile.
            if let Some(answer) = self.begun_since(asked, &question) {
                return Ok(answer);
            }
            let Some(pause) = self.pause() else { break turn };
            // Answers of other kinds are made meanwhile.
            drop(turn);
            tokio::time::sleep(pause).await;
        };
        let this = Arc::clone(self);
        let work = move || {
            let began = Instant::now();
            let answer = make(&question)?;
            let made = Made { question, began, answer: answer.clone() };
            let before = this.0.lock().unwrap_or_else(PoisonError::into_inner).replace(made);
            drop(before);
            Ok(answer)
        };
        renderer.run(turn, work).await.flatten()
    }

    /// The answer to this question, if it was begun after the question came.
    fn begun_since(&self, asked: Instant, question: &Q) -> Option<A> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.as_ref().filter(|made| made.question == *question && made.began >= asked)?;
        Some(made.answer.clone())
    }

    /// How long until another one may be begun.
    fn pause(&self) -> Option<Duration> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref().and_then(|made| MIN_PAUSE.checked_sub(made.began.elapsed())).filter(|pause| !pause.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_at_once_share_an_answer_and_the_next_one_is_new() {
        let (renderer, moment, made) = (Renderer::new(), Moment::new(), Arc::new(AtomicU32::new(0)));
        let ask = |question: u32| {
            let made = Arc::clone(&made);
            moment.get(&renderer, question, move |_| {
                thread::sleep(2 * MIN_PAUSE);
                Ok(made.fetch_add(1, Ordering::Relaxed))
            })
        };
        let answers = join_all((0..50).map(|_| ask(1))).await;
        // The first one begins at once, before the last one has come.
        assert!(answers.into_iter().all(|answer| answer.unwrap() <= 1));
        let before = made.load(Ordering::Relaxed);
        assert_eq!(ask(1).await.unwrap(), before, "a later caller sees nothing that was begun before");
        assert_eq!(ask(2).await.unwrap(), before + 1);
    }

    #[tokio::test]
    async fn work_that_panics_costs_itself_only() {
        let renderer = Renderer::new();
        let turn = renderer.turn().await.unwrap();
        assert!(renderer.run(turn, || panic!("on purpose")).await.is_err());
        let turn = renderer.turn().await.unwrap();
        assert_eq!(renderer.run(turn, || 7).await.unwrap(), 7);
    }
}
