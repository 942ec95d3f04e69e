//! The keys as they are used in a span of time in which none of them changes its state.

use std::fmt;
use std::hash::RandomState;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::access_token::{Algorithm, ExpectedClaims, VerifiedTokens, Verifier};
use keyward_core::csrf::CsrfKeys;
use keyward_core::keys::{
    KeyLifePolicy, KeyLives, KeyPurpose, KeyRecord, KeyState, SealingKey, SigningKey, VerifyingKey,
};
use keyward_core::refresh_token::{MacKey, MacKeys, TagTrust};
use keyward_core::time::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use super::KeyringError;
use super::opened::{Opened, Secret};
use crate::policy::Policy;

/// What the keys are used for, and when.
pub(super) struct KeyUse {
    pub(super) life: KeyLifePolicy,
    verifier: ExpectedClaims,
    /// The key for HS256 that is configured and in no store.
    configured: Option<Arc<SigningKey>>,
}

impl KeyUse {
    pub(super) fn new(policy: &Policy) -> Result<Self, KeyringError> {
        let access_token = &policy.access_token;
        let secret = access_token.hmac_secret.as_ref();
        let secret = secret.filter(|_| access_token.algorithm == Algorithm::Hs256);
        let configured = secret.map(|secret| SigningKey::parse(Algorithm::Hs256, secret));
        Ok(Self {
            life: policy.key_life(),
            verifier: ExpectedClaims {
                issuer: access_token.issuer.clone(),
                audience: access_token.audience.clone(),
                leeway: Duration::ZERO,
            },
            configured: configured.transpose()?.map(Arc::new),
        })
    }
}

/// Every key in use. Another span, or another reading, has keys of its own, and with them an empty
/// memory of verified tokens: nothing that a dropped key signed is remembered as good.
pub(crate) struct Keys {
    opened: Arc<Opened>,
    span: Range<Timestamp>,
    signing: Arc<SigningKey>,
    /// The `kid`s that are verified.
    signing_ids: Vec<String>,
    verified_tokens: VerifiedTokens,
    jwks: String,
    mac: MacKeys,
    csrf: CsrfKeys,
    /// With their numbers.
    sealing: Vec<(u8, SealingKey)>,
}

impl Keys {
    /// The keys as they are used at this time.
    pub(super) fn at(
        opened: Arc<Opened>,
        key_use: &KeyUse,
        now: Timestamp,
    ) -> Result<Self, KeyringError> {
        let (rows, secrets): (Vec<KeyRecord>, Vec<&Secret>) =
            opened.usable().map(|(row, secret)| (row.clone(), secret)).unzip();
        let lives = KeyLives::new(&rows, &key_use.life);
        let standing = rows.iter().map(|row| (row.purpose, lives.state(row, now)));
        let standing: Vec<Standing<'_>> = standing
            .zip(secrets)
            .map(|((purpose, state), secret)| Standing { purpose, state, secret })
            .collect();

        let signing = signing_keys(&standing, key_use);
        let active = signing.first().map(Arc::clone).ok_or(KeyringError::Unfit)?;
        let verifying: Vec<VerifyingKey> =
            signing.iter().map(|key| key.verifying_key()).collect::<Result<_, _>>()?;
        let verifier = Verifier::new(verifying, key_use.verifier.clone());
        let jwks: Vec<_> = signing.iter().filter_map(|key| key.jwk()).collect();
        Ok(Self {
            span: lives.steady(now),
            signing: active,
            signing_ids: signing.iter().map(|key| key.id().to_owned()).collect(),
            verified_tokens: VerifiedTokens::new(verifier, VERIFIED_TOKENS_MAX, RandomState::new()),
            jwks: json!({ "keys": jwks }).to_string(),
            mac: mac_keys(&standing)?,
            csrf: csrf_keys(&standing)?,
            sealing: sealing_keys(&standing),
            opened,
        })
    }

    /// Whether these are the keys of this time.
    pub(super) fn is_for(&self, now: Timestamp) -> bool {
        self.span.contains(&now)
    }

    /// What these were made of.
    pub(super) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.opened)
    }

    /// Signs access tokens.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Whether tokens of the signing key with this id are verified.
    pub(crate) fn has_signing(&self, id: &str) -> bool {
        self.signing_ids.iter().any(|own| own == id)
    }

    /// Verifies access tokens.
    pub(crate) fn verified_tokens(&self) -> &VerifiedTokens {
        &self.verified_tokens
    }

    /// The public keys as a JWK set.
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// Whether a tag that does not fit here may be of a newer key with the same number.
    pub(crate) fn may_miss(&self, purpose: KeyPurpose) -> bool {
        KeyLives::numbers_run_short(self.opened.rows(), purpose)
    }

    /// Tags refresh tokens.
    pub(crate) fn mac(&self) -> &MacKeys {
        &self.mac
    }

    /// Binds CSRF tokens to sessions.
    pub(crate) fn csrf(&self) -> &CsrfKeys {
        &self.csrf
    }

    /// Seals the secret of a second factor for one place, behind the number of the key. `None`
    /// where no key does.
    pub(crate) fn seal(&self, secret: &[u8], place: &str, nonce: &[u8; 12]) -> Option<Vec<u8>> {
        let (number, key) = self.sealing.first()?;
        Some([&[*number], key.seal(secret, place, nonce).as_slice()].concat())
    }

    /// Opens what [`Keys::seal`] sealed for this place.
    pub(crate) fn open(&self, sealed: &[u8], place: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (number, sealed) = sealed.split_first()?;
        let (_, key) = self.sealing.iter().find(|(own, _)| own == number)?;
        key.open(sealed, place).ok()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.signing)
    }
}

/// A key that can be used, and how.
struct Standing<'a> {
    purpose: KeyPurpose,
    state: KeyState,
    secret: &'a Secret,
}

/// The key that signs, and then all others that verify.
fn signing_keys(standing: &[Standing<'_>], key_use: &KeyUse) -> Vec<Arc<SigningKey>> {
    let with = |wanted: &[KeyState]| {
        let keys = standing.iter().filter(|key| wanted.contains(&key.state));
        let signing = keys.filter_map(|key| match key.secret {
            Secret::Signing(key) => Some(Arc::clone(key)),
            Secret::Numbered(..) => None,
        });
        signing.collect::<Vec<_>>()
    };
    let configured = key_use.configured.iter().map(Arc::clone);
    let active = with(&[KeyState::Active]);
    configured.chain(active).chain(with(&[KeyState::Pending, KeyState::Retired])).collect()
}

fn mac_keys(standing: &[Standing<'_>]) -> Result<MacKeys, KeyringError> {
    let with = |wanted: &[KeyState], trust| {
        let keys = numbered(standing, KeyPurpose::RefreshToken, wanted);
        keys.into_iter().map(|(id, secret)| MacKey::new(id, &secret, trust)).collect::<Vec<_>>()
    };
    let active = with(&[KeyState::Active], TagTrust::Sound).pop().ok_or(KeyringError::Unfit)?;
    let mut others = with(&[KeyState::Pending, KeyState::Retired], TagTrust::Sound);
    others.extend(with(&[KeyState::Compromised], TagTrust::Compromised));
    Ok(MacKeys::new(active, others))
}

fn csrf_keys(standing: &[Standing<'_>]) -> Result<CsrfKeys, KeyringError> {
    let with = |wanted: &[KeyState]| numbered(standing, KeyPurpose::Csrf, wanted);
    let active = with(&[KeyState::Active]).pop().ok_or(KeyringError::Unfit)?;
    Ok(CsrfKeys::new(active, with(&[KeyState::Pending, KeyState::Retired])))
}

/// The key that seals first.
fn sealing_keys(standing: &[Standing<'_>]) -> Vec<(u8, SealingKey)> {
    let with = |wanted: &[KeyState]| numbered(standing, KeyPurpose::SecondFactor, wanted);
    let others = [KeyState::Pending, KeyState::Retired, KeyState::Compromised];
    let keys = with(&[KeyState::Active]).into_iter().chain(with(&others));
    keys.map(|(number, secret)| (number, SealingKey::new(&secret))).collect()
}

fn numbered(
    standing: &[Standing<'_>],
    purpose: KeyPurpose,
    wanted: &[KeyState],
) -> Vec<(u8, [u8; 32])> {
    let keys = standing.iter().filter(|key| key.purpose == purpose && wanted.contains(&key.state));
    keys.filter_map(|key| match key.secret {
        Secret::Numbered(number, bytes) => Some((*number, **bytes)),
        Secret::Signing(_) => None,
    })
    .collect()
}

/// Access tokens that are remembered as verified: about 600 bytes each.
const VERIFIED_TOKENS_MAX: usize = 20_000;
