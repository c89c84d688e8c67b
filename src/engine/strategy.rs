//! How a model's runs get a thread, decided from what its first runs took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operators::Unbounded;
use crate::model::Strategy;

/// A run that is shorter than this is not worth another thread, which has to be handed the run and to wake up the one that
/// waits for it; and a thread that holds requests can spare some tens of microseconds.
const SHORT: Duration = Duration::from_micros(100);

/// A run that is longer than this is never one for a thread that holds requests.
pub(super) const MAX_INLINE_TIME: Duration = Duration::from_millis(2);

/// Rows of the run that shows what sharing one saves.
pub(super) const ROWS: usize = 8;

/// Sharing runs pays when a row costs less than this part of what it costs alone.
const WORTH_SHARING: f64 = 0.9;

/// What first runs on made-up inputs took; nothing where the graph took none of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// One row.
    pub single: Option<Duration>,
    /// Eight rows in one run.
    pub eight: Option<Duration>,
    /// The size of one row's inputs in bytes.
    pub bytes: usize,
    /// The size of the largest inputs whose run was short enough for a thread that holds requests.
    pub short_bytes: usize,
}

/// How a model is run, and why.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Choice {
    /// Never `Auto`.
    pub strategy: Strategy,
    /// In words for people.
    pub reason: String,
}

/// Nobody should notice that runs wait for company.
const LONGEST_OWN_DELAY: Duration = Duration::from_millis(2);

impl Tried {
    /// The size of the largest inputs that a thread that holds requests may run. Time is linear in size where it may run any,
    /// and so twice as much as was measured is no surprise.
    pub(super) fn inline_bytes(&self) -> usize {
        self.short_bytes.max(2 * self.bytes)
    }

    /// How long a run that is not full waits for more while another one goes on, where the manifest does not say: as long as
    /// a row alone would take. Without it, a session that becomes free takes the first who comes, alone, and all others
    /// of those who were just answered wait for the next one.
    pub(super) fn delay(&self) -> Duration {
        self.single.unwrap_or_default().min(LONGEST_OWN_DELAY)
    }
}

/// Decides for a model that allows `most` rows in a run. `unbounded` looks into the graph.
///
/// # Errors
/// When the manifest wants what the graph does not allow.
pub(super) fn choose(
    wanted: Strategy,
    most: Option<usize>,
    tried: &Tried,
    unbounded: impl FnOnce() -> anyhow::Result<Option<Unbounded>>,
) -> anyhow::Result<Choice> {
    let declared = |strategy| Ok(Choice { strategy, reason: "declared".to_owned() });
    match wanted {
        Strategy::Pool => declared(Strategy::Pool),
        Strategy::Batched => {
            anyhow::ensure!(
                most.is_some(),
                "execution.strategy is \"batched\", but rows of different callers may not share a run: \
                 batching.max_batch_size says how many may"
            );
            declared(Strategy::Batched)
        }
        Strategy::Inline => {
            if let Some(unbounded) = unbounded()? {
                anyhow::bail!(
                    "execution.strategy is \"inline\", but {unbounded}, and a run without a thread of its own cannot be \
                     ended: \"auto\" and \"pool\" run it"
                );
            }
            declared(Strategy::Inline)
        }
        Strategy::Auto => automatic(most, tried, unbounded),
    }
}

fn automatic(
    most: Option<usize>,
    tried: &Tried,
    unbounded: impl FnOnce() -> anyhow::Result<Option<Unbounded>>,
) -> anyhow::Result<Choice> {
    let chosen = |strategy, reason: String| Ok(Choice { strategy, reason });
    let Some(single) = tried.single else {
        let strategy = if most.is_some() { Strategy::Batched } else { Strategy::Pool };
        return chosen(strategy, "the graph took none of the inputs that were tried".to_owned());
    };
    if single <= SHORT {
        return match unbounded()? {
            None => {
                let (most, longest) = (tried.inline_bytes(), MAX_INLINE_TIME);
                let reason =
                    format!("measured: a run takes {single:.1?}, and of up to {most} bytes {longest:?} at most");
                chosen(Strategy::Inline, reason)
            }
            Some(unbounded) => chosen(Strategy::Pool, format!("measured: a run takes {single:.1?}, but {unbounded}")),
        };
    }
    match (most, tried.eight) {
        (None, _) => chosen(Strategy::Pool, format!("measured: a run takes {single:.1?}; rows cannot share one")),
        (Some(_), None) => chosen(Strategy::Batched, format!("measured: a run takes {single:.1?}")),
        (Some(_), Some(eight)) => {
            let part = eight.as_secs_f64() / (ROWS as f64 * single.as_secs_f64());
            let reason = format!("measured: a run takes {single:.1?}, one of {ROWS} rows {eight:.1?}");
            chosen(if part < WORTH_SHARING { Strategy::Batched } else { Strategy::Pool }, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_runs_decide() {
        let tried = |single, eight| {
            let time = |micros: u64| (micros > 0).then(|| Duration::from_micros(micros));
            Tried { single: time(single), eight: time(eight), ..Tried::default() }
        };
        let growing = Some(Unbounded::operator("Range", "grows"));
        for (most, tried, unbounded, expected) in [
            (Some(8), tried(20, 60), None, Strategy::Inline),
            (None, tried(20, 0), None, Strategy::Inline),
            (None, tried(20, 0), growing, Strategy::Pool),
            (Some(8), tried(2000, 8000), None, Strategy::Batched),
            (Some(8), tried(2000, 16000), None, Strategy::Pool),
            (Some(8), tried(2000, 0), None, Strategy::Batched),
            (None, tried(2000, 0), None, Strategy::Pool),
            (Some(8), tried(0, 0), None, Strategy::Batched),
            (None, tried(0, 0), None, Strategy::Pool),
        ] {
            let choice = choose(Strategy::Auto, most, &tried, || Ok(unbounded)).unwrap();
            assert_eq!(choice.strategy, expected, "{most:?} {tried:?}: {}", choice.reason);
        }
    }

    #[test]
    fn what_a_graph_does_not_allow_is_refused() {
        let choose = |wanted, most, unbounded| choose(wanted, most, &Tried::default(), || Ok(unbounded));
        let endless = || Some(Unbounded::operator("Loop", "may never end"));
        let refused = choose(Strategy::Inline, None, endless()).unwrap_err().to_string();
        assert!(refused.contains("Loop may never end"), "{refused}");
        assert!(choose(Strategy::Inline, None, None).is_ok());
        assert!(choose(Strategy::Batched, None, None).is_err());
        assert!(choose(Strategy::Pool, None, endless()).is_ok());
    }
}
