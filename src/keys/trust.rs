//! Whether a reading of a keys file that is well formed may take the place of the one before: a file that is written in place
//! can be read half way, and half of a keys file turns callers away, or lets them do more than they may.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    KeySet,
    file::{Content, Ending},
};

/// The time for which a file without its end must rest before it counts as it is.
const REST_WITHOUT_END: Duration = Duration::from_secs(10);

/// The time for which a file must rest that has no end mark. With the looks before it, a change counts within a second.
const REST_WITHOUT_MARK: Duration = Duration::from_millis(150);

/// What becomes of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Taken,
    /// It counts when the file has stayed the same for so long.
    Doubted(Duration),
    /// It would let nobody in, and does not say that this is meant.
    LocksOut,
}

/// Judges `new` in the place of `old`, whose file ended as `before` tells.
pub(super) fn judge(old: &KeySet, before: Ending, new: &Content, now: Timestamp) -> Verdict {
    let set = &new.set;
    if set.usable(now) == 0 && !set.says_none() && old.with_revocations_of(set).usable(now) > 0 {
        return Verdict::LocksOut;
    }
    match new.ending {
        // Half of a file says nothing of what it lacks.
        _ if set.says_none() => Verdict::Taken,
        Ending::Marked => Verdict::Taken,
        Ending::Cut => Verdict::Doubted(REST_WITHOUT_END),
        Ending::Line if before != Ending::Line => Verdict::Doubted(REST_WITHOUT_END),
        Ending::Line | Ending::Passed => Verdict::Doubted(REST_WITHOUT_MARK),
    }
}
