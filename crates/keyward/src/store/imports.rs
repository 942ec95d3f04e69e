//! Accounts that come from elsewhere, and the hashes that they bring along.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use serde_json::{Map, Value};

use super::{NewUser, PasswordHash, StoreError};

/// What a store does for accounts that come from elsewhere.
#[async_trait]
pub trait ImportStore: Send + Sync {
    /// Makes any number of accounts in one transaction, in their order; an outcome for each. One
    /// that cannot be made keeps none of the others from being made, and of two that take the same
    /// address or id the first is. Records `user.registered` for each that was made.
    async fn insert_users(
        &self,
        users: Vec<ImportedUser>,
        context: &AuditContext,
    ) -> Result<Vec<ImportOutcome>, StoreError>;

    /// Puts a hash of the same password in the place of another, where that is still the user's.
    /// The credentials stay as they are, and so does their version: whoever signs in meanwhile goes
    /// on, and a password that was changed meanwhile stays changed. Records `password.rehashed`.
    /// `false`: the user has another hash or is gone, nothing was changed.
    async fn replace_hash(
        &self,
        replacement: HashReplacement,
        context: &AuditContext,
    ) -> Result<bool, StoreError>;
}

/// An account to be made with what it had elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// The account.
    pub user: NewUser,
    /// What is added to the user's access tokens.
    pub claims: Map<String, Value>,
    /// When the account was made there.
    pub created_at: Timestamp,
}

/// What became of an account to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is there.
    Inserted,
    /// This account has the address.
    EmailTaken(UserId),
    /// Another account has the id.
    IdTaken,
}

/// A hash that takes another one's place.
#[derive(Debug, Clone)]
pub struct HashReplacement {
    /// Whose.
    pub user_id: UserId,
    /// The hash that the password was verified with.
    pub from: PasswordHash,
    /// What the hash before was made with, by its name.
    pub scheme: &'static str,
    /// The hash that is to be there.
    pub to: PasswordHash,
}

impl NewUser {
    /// What is recorded of an account that was made.
    pub(super) fn registered(&self) -> AuditEvent {
        let kind = AuditKind::UserRegistered { by: self.by, roles: self.roles.clone() };
        AuditEvent::of_user(kind, self.id)
    }
}

impl HashReplacement {
    /// What is recorded of it.
    pub(super) fn rehashed(&self) -> AuditEvent {
        AuditEvent::of_user(AuditKind::PasswordRehashed { scheme: self.scheme }, self.user_id)
    }
}
