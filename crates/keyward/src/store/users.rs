//! What the store keeps of users, and what becomes of those to be made.

use std::fmt;

use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::time::Timestamp;
use serde_json::{Map, Value};

use super::{MailedToken, OpenSessionOutcome};

/// A user as the service sees it: everything but the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names the user everywhere.
    pub id: UserId,
    /// The address as it was given.
    pub email: String,
    /// What the user wants to be called.
    pub name: Option<String>,
    /// Roles, sorted and distinct.
    pub roles: Vec<String>,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
    /// What is added to the user's access tokens.
    pub claims: Map<String, Value>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Since when the user may not sign in.
    pub disabled_at: Option<Timestamp>,
    /// When the user last signed in.
    pub last_login_at: Option<Timestamp>,
    /// When the user last signed out everywhere.
    pub last_logout_at: Option<Timestamp>,
    /// Since when the user signs in with a second factor.
    pub mfa_enabled_at: Option<Timestamp>,
}

/// A user with what a sign-in is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// The hash of the password.
    pub password_hash: PasswordHash,
    /// Rises with each change of credentials; guards sign-ins that are in flight.
    pub credential_version: u64,
}

/// On whose word users change their own account. Both must still hold when the change commits: a
/// request that is on its way must not outlive what has ended its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnGuard {
    /// The session that asks for it: the user's, and live.
    pub session_id: SessionId,
    /// The version of the credentials that was verified.
    pub credential_version: u64,
}

impl User {
    /// Whether the user has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

impl Account {
    /// Why a sign-in that verified this version of the credentials must not go on, if it must not.
    /// Whoever does not know the present password does not learn that the user is disabled.
    pub(super) fn refuses(&self, credential_version: u64) -> Option<OpenSessionOutcome> {
        if self.credential_version != credential_version {
            Some(OpenSessionOutcome::CredentialChanged)
        } else if self.user.disabled_at.is_some() {
            Some(OpenSessionOutcome::Disabled)
        } else {
            None
        }
    }
}

/// A password hash in PHC string form, or as the system wrote it that it comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash as the pool made or took it, or a store holds it.
    pub fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The PHC string.
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The address.
    pub email: Email,
    /// What the user wants to be called.
    pub name: Option<String>,
    /// Roles, sorted and distinct.
    pub roles: Vec<String>,
    /// The hash of the password.
    pub password_hash: PasswordHash,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
    /// Who makes it.
    pub by: RegisteredBy,
    /// The mail by which the user shows that the address is theirs.
    pub verification: Option<MailedToken>,
}

/// What became of an account to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertUserOutcome {
    /// It is there.
    Inserted(User),
    /// Another account has this address; nothing happened.
    EmailTaken,
}
