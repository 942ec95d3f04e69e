//! Rows of one reading, and the secrets that the master key has opened.

use std::sync::Arc;

use keyward_core::access_token::Algorithm;
use keyward_core::keys::{KeyPurpose, KeyRecord, MasterKey, SigningKey, UnfitKey};
use zeroize::Zeroizing;

use super::KeyringError;

/// The stored keys, as they were read, with the secrets of those that open.
pub(super) struct Opened {
    rows: Vec<KeyRecord>,
    /// One per row. `None`: sealed with another master key.
    secrets: Vec<Option<Secret>>,
    /// The first purpose of which a row does not open with the master key at hand.
    sealed: Option<KeyPurpose>,
}

/// The secret half of a key.
#[derive(Clone)]
pub(super) enum Secret {
    /// Of a key that signs access tokens.
    Signing(Arc<SigningKey>),
    /// Of a key that has a number.
    Numbered(u8, Zeroizing<[u8; 32]>),
}

impl Opened {
    /// Opens every row.
    pub(super) fn all(rows: Vec<KeyRecord>, master_key: &MasterKey) -> Result<Self, KeyringError> {
        let secrets = rows.iter().map(|row| open(row, master_key).map(Some));
        Ok(Self { secrets: secrets.collect::<Result<_, _>>()?, rows, sealed: None })
    }

    /// Opens the rows of a later reading. One that does not open, but was opened before, keeps its
    /// secret: under a master key that was replaced the service goes on with what it holds.
    pub(super) fn succeeded_by(&self, rows: Vec<KeyRecord>, master_key: &MasterKey) -> Self {
        let mut sealed = None;
        let mut secrets = Vec::with_capacity(rows.len());
        for row in &rows {
            secrets.push(match open(row, master_key) {
                Ok(secret) => Some(secret),
                Err(_) => {
                    sealed = sealed.or(Some(row.purpose));
                    self.secret_of(row)
                }
            });
        }
        if sealed.is_some() {
            tracing::error!(
                "keys in the store are sealed with another master key and newer ones cannot be \
                 read: start this service again with the master key that seals them now"
            );
        }
        Self { rows, secrets, sealed }
    }

    /// The rows as they were read.
    pub(super) fn rows(&self) -> &[KeyRecord] {
        &self.rows
    }

    /// The rows whose secrets are there.
    pub(super) fn usable(&self) -> impl Iterator<Item = (&KeyRecord, &Secret)> {
        self.rows
            .iter()
            .zip(&self.secrets)
            .filter_map(|(row, secret)| Some((row, secret.as_ref()?)))
    }

    /// The purposes of rows whose secrets are not here: sealed with another master key before they
    /// were ever opened.
    pub(super) fn missing(&self) -> impl Iterator<Item = KeyPurpose> {
        let rows = self.rows.iter().zip(&self.secrets);
        rows.filter(|(_, secret)| secret.is_none()).map(|(row, _)| row.purpose)
    }

    /// Whether the key is among the rows, be it in use or not. An error where it is, but does not
    /// open here: then nothing that it made may be called junk.
    pub(super) fn knows(&self, purpose: KeyPurpose, id: &str) -> Result<bool, KeyringError> {
        let mut rows = self.rows.iter().zip(&self.secrets);
        match rows.find(|(row, _)| row.purpose == purpose && row.id == id) {
            Some((_, None)) => Err(KeyringError::Sealed { purpose: purpose.as_str() }),
            Some((_, Some(_))) => Ok(true),
            None => Ok(false),
        }
    }

    /// Whether the master key at hand opens every row.
    pub(super) fn require_all(&self) -> Result<(), KeyringError> {
        match self.sealed {
            Some(purpose) => Err(KeyringError::Sealed { purpose: purpose.as_str() }),
            None => Ok(()),
        }
    }

    fn secret_of(&self, row: &KeyRecord) -> Option<Secret> {
        let is_same = |other: &KeyRecord| {
            (other.purpose, &other.id, other.created_at) == (row.purpose, &row.id, row.created_at)
        };
        self.usable().find(|(other, _)| is_same(other)).map(|(_, secret)| secret.clone())
    }
}

/// Where a sealed key stands; it opens nowhere else.
pub(super) fn place(purpose: KeyPurpose, id: &str) -> String {
    format!("key/{}/{id}", purpose.as_str())
}

fn open(row: &KeyRecord, master_key: &MasterKey) -> Result<Secret, KeyringError> {
    let bytes = master_key
        .open(&row.sealed, &place(row.purpose, &row.id))
        .map_err(|UnfitKey| KeyringError::Sealed { purpose: row.purpose.as_str() })?;
    match row.purpose {
        KeyPurpose::AccessToken => {
            let algorithm = Algorithm::from_name(&row.algorithm).ok_or(KeyringError::Unfit)?;
            Ok(Secret::Signing(Arc::new(SigningKey::parse(algorithm, &bytes)?)))
        }
        KeyPurpose::Csrf | KeyPurpose::RefreshToken | KeyPurpose::SecondFactor => {
            let number = row.id.parse().map_err(|_| KeyringError::Unfit)?;
            let bytes = bytes.as_slice().try_into().map_err(|_| KeyringError::Unfit)?;
            Ok(Secret::Numbered(number, Zeroizing::new(bytes)))
        }
    }
}
