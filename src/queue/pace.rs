//! How fast the fleet works off a version's entries, learnt from its answers: who would wait too long is told at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The weight of the last answer.
const LAST: f64 = 0.1;

/// An entry that was taken over from a dead worker waited for other reasons: no answer moves the pace by more than this.
const MOST_AT_ONCE: f64 = 2.0;

/// Versions come and go. More than these are not served at a time.
const MOST: usize = 4096;

/// Seconds for each entry that was there before, by version.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<Arc<str>, f64>>);

impl Paces {
    /// An entry that had `before` in front of it waited so long until its run began, and then ran.
    pub(super) fn learn(&self, version: &Arc<str>, before: u64, waited: Duration, ran: Duration) {
        let seconds = waited.as_secs_f64() / (before + 1) as f64;
        let mut paces = self.paces();
        match paces.get_mut(version) {
            Some(pace) => *pace += LAST * (seconds.min(*pace * MOST_AT_ONCE) - *pace),
            None => {
                if paces.len() >= MOST {
                    paces.clear();
                }
                paces.insert(Arc::clone(version), seconds.min(ran.as_secs_f64()).max(1e-6));
            }
        }
    }

    /// How long somebody waits who has `before` in front of him; nothing where that is not known.
    pub(super) fn foresee(&self, version: &str, before: u64) -> Option<Duration> {
        let seconds = self.paces().get(version)? * before as f64;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// How many may be in front of somebody who can wait so long: one at least, so that the pace is learnt anew.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of entries")]
    pub(super) fn within(&self, version: &str, wait: Duration, most: usize) -> usize {
        match self.paces().get(version) {
            Some(pace) => ((wait.as_secs_f64() / pace) as usize).clamp(1, most),
            None => most,
        }
    }

    fn paces(&self) -> MutexGuard<'_, HashMap<Arc<str>, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_answers_and_one_late_answer_does_not_shut_the_door() {
        let (paces, version): (_, Arc<str>) = (Paces::default(), "a".into());
        let ms = Duration::from_millis;
        assert_eq!((paces.foresee("a", 9), paces.within("a", ms(1), 5)), (None, 5));
        for _ in 0..100 {
            paces.learn(&version, 9, ms(100), ms(10));
        }
        assert_eq!(paces.foresee("a", 10).map(|wait| wait.as_millis()), Some(100));
        assert!((9..=10).contains(&paces.within("a", ms(100), 1000)));
        paces.learn(&version, 0, Duration::from_secs(30), ms(10));
        assert!(paces.within("a", ms(100), 1000) >= 9);
        assert_eq!(paces.within("a", Duration::ZERO, 1000), 1);
    }
}
