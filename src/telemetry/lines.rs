//! Lines of the log on their way out: gathered for a moment, and written many at a time by a thread of their own.
//!
//! A system call and a wake-up per line would cost a busy server more than all that a line is made of.

use std::{
    io::Write,
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What may wait for a reader who is slow, the lines that are being written included. Further ones are dropped and
/// counted: a log that nobody reads must not hold up a request.
const MOST_LINES: usize = 16 * 1024;
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// How long the first of several lines waits for the others, and how many bytes end the waiting.
const GATHERING: Duration = Duration::from_millis(5);
const ENOUGH_BYTES: usize = 64 * 1024;

/// Memory that is kept for the next lines.
const KEPT_BYTES: usize = 4 * ENOUGH_BYTES;

/// How long the last lines may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes lines from everywhere, and never waits for their reader.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

/// How many lines had to be dropped.
#[derive(Debug, Clone)]
pub struct Dropped(Lines);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// For the writer.
    changed: Condvar,
    /// For who waits until all is written.
    ended: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    text: Vec<u8>,
    /// With those that are being written.
    lines: usize,
    bytes: usize,
    urgent: bool,
    writer: Writer,
    ending: bool,
}

/// What the writer is at, so that it is woken only when it sleeps and there is a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// It waits for a line.
    Idle,
    /// It waits for more lines.
    Gathering,
    /// It looks again before it waits.
    Awake,
    /// There is none any more.
    Gone,
}

impl Lines {
    /// Lines that are written to `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn to(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let writer = Writer::Awake;
        let waiting = Waiting { text: Vec::new(), lines: 0, bytes: 0, urgent: false, writer, ending: false };
        let lines = Self(Arc::new(Shared {
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
            ended: Condvar::new(),
            dropped: AtomicU64::new(0),
        }));
        let writes = lines.clone();
        thread::Builder::new().name("glassbox-log".to_owned()).spawn(move || writes.write(out))?;
        Ok(lines)
    }

    /// Takes one line, its end included. An urgent one is not kept back for others.
    pub(super) fn put(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.waiting();
        if waiting.lines >= MOST_LINES || waiting.bytes + line.len() > MOST_BYTES || waiting.writer == Writer::Gone {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.text.extend_from_slice(line);
        waiting.lines += 1;
        waiting.bytes += line.len();
        waiting.urgent |= urgent;
        if waiting.writer == Writer::Idle || (waiting.writer == Writer::Gathering && waiting.is_enough()) {
            waiting.writer = Writer::Awake;
            drop(waiting);
            self.0.changed.notify_one();
        }
    }

    /// How many lines had to be dropped.
    pub(super) fn dropped(&self) -> Dropped {
        Dropped(self.clone())
    }

    /// Writes what waits, and nothing after that. Takes a second at most.
    pub(super) fn end(&self) {
        let mut waiting = self.waiting();
        waiting.ending = true;
        self.0.changed.notify_one();
        let written = self.0.ended.wait_timeout_while(waiting, LAST_WORDS, |waiting| waiting.writer != Writer::Gone);
        drop(written);
    }

    fn write(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        while let Some(lines) = self.gather(&mut batch) {
            // Who does not take the log has no other place where he would want to be told.
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            let mut waiting = self.waiting();
            waiting.lines -= lines;
            waiting.bytes -= batch.len();
            drop(waiting);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
        self.waiting().writer = Writer::Gone;
        self.0.ended.notify_all();
    }

    /// Waits for lines and takes them. Tells how many they are; nothing at the end.
    fn gather(&self, batch: &mut Vec<u8>) -> Option<usize> {
        let mut waiting = self.waiting();
        while waiting.text.is_empty() {
            if waiting.ending {
                return None;
            }
            waiting.writer = Writer::Idle;
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + GATHERING;
        while !waiting.is_enough() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting.writer = Writer::Gathering;
            (waiting, _) = self.0.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.writer = Writer::Awake;
        waiting.urgent = false;
        mem::swap(&mut waiting.text, batch);
        // None of them is being written now.
        Some(waiting.lines)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    const fn is_enough(&self) -> bool {
        self.urgent || self.ending || self.text.len() >= ENOUGH_BYTES
    }
}

impl Dropped {
    /// So many.
    pub fn lines(&self) -> u64 {
        self.0.0.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    /// Takes a text whenever it is let.
    struct Reader {
        texts: Sender<Vec<u8>>,
        lets: Receiver<()>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.texts.send(bytes.to_vec());
            let _ = self.lets.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_come_while_others_are_written_are_written_at_once() {
        let ((texts, taken), (go_on, lets)) = (channel(), channel());
        let lines = Lines::to(Reader { texts, lets }).unwrap();
        lines.put(b"0\n", true);
        assert_eq!(taken.recv().unwrap(), b"0\n");
        (1..=9).for_each(|n| lines.put(format!("{n}\n").as_bytes(), false));
        go_on.send(()).unwrap();
        assert_eq!(taken.recv().unwrap(), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        drop(go_on);
        lines.put(b"last\n", false);
        lines.end();
        assert_eq!(taken.recv().unwrap(), b"last\n");
        assert_eq!(lines.dropped().lines(), 0);
        lines.put(b"too late\n", true);
        assert_eq!(lines.dropped().lines(), 1);
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let ((texts, taken), (go_on, lets)) = (channel(), channel());
        let lines = Lines::to(Reader { texts, lets }).unwrap();
        lines.put(b"\n", true);
        taken.recv().unwrap();
        for _ in 0..MOST_LINES + 4 {
            lines.put(b"\n", false);
        }
        assert_eq!(lines.dropped().lines(), 5);
        drop(go_on);
        lines.end();
        assert_eq!(taken.iter().map(|text| text.len()).sum::<usize>(), MOST_LINES - 1);
        let large = vec![b'x'; MOST_BYTES + 1];
        lines.put(&large, true);
        assert_eq!(lines.dropped().lines(), 6);
    }
}
