//! The verifier from outside: what it accepts, what it refuses, and what it learns over HTTP.

mod attacks;
mod issuer;
mod publisher;
mod wire;

mod table;
mod verdicts;
mod warnings;

mod delay;
mod example;
mod feed;
mod keys;
mod layer;

use std::time::SystemTime;

use keyward_verify::Timestamp;

/// Over HTTP time passes by itself.
fn system_now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "what runs by itself has this clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_secs(0).plus(now.expect("after 1970"))
}
