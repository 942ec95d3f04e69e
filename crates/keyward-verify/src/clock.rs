//! The present, for what runs by itself; verdicts take it as an argument.

use std::time::SystemTime;

use keyward_core::time::Timestamp;

/// The time that the operating system tells.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "background work and layers have no caller's")]
    let now = SystemTime::now();
    // A clock before 1970 is not set; by the epoch nothing is current, which is safe.
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(0).plus(since_epoch)
}
