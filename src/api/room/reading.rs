//! Room for what a body becomes: taken while it is read, from the room of its request.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use super::Room;
use crate::{
    error::{Error, MOST_VIOLATIONS},
    model::cost::{self, Budget},
};

/// How long a large body waits for room to be read: others' are read, and give theirs back, within that.
const WAIT: Duration = Duration::from_secs(1);

/// Between two looks for room.
const LOOK_AFTER: Duration = Duration::from_millis(5);

/// One document that a thread reads.
struct Reading {
    room: Room,
    /// Bytes of the body itself.
    held: usize,
    /// Bytes of both.
    bytes: usize,
    refused: Option<Error>,
}

thread_local! {
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

/// The budget of whatever document this thread reads.
struct OfThisThread;

impl Budget for OfThisThread {
    fn take(&self, bytes: usize) -> bool {
        READING.with_borrow_mut(|reading| reading.as_mut().is_none_or(|reading| reading.take(bytes)))
    }

    fn is_spent(&self) -> bool {
        READING.with_borrow(|reading| reading.as_ref().is_some_and(|reading| reading.refused.is_some()))
    }

    fn start_over(&self) {
        READING.with_borrow_mut(|reading| {
            if let Some(reading) = reading {
                reading.bytes = reading.held;
            }
        });
    }

    fn max_names(&self) -> usize {
        READING.with_borrow(|reading| {
            let inputs = reading.as_ref().map_or(usize::MAX, |reading| reading.room.state.registry.max_inputs());
            inputs.saturating_add(MOST_VIOLATIONS + 1)
        })
    }

    fn max_items(&self) -> usize {
        READING.with_borrow(|reading| {
            reading.as_ref().map_or(usize::MAX, |reading| reading.room.state.predict.max_batch_items)
        })
    }
}

impl Reading {
    fn take(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.room.grow(self.bytes) {
            Ok(()) => true,
            Err(error) => {
                self.refused = Some(error);
                false
            }
        }
    }
}

/// What is likely to become of a large body of JSON: a number for each comma.
pub(in crate::api) fn likely_bytes(json: &[u8]) -> usize {
    json.iter().filter(|byte| **byte == b',').count().saturating_mul(size_of::<f64>())
}

impl Room {
    /// Takes room at once for a large body and for what is likely to become of it, as `likely` says in bytes, and waits a
    /// moment where there is none: of several bodies that took room while they are read, none might come to its end. It
    /// waits before a blocking thread is taken to read the body: requests that hold room need those threads.
    ///
    /// # Errors
    /// Those of `likely`; `overloaded`.
    pub(in crate::api) async fn expect<B: AsRef<[u8]> + Send + 'static>(
        &mut self,
        body: B,
        likely: impl FnOnce(&B) -> Result<usize, Error> + Send + 'static,
    ) -> Result<(B, usize), Error> {
        let look = tokio::task::spawn_blocking(move || likely(&body).map(|more| (body, more)));
        let (body, more) = look.await.map_err(Error::internal)??;
        self.wait_for(body.as_ref().len(), more).await?;
        Ok((body, more))
    }

    async fn wait_for(&mut self, held: usize, more: usize) -> Result<(), Error> {
        let most = usize::try_from(self.space().most() * 1024).unwrap_or(usize::MAX);
        let bytes = held.saturating_add(more).min(most.max(held));
        let end = self.context.deadline.min(Instant::now() + WAIT);
        loop {
            match self.grow(bytes) {
                Err(Error::Overloaded { .. }) if Instant::now() < end => tokio::time::sleep(LOOK_AFTER).await,
                taken => {
                    taken?;
                    self.begin();
                    return Ok(());
                }
            }
        }
    }

    /// The body is being read: others may arrive.
    fn begin(&self) {
        if let Some(holding) = &self.holding {
            self.space().begin_reading(holding);
        }
    }

    /// Runs `read`, which makes something of a body of `held` bytes, and takes room for what it makes. The body stays
    /// until that is over, so both count.
    ///
    /// # Errors
    /// Those of `read`; `payload_too_large` for what is too large for any room, and `overloaded`.
    pub(in crate::api) fn read<T>(
        self,
        held: usize,
        read: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, Self), Error> {
        /// A panic must not keep the room.
        struct Emptied;
        impl Drop for Emptied {
            fn drop(&mut self) {
                READING.take();
            }
        }
        self.begin();
        READING.set(Some(Reading { room: self, held, bytes: held, refused: None }));
        let emptied = Emptied;
        let result = cost::within(&OfThisThread, read);
        let reading = READING.take();
        drop(emptied);
        let Some(Reading { mut room, refused, bytes, .. }) = reading else {
            return Err(Error::internal(anyhow::anyhow!("a body was read within another one")));
        };
        match refused {
            // What `read` says of it is only that it could not go on.
            Some(error) => Err(error),
            None => {
                let value = result?;
                // More was expected, perhaps.
                room.fit(bytes)?;
                Ok((value, room))
            }
        }
    }
}
