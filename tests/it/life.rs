//! Start, readiness, draining, the second signal.
