//! What is wrong at this moment, for whoever operates the service.

mod misaddressed;

use std::sync::{Mutex, PoisonError};

pub(crate) use misaddressed::Misaddressed;

/// What keeps the keys or the revocations from being current, or good tokens from being accepted.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) keys: Current,
    pub(crate) feed: Current,
    pub(crate) misaddressed: Misaddressed,
}

/// One trouble, while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Current(Mutex<Option<String>>);

impl Current {
    /// Notes a trouble, or its end, and logs it where it is another than before.
    pub(crate) fn note(&self, what: &str, trouble: Option<String>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == trouble {
            return;
        }
        match &trouble {
            Some(trouble) => tracing::warn!("{what}: {trouble}"),
            None => tracing::info!("no longer: {what}"),
        }
        *current = trouble;
    }

    /// What is wrong, if anything is.
    pub(crate) fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
