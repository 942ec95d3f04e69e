//! The token of a challenge: what a sign-in goes on with when the password was right.

use crate::opaque_token::{Kind, OpaqueToken};
use crate::secret_hash::SecretHash;

/// The token of a challenge in clear: it exists when it is made, and while a request that carries
/// it is looked at.
pub type MfaToken = OpaqueToken<ForChallenge>;

/// What the store knows of a challenge's token.
pub type MfaTokenHash = SecretHash<MfaToken>;

/// The kind of token that names a challenge.
#[derive(Debug)]
pub enum ForChallenge {}

impl Kind for ForChallenge {
    const NAME: &'static str = "MfaToken";
    const PREFIX: &'static str = "kwm_";
}
