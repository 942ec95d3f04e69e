//! `[keys]`, but for the master key.

use std::time::Duration;

use keyward::policy::Policy;

use super::source::{Source, Value};
use super::value;

/// Reads how keys are rotated.
pub(super) fn read(source: &mut Source, policy: &mut Policy) {
    let keys = &mut policy.keys;
    if let Some(rotate_every) = source.parsed("keys.rotate_every", rotate_every) {
        keys.rotate_every = rotate_every;
    }
    let overlap =
        source.parsed("keys.overlap", |text| value::duration(text, OVERLAP_MIN, OVERLAP_MAX));
    keys.overlap = overlap.unwrap_or(keys.overlap);
    if keys.rotate_every.is_none() {
        source.warn(
            "keys.rotate_every",
            "is off, so that a key that leaked unseen signs for ever; set it like \"90d\", or run \
             `keyward key rotate --purpose all` at times",
        );
    }
}

/// How long a key is active, or `off`.
fn rotate_every(value: &Value) -> Result<Option<Duration>, String> {
    match value {
        Value::Text(text) if text.as_str() == "off" => Ok(None),
        _ => value::duration(value, ROTATE_EVERY_MIN, ROTATE_EVERY_MAX).map(Some),
    }
}

/// Longer than any overlap. And the keys that sessions depend on have one of 255 numbers each for
/// as long as a session can live, which is 400 days: keys this far apart do not run out of them.
const ROTATE_EVERY_MIN: Duration = Duration::from_secs(2 * 24 * 60 * 60);
const ROTATE_EVERY_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Verifiers may keep the published keys for five minutes.
const OVERLAP_MIN: Duration = Duration::from_secs(10 * 60);
const OVERLAP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
