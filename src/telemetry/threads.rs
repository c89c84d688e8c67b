//! Which of the threads that hold connections this one is. Who goes by it keeps what a thread touches at every request
//! with that thread: a cache line that two cores write costs each of them more than all the counting.

use std::cell::Cell;

thread_local! {
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Gives this thread its number, from 0 on.
pub fn number_this(number: usize) {
    NUMBER.set(Some(number));
}

/// This thread's number; none when it holds no connections.
pub fn number() -> Option<usize> {
    NUMBER.get()
}
