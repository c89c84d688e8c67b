//! What runs take, and up to which size of their inputs they are short.

use std::time::{Duration, Instant};

use super::{LENGTHS, ROWS, Warm, inputs};
use crate::{
    engine::{
        session::{Cancel, Session},
        strategy::{self, Tried},
    },
    model::Tensor,
};

/// The time for finding out what runs take. A model that is slower than this is measured by a single run.
const MEASURING: Duration = Duration::from_millis(100);

/// Runs that are enough to tell.
const MAX_RUNS: usize = 20;

/// What runs of one row and of several take on inputs like those of `warm`: the shortest, as anything else on the machine
/// makes them longer only.
pub fn measure(session: &mut Session, cancel: &Cancel, warm: &Warm) -> Tried {
    let length = LENGTHS.into_iter().find(|(length, _)| *length == warm.length).unwrap_or(LENGTHS[0]);
    let signature = session.signature().clone();
    let row = inputs(&signature, warm.values, &[0], length);
    let bytes = row.iter().flatten().map(Tensor::bytes).sum();
    let rows: Vec<usize> = (0..strategy::ROWS).map(|row| row % ROWS.len()).collect();
    let several = signature.could_batch().then(|| inputs(&signature, warm.values, &rows, length)).flatten();
    let single = shortest(session, cancel, row);
    let slow = single.is_none_or(|time| time * 2 > MEASURING);
    let eight = several.filter(|_| !slow).and_then(|inputs| shortest(session, cancel, Some(inputs)));
    let short = single.is_some_and(|time| time <= strategy::MAX_INLINE_TIME);
    let short_bytes = if short { grown(session, cancel, warm, length) } else { 0 };
    Tried { single, eight, bytes, short_bytes }
}

/// Inputs of more bytes than this are not for a thread that holds requests, however short their runs are.
const MAX_SHORT_BYTES: usize = 4096;

/// Runs that are enough to tell that a run can be short.
const GROWING_RUNS: usize = 3;

/// The bytes of the largest inputs whose runs are short: twice as many rows each time, or twice the length where the first
/// dimension is no batch. What a row costs is a constant of the graph, and can be large.
fn grown(session: &mut Session, cancel: &Cancel, warm: &Warm, (length, most): (usize, usize)) -> usize {
    let signature = session.signature().clone();
    let mut short = 0;
    for factor in (0..usize::BITS).map(|doublings| 1_usize << doublings) {
        let (rows, length) =
            if signature.could_batch() { (factor, length) } else { (1, length.saturating_mul(factor)) };
        let rows: Vec<usize> = (0..rows).map(|row| row % ROWS.len()).collect();
        let Some(inputs) = inputs(&signature, warm.values, &rows, (length, most)) else { break };
        let bytes: usize = inputs.iter().map(Tensor::bytes).sum();
        // No dimension that could grow, or enough.
        if bytes <= short || bytes > 2 * MAX_SHORT_BYTES {
            break;
        }
        let mut times = (0..GROWING_RUNS).map(|_| {
            let started = Instant::now();
            session.run(&inputs, cancel).ok().map(|_| started.elapsed())
        });
        if !times.any(|time| time.is_some_and(|time| time <= strategy::MAX_INLINE_TIME)) {
            break;
        }
        short = bytes;
    }
    short.min(MAX_SHORT_BYTES)
}

fn shortest(session: &mut Session, cancel: &Cancel, inputs: Option<Vec<Tensor>>) -> Option<Duration> {
    let (inputs, started) = (inputs?, Instant::now());
    let mut shortest = None;
    for _ in 0..MAX_RUNS {
        let run = Instant::now();
        session.run(&inputs, cancel).ok()?;
        let time = run.elapsed();
        shortest = Some(shortest.map_or(time, |shortest: Duration| shortest.min(time)));
        if started.elapsed() > MEASURING {
            break;
        }
    }
    shortest
}
