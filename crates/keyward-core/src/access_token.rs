//! Access tokens: strict JWS in compact form (RFC 7515), profile of RFC 9068.
//!
//! A verifier knows the exact header text of every key it accepts and looks the presented header up
//! as a whole, byte for byte, before any cryptography. There is nothing to negotiate, so `alg`
//! confusion, `crit`, `jku`, `jwk`, `x5u` and `kid` tricks have nothing to act on (RFC 8725).
//!
//! Claims are read strictly: a duplicate name at any depth, a wrong type or a fraction where a
//! whole number belongs refuses the token.

mod cache;
mod claims;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

pub use cache::VerifiedTokens;
pub use claims::{Claims, EXTRA_BYTES_MAX, RESERVED_CLAIMS};

use crate::encoding;
use crate::keys::{SigningKey, VerifyingKey};
use crate::named::named;
use crate::time::Timestamp;

/// The longest token that is looked at, in bytes. Larger ones do not fit a cookie either.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// How far ahead of the verifier's clock the issuer's may be, in seconds, besides the leeway.
const AHEAD_SECS_MAX: i64 = 60;

named! {
    /// What signs access tokens (RFC 7518, section 3.1; RFC 8037).
    Algorithm {
        /// Ed25519.
        EdDsa = "EdDSA",
        /// ECDSA on P-256 with SHA-256. The default: every verifier has it.
        Es256 = "ES256",
        /// HMAC with SHA-256, 32 bytes of key at least; only within one domain of trust.
        Hs256 = "HS256",
        /// RSASSA-PKCS1-v1_5 with SHA-256, 3072 bits at least; for verifiers that know no other.
        Rs256 = "RS256",
    }
}

/// Signs claims. The header is the key's own; its text is the same for every token of the key.
pub fn issue(claims: &Claims, key: &SigningKey) -> String {
    let payload = encoding::encode(claims.to_json().as_bytes());
    let mut token = String::with_capacity(key.header().len() + payload.len() + 600);
    token.push_str(key.header());
    token.push('.');
    token.push_str(&payload);
    let signature = encoding::encode(&key.sign(token.as_bytes()));
    token.push('.');
    token.push_str(&signature);
    token
}

/// The id of the key that a token claims to be signed with. Nothing is proved by it: it is for
/// whoever may have missed a new key. `None` where the header is not of the form that ours have.
pub fn claimed_key(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (header, _) = token.split_once('.')?;
    let text = String::from_utf8(encoding::decode(header)?).ok()?;
    let rest = text.strip_prefix(r#"{"alg":""#)?.strip_suffix(r#"","typ":"at+jwt"}"#)?;
    let (algorithm, id) = rest.split_once(r#"","kid":""#)?;
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    Algorithm::from_name(algorithm)?;
    id.bytes().all(is_base64url).then(|| id.to_owned())
}

/// Verifies tokens of one issuer for one audience.
#[derive(Debug)]
pub struct Verifier {
    keys: HashMap<String, VerifyingKey>,
    policy: ExpectedClaims,
}

/// What a verifier expects of a token besides its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedClaims {
    /// Exactly the `iss` claim.
    pub issuer: String,
    /// Exactly the `aud` claim: one text, as this server writes it.
    pub audience: String,
    /// Tolerated difference between the clocks, for `exp` and `iat`. Zero in the service itself.
    pub leeway: Duration,
}

impl Verifier {
    /// A verifier that accepts tokens of these keys and no others.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>, policy: ExpectedClaims) -> Self {
        let keys = keys.into_iter().map(|key| (key.header().to_owned(), key)).collect();
        Self { keys, policy }
    }

    /// Verifies a token and answers its claims.
    ///
    /// # Errors
    ///
    /// [`Refusal::Expired`] where nothing but its age speaks against it, else
    /// [`Refusal::Invalid`]; which check failed is not told, so that it cannot be probed.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Refusal> {
        let claims = self.verify_signature(token).ok_or(Refusal::Invalid)?;
        self.judge(&claims, now)?;
        Ok(claims)
    }

    /// Judges claims whose signature was verified before: issuer, audience, times. Costs no
    /// cryptography; must run on every use of a cached token.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    pub fn judge(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let leeway = i64::try_from(self.policy.leeway.as_secs()).unwrap_or(i64::MAX);
        if !self.is_addressed(claims) {
            return Err(Refusal::Invalid);
        }
        // A little ahead is a clock that was set back, or another node's; an honest user must not
        // be told that the token is not ours. A token from far ahead was made by no clock of ours.
        // One that ends in the second of its issue is of a session's last moment, and no forgery.
        let latest = now.secs().saturating_add(leeway).saturating_add(AHEAD_SECS_MAX);
        if claims.iat > latest || claims.exp < claims.iat {
            return Err(Refusal::Invalid);
        }
        if now.secs() >= claims.exp.saturating_add(leeway) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// The claims of a token that a key of ours signed for another issuer or audience than is
    /// expected here. For whoever operates a verifier, whose settings may be wrong; never to be
    /// told to whoever presented the token. Checks the signature.
    pub fn misaddressed(&self, token: &str) -> Option<Claims> {
        self.verify_signature(token).filter(|claims| !self.is_addressed(claims))
    }

    fn is_addressed(&self, claims: &Claims) -> bool {
        claims.iss == self.policy.issuer && claims.aud == self.policy.audience
    }

    fn verify_signature(&self, token: &str) -> Option<Claims> {
        // Length and alphabet first: what costs least refuses most.
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (header, rest) = token.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        let key = self.keys.get(header)?;
        // A third dot makes the signature undecodable. Canonical base64url only, so that one
        // signature has one text.
        let signature = encoding::decode(signature)?;
        let signed = &token[..header.len() + 1 + payload.len()];
        if !key.verify(signed.as_bytes(), &signature) {
            return None;
        }
        Claims::from_json(&encoding::decode(payload)?)
    }
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was good until it expired.
    Expired,
    /// Anything else.
    Invalid,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the access token has expired",
            Self::Invalid => "the access token is not valid",
        })
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
