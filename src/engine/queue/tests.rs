//! The lines, without sessions.

use super::*;

const LIMITS: Limits = Limits { capacity: 2, max_wait: Duration::from_secs(1), max_delay: Duration::ZERO };

fn pop(queue: &Queue<u8>) -> Option<u8> {
    queue.pop(0, &|_, _| (Vec::new(), true)).map(|batch| batch.items[0])
}

fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

fn far() -> Instant {
    after(3_600_000)
}

/// Lines whose only session has just begun a run; runs take so many milliseconds.
fn busy(run_time: u64, limits: Limits) -> Arc<Queue<u8>> {
    let queue = Queue::new(1, limits);
    queue.learn(Duration::from_millis(run_time));
    let ticket = queue.admit(1, far()).unwrap();
    let _place = ticket.push(0);
    assert_eq!(pop(&queue), Some(0));
    queue
}

#[test]
fn a_line_is_served_in_order_and_bounded() {
    let queue = busy(0, LIMITS);
    let tickets = [1, 2].map(|_| queue.admit(1, far()).unwrap());
    let places = [tickets[0].push(1), tickets[1].push(2)];
    assert!(queue.admit(1, far()).is_err());
    assert_eq!((pop(&queue), pop(&queue)), (Some(1), Some(2)));
    drop(places);
    queue.close();
    assert_eq!(pop(&queue), None);
}

#[test]
fn who_leaves_frees_a_place() {
    let queue = busy(0, LIMITS);
    let [first, second] = [1, 2].map(|_| queue.admit(1, far()).unwrap());
    let (left, _place) = (first.push(1), second.push(2));
    drop(left);
    drop(first);
    let third = queue.admit(1, far()).unwrap();
    let _place = third.push(3);
    assert_eq!((pop(&queue), pop(&queue)), (Some(2), Some(3)));
    let state = queue.lock();
    assert!(state.singles.waiting.is_empty() && state.singles.left.is_empty());
}

#[test]
fn what_would_wait_too_long_is_refused_with_the_time_that_it_takes() {
    let queue = busy(800, LIMITS);
    let _first = queue.admit(1, far()).unwrap();
    let full = queue.admit(1, far()).unwrap_err();
    assert!((1500..=1600).contains(&full.retry_after.as_millis()), "{full:?}");
}

#[test]
fn what_cannot_be_done_before_its_deadline_is_refused_at_once() {
    // 0.8 s for the run before it, and 0.8 s for its own.
    let queue = busy(800, LIMITS);
    assert!(queue.admit(1, after(1400)).is_err());
    assert!(queue.admit(1, after(1700)).is_ok());
    assert!(queue.admit(3, after(3000)).is_err());
    assert!(queue.admit(3, after(3400)).is_ok());
}

#[test]
fn an_idle_session_takes_a_run_however_long_the_last_ones_took() {
    let queue = busy(60_000, LIMITS);
    assert!(queue.admit(1, far()).is_err());
    queue.finished(0, None);
    let _first = queue.admit(1, after(10)).unwrap();
    assert!(queue.admit(1, far()).is_err());
}

#[test]
fn the_lines_take_turns_and_the_oldest_batch_comes_first() {
    let queue = busy(0, Limits { capacity: 9, ..LIMITS });
    let [one, other] = [1, 2].map(|_| queue.admit(3, far()).unwrap());
    let singles = [7, 8, 9].map(|_| queue.admit(1, far()).unwrap());
    let _places = [other.push(20), other.push(21), one.push(10), one.push(11)];
    let _more = [singles[0].push(7), singles[1].push(8), singles[2].push(9)];
    let order: Vec<_> = (0..7).map(|_| pop(&queue).unwrap()).collect();
    assert_eq!(order, [10, 7, 11, 8, 20, 9, 21]);
    // What is let in goes on, however many have come meanwhile.
    let _place = one.push(12);
    assert_eq!(pop(&queue), Some(12));
}

#[test]
fn a_batch_is_one_request_with_all_its_runs() {
    let queue = busy(100, Limits { capacity: 9, max_wait: Duration::from_millis(950), ..LIMITS });
    let batch = queue.admit(50, far()).unwrap();
    // Behind the run that goes on and all of the batch; but one run needs to wait for the first of them only.
    assert!((5000..=5100).contains(&queue.admit(2, far()).unwrap_err().retry_after.as_millis()));
    let _singles: Vec<_> = (0..4).map(|_| queue.admit(1, far()).unwrap()).collect();
    assert!(queue.admit(1, far()).is_err());
    drop(batch);
    assert!(queue.admit(1, far()).is_ok());
}

#[test]
fn what_may_share_a_run_goes_along() {
    let queue = busy(0, Limits { capacity: 99, ..LIMITS });
    let tickets: Vec<_> = (0..6).map(|_| queue.admit(1, far()).unwrap()).collect();
    let batch = queue.admit(2, far()).unwrap();
    let _pair = [batch.push(21), batch.push(22)];
    let _places: Vec<_> = tickets.iter().zip(1..).map(|(ticket, item)| ticket.push(item)).collect();
    // Odd ones go with odd ones, three at most.
    let odd = |first: &u8, others: &[&u8]| {
        let mut alike: Vec<_> = (0..others.len()).filter(|index| (others[*index] + first).is_multiple_of(2)).collect();
        alike.truncate(2);
        let full = alike.len() == 2;
        (alike, full)
    };
    let mut runs = Vec::new();
    while queue.waiting.load(Ordering::Relaxed) > 0 {
        let batch = queue.pop(0, &odd).unwrap();
        runs.push((batch.items, batch.reason));
    }
    let (full, idle) = (Release::Full, Release::Idle);
    assert_eq!(runs, [(vec![21, 1, 3], full), (vec![2, 4, 6], full), (vec![22], idle), (vec![5], idle)]);
}

#[test]
fn a_run_waits_for_more_only_while_another_one_goes_on() {
    // So long that who waits for it in vain makes the test stand still.
    let max_delay = Duration::from_millis(300);
    let queue = Queue::new(2, Limits { capacity: 9, max_delay, ..LIMITS });
    let pop =
        |session| queue.pop(session, &|_, others| ((0..others.len()).collect(), others.len() == 2)).unwrap().reason;
    let tickets: Vec<_> = (0..6).map(|_| queue.admit(1, far()).unwrap()).collect();
    let places: Vec<_> = tickets.iter().take(1).map(|ticket| ticket.push(0)).collect();
    assert_eq!(pop(0), Release::Idle);
    // That one goes on.
    let started = Instant::now();
    let more = tickets[1].push(1);
    assert_eq!(pop(1), Release::Delay);
    assert!(started.elapsed() >= max_delay);
    queue.finished(1, None);
    let full = [2, 3, 4].map(|number| tickets[number].push(4));
    assert_eq!(pop(1), Release::Full);
    queue.finished(1, None);
    std::thread::scope(|scope| {
        let last = tickets[5].push(5);
        let waiting = scope.spawn(|| pop(1));
        queue.finished(0, None);
        assert_eq!(waiting.join().unwrap(), Release::Idle);
        drop(last);
    });
    drop((places, more, full));
}

#[test]
fn who_waited_long_behind_a_run_that_does_not_end_is_given_up_as_a_whole() {
    let max_wait = Duration::from_millis(200);
    let queue = busy(1, Limits { capacity: 9, max_wait, ..LIMITS });
    let batch = queue.admit(2, far()).unwrap();
    let _places = [batch.push(1), batch.push(2)];
    let single = queue.admit(1, far()).unwrap();
    let place = single.push(3);
    assert_eq!(batch.give_up(), Overdue::Soon);
    std::thread::sleep(max_wait + Duration::from_millis(50));
    assert!(matches!(batch.give_up(), Overdue::GivenUp { .. }));
    assert!(batch.given_up().is_some_and(|retry_after| retry_after > max_wait));
    // The session comes back after all: it takes what still waits, and that waits no more.
    queue.finished(0, None);
    assert_eq!(pop(&queue), Some(3));
    assert_eq!(single.give_up(), Overdue::Begun);
    place.served();
    assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
    assert!(queue.lock().is_empty());
}
