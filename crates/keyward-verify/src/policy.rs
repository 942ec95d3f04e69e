//! What a service expects of the tokens that it accepts.

use std::time::Duration;

use keyward_core::access_token::Algorithm;

/// Steers a [`Verifier`](crate::Verifier); plain data. [`VerifyPolicy::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyPolicy {
    /// Exactly the `iss` claim: `access_token.issuer` of the issuing service.
    pub issuer: String,
    /// Exactly the `aud` claim: `access_token.audience` of the issuing service.
    pub audience: String,
    /// What a published key may sign with. ES256 and EdDSA; HS256 has no published keys.
    pub algorithms: Vec<Algorithm>,
    /// Tolerated difference between the clocks, for `exp` and `iat`: 5 seconds.
    pub leeway: Duration,
    /// For how long keys count after they were fetched: one hour, the longest life of a token.
    pub keys_age_max: Duration,
    /// How long the issuing service may be silent before its revocations count as unknown: one
    /// minute, four times the interval at which it speaks.
    pub staleness_max: Duration,
    /// What happens to tokens while revocations are unknown.
    pub when_stale: WhenStale,
    /// How many verified tokens are remembered: 10 000, of a kilobyte or two each.
    pub tokens_max: usize,
    /// How many revocations are held: 2 000 000, of some 50 bytes each. Past it they count as
    /// unknown, since forgetting one would let its token in.
    pub revocations_max: usize,
}

impl VerifyPolicy {
    /// The defaults for tokens of this issuer to this audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            algorithms: vec![Algorithm::Es256, Algorithm::EdDsa],
            leeway: Duration::from_secs(5),
            keys_age_max: Duration::from_secs(3600),
            staleness_max: Duration::from_secs(60),
            when_stale: WhenStale::default(),
            tokens_max: 10_000,
            revocations_max: 2_000_000,
        }
    }
}

/// What happens to tokens while it is unknown whether they were revoked: before the first word of
/// the issuing service, and once it has been silent for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenStale {
    /// They are accepted until they expire, as by any verifier that knows of no revocations. Those
    /// known to be revoked are refused all the same.
    AcceptUntilExpiry,
    /// They are refused until it is known again.
    #[default]
    FailClosed,
}
