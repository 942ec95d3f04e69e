//! The secret keys: opened at start with the master key, made where there are none.

use std::fmt;

use keyward_core::access_token::Algorithm;
use keyward_core::csrf::CsrfKeys;
use keyward_core::keys::{self, MasterKey, SigningKey, UnfitKey, VerifyingKey};
use keyward_core::refresh_token::{MacKey, MacKeys, TagTrust};
use keyward_core::time::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};
use crate::policy::AccessTokenPolicy;
use crate::store::{KeyPurpose, KeyRecord, Store, StoreError};

/// Every key in use.
#[derive(Debug)]
pub(crate) struct Keyring {
    signing: SigningKey,
    /// Keys of algorithms that were configured before: their tokens are verified until they expire.
    retired: Vec<SigningKey>,
    mac: MacKeys,
    csrf: CsrfKeys,
    jwks: String,
}

impl Keyring {
    /// Opens the stored keys and makes the missing ones. Safe when several processes start at once:
    /// the store keeps the first key of each kind and every process uses that one.
    pub(crate) async fn open(
        store: &dyn Store,
        master_key: &MasterKey,
        policy: &AccessTokenPolicy,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let mut records = store.list_keys().await?;
        for missing in missing_kinds(&records, policy) {
            let record = make(missing, master_key, now, entropy)?;
            records = store.insert_key(record).await?;
        }
        let secrets = Secrets { records: &records, master_key };

        let (signing, retired) = signing_keys(&secrets, policy)?;
        let jwks: Vec<_> =
            std::iter::once(&signing).chain(&retired).filter_map(|k| k.jwk()).collect();
        Ok(Self {
            mac: mac_keys(&secrets)?,
            csrf: csrf_keys(&secrets)?,
            jwks: json!({ "keys": jwks }).to_string(),
            signing,
            retired,
        })
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn verifying_keys(&self) -> Result<Vec<VerifyingKey>, KeyringError> {
        std::iter::once(&self.signing)
            .chain(&self.retired)
            .map(|key| key.verifying_key().map_err(KeyringError::from))
            .collect()
    }

    pub(crate) fn mac(&self) -> &MacKeys {
        &self.mac
    }

    pub(crate) fn csrf(&self) -> &CsrfKeys {
        &self.csrf
    }

    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }
}

/// Why the keys could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyringError {
    /// The store failed.
    Store(StoreError),
    /// The master key does not open this key: it is another one, or the row was changed.
    Sealed {
        /// What the key serves.
        purpose: &'static str,
    },
    /// A key does not fit its algorithm or is too short.
    Unfit,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Sealed { purpose } => write!(
                f,
                "the master key does not open the stored {purpose} key: \
                 start with the master key that the store was made with"
            ),
            Self::Unfit => UnfitKey.fmt(f),
        }
    }
}

impl std::error::Error for KeyringError {}

impl From<StoreError> for KeyringError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<UnfitKey> for KeyringError {
    fn from(UnfitKey: UnfitKey) -> Self {
        Self::Unfit
    }
}

/// What a key is for, and how.
#[derive(Clone, Copy)]
struct Kind {
    purpose: KeyPurpose,
    algorithm: &'static str,
}

fn missing_kinds(records: &[KeyRecord], policy: &AccessTokenPolicy) -> Vec<Kind> {
    let signing = Kind { purpose: KeyPurpose::AccessToken, algorithm: policy.algorithm.as_str() };
    let configured = policy.algorithm == Algorithm::Hs256 && policy.hmac_secret.is_some();
    [
        (!configured).then_some(signing),
        Some(Kind { purpose: KeyPurpose::RefreshToken, algorithm: MAC_ALGORITHM }),
        Some(Kind { purpose: KeyPurpose::Csrf, algorithm: MAC_ALGORITHM }),
    ]
    .into_iter()
    .flatten()
    .filter(|kind| !records.iter().any(|record| record.is(kind.purpose, kind.algorithm)))
    .collect()
}

/// Makes a key and seals it for its row.
fn make(
    kind: Kind,
    master_key: &MasterKey,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<KeyRecord, KeyringError> {
    let symmetric = || Zeroizing::new(entropy::array::<32>(entropy).to_vec());
    let (id, secret) = match kind.purpose {
        KeyPurpose::AccessToken => {
            let algorithm = Algorithm::from_name(kind.algorithm).ok_or(KeyringError::Unfit)?;
            let secret = match algorithm {
                Algorithm::Hs256 => symmetric(),
                Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => {
                    keys::generate_pkcs8(algorithm)?
                }
            };
            (SigningKey::parse(algorithm, &secret)?.id().to_owned(), secret)
        }
        KeyPurpose::Csrf | KeyPurpose::RefreshToken => ("1".to_owned(), symmetric()),
    };
    let nonce = entropy::array::<12>(entropy);
    Ok(KeyRecord {
        sealed: master_key.seal(&secret, &place(kind.purpose, &id), &nonce),
        purpose: kind.purpose,
        algorithm: kind.algorithm.to_owned(),
        created_at: now,
        id,
    })
}

/// The stored keys with what opens them.
struct Secrets<'a> {
    records: &'a [KeyRecord],
    master_key: &'a MasterKey,
}

impl Secrets<'_> {
    /// Keys of one purpose, newest first.
    fn of(&self, purpose: KeyPurpose) -> Result<Vec<Opened<'_>>, KeyringError> {
        self.records
            .iter()
            .rev()
            .filter(|record| record.purpose == purpose)
            .map(|record| {
                let secret = self
                    .master_key
                    .open(&record.sealed, &place(purpose, &record.id))
                    .map_err(|UnfitKey| KeyringError::Sealed { purpose: purpose.as_str() })?;
                Ok(Opened { record, secret })
            })
            .collect()
    }

    /// Symmetric keys with their numbers: the newest one, and those before it.
    fn numbered(&self, purpose: KeyPurpose) -> Result<(Numbered, Vec<Numbered>), KeyringError> {
        let mut keys = self
            .of(purpose)?
            .into_iter()
            .map(|Opened { record, secret }| {
                let number = record.id.parse().map_err(|_| KeyringError::Unfit)?;
                let bytes = secret.as_slice().try_into().map_err(|_| KeyringError::Unfit)?;
                Ok((number, bytes))
            })
            .collect::<Result<Vec<Numbered>, KeyringError>>()?
            .into_iter();
        let newest = keys.next().ok_or(KeyringError::Unfit)?;
        Ok((newest, keys.collect()))
    }
}

/// A stored key and its secret half.
struct Opened<'a> {
    record: &'a KeyRecord,
    secret: Zeroizing<Vec<u8>>,
}

type Numbered = (u8, [u8; 32]);

fn signing_keys(
    secrets: &Secrets<'_>,
    policy: &AccessTokenPolicy,
) -> Result<(SigningKey, Vec<SigningKey>), KeyringError> {
    let mut stored = Vec::new();
    for Opened { record, secret } in secrets.of(KeyPurpose::AccessToken)? {
        let algorithm = Algorithm::from_name(&record.algorithm).ok_or(KeyringError::Unfit)?;
        stored.push(SigningKey::parse(algorithm, &secret)?);
    }
    if let (Algorithm::Hs256, Some(secret)) = (policy.algorithm, &policy.hmac_secret) {
        return Ok((SigningKey::parse(Algorithm::Hs256, secret)?, stored));
    }
    let active = stored
        .iter()
        .position(|key| key.algorithm() == policy.algorithm)
        .ok_or(KeyringError::Unfit)?;
    let signing = stored.remove(active);
    Ok((signing, stored))
}

fn mac_keys(secrets: &Secrets<'_>) -> Result<MacKeys, KeyringError> {
    let key = |(id, secret): Numbered| MacKey::new(id, &secret, TagTrust::Sound);
    let (newest, older) = secrets.numbered(KeyPurpose::RefreshToken)?;
    Ok(MacKeys::new(key(newest), older.into_iter().map(key).collect()))
}

fn csrf_keys(secrets: &Secrets<'_>) -> Result<CsrfKeys, KeyringError> {
    let (newest, older) = secrets.numbered(KeyPurpose::Csrf)?;
    Ok(CsrfKeys::new(newest, older))
}

/// Where a sealed key stands; it opens nowhere else.
fn place(purpose: KeyPurpose, id: &str) -> String {
    format!("key/{}/{id}", purpose.as_str())
}

const MAC_ALGORITHM: &str = "HMAC-SHA-256";
