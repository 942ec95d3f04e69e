//! Good tokens for somebody else: as a rule a mistake in the policy, which nothing else shows.
//!
//! Whoever presents such a token is told that it is not valid, and no more. Whoever operates the
//! verifier is told once a minute what is wrong, without the token. Junk cannot make this dear: one
//! token a second is looked at, for one check of a signature.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyward_core::time::Timestamp;

use crate::keys::Keys;
use crate::policy::VerifyPolicy;

/// When somebody was looked for and warned of last.
#[derive(Debug, Default)]
pub(crate) struct Misaddressed {
    looked: Seldom,
    warned: Seldom,
}

impl Misaddressed {
    /// Looks at a token that was refused, unless another one was looked at just now.
    pub(crate) fn look_at(&self, token: &str, keys: &Keys, policy: &VerifyPolicy, now: Timestamp) {
        if !self.warned.is_due(WARN_EVERY, now) || !self.looked.take(LOOK_EVERY, now) {
            return;
        }
        let Some(claims) = keys.misaddressed(token) else { return };
        if self.warned.take(WARN_EVERY, now) {
            tracing::warn!(
                "a token of the service is refused: it is by issuer {:?} for audience {:?}, \
                 and this verifier expects {:?} and {:?}; see VerifyPolicy::new",
                claims.iss,
                claims.aud,
                policy.issuer,
                policy.audience,
            );
        }
    }
}

/// When something was done last, in milliseconds; [`NEVER`] before the first time.
#[derive(Debug)]
struct Seldom(AtomicI64);

impl Default for Seldom {
    fn default() -> Self {
        Self(AtomicI64::new(NEVER))
    }
}

impl Seldom {
    fn is_due(&self, apart: Duration, now: Timestamp) -> bool {
        is_due(self.0.load(Ordering::Relaxed), apart, now)
    }

    /// Whether it is due, for one of all who ask at once.
    fn take(&self, apart: Duration, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let taken = || {
            self.0
                .compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        is_due(last, apart, now) && taken()
    }
}

fn is_due(last: i64, apart: Duration, now: Timestamp) -> bool {
    last == NEVER || Timestamp::from_millis(last).distance(now) >= apart
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const WARN_EVERY: Duration = Duration::from_secs(60);

const NEVER: i64 = i64::MIN;
