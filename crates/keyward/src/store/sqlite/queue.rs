//! A bounded queue between async tasks and the threads that own the connections.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Many may push, many may take. A push never waits: a full queue refuses.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// How many threads wait in [`Queue::take`]. Waking nobody costs a system call all the same.
    waiting: usize,
    closed: bool,
}

/// Why an item was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many items wait as may.
    Full,
    /// Nobody takes items any more.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue for at most `max` items.
    pub(super) fn new(max: usize) -> Self {
        let state = State { items: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), max }
    }

    /// Adds an item.
    pub(super) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.max {
            return Err(Refused::Full);
        }
        state.items.push_back(item);
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes what waits, oldest first, at most `max` items; waits for one where there is none.
    /// Nothing comes back once the queue is closed and empty.
    pub(super) fn take(&self, max: usize) -> Vec<T> {
        let mut state = self.state();
        while state.items.is_empty() && !state.closed {
            state.waiting += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        let count = state.items.len().min(max);
        state.items.drain(..count).collect()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state().items.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses further items; those that wait are still taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// Ties the queue to the thread that takes from it.
    pub(super) fn abandon_on_drop(&self) -> AbandonOnDrop<'_, T> {
        AbandonOnDrop(self)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes its queue and drops what waits there when a thread ends, be it by a panic: nobody must
/// wait for an item that nobody will take.
pub(super) struct AbandonOnDrop<'q, T>(&'q Queue<T>);

impl<T> Drop for AbandonOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.close();
        let items = std::mem::take(&mut self.0.state().items);
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_in_order_and_in_bounded_groups() {
        let queue = Queue::new(3);
        for item in 0..3 {
            assert_eq!(queue.push(item), Ok(()));
        }
        assert_eq!(queue.push(3), Err(Refused::Full));
        assert_eq!(queue.take(2), [0, 1]);
        assert_eq!(queue.take(2), [2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn closed_it_gives_out_what_waits_and_then_nothing() {
        let queue = Queue::new(3);
        assert_eq!(queue.push(1), Ok(()));
        queue.close();
        assert_eq!(queue.push(2), Err(Refused::Closed));
        assert_eq!(queue.take(9), [1]);
        assert!(queue.take(9).is_empty());
    }

    #[test]
    fn abandoned_it_drops_what_waits() {
        let queue = Queue::new(3);
        assert_eq!(queue.push(1), Ok(()));
        drop(queue.abandon_on_drop());
        assert!(queue.take(9).is_empty());
    }

    #[test]
    fn a_waiting_thread_gets_what_is_pushed() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(1));
            assert_eq!(queue.push(7), Ok(()));
            assert_eq!(taker.join().expect("the thread ends"), [7]);
        });
    }
}
