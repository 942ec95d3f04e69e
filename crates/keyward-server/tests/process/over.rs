//! When threads that would go on for ever shall stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that ends loops in other threads of a scope.
#[derive(Default)]
pub(crate) struct Over(AtomicBool);

impl Over {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sets the flag with the end of the value, also where a panic ends it: the scope would wait
    /// for its threads, and nobody would ever hear of the panic.
    pub(crate) fn at_end(&self) -> AtEnd<'_> {
        AtEnd(self)
    }
}

pub(crate) struct AtEnd<'a>(&'a Over);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}
