//! What administrators do with the accounts of others: finding and changing them.
//!
//! Every change names who must not be changed and which role must not be lost
//! ([`AdministrationGuard`]), and is refused in the same transaction: of two administrators who
//! take each other's role at once one keeps it, and a role that is given a moment earlier counts.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditKind};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::RevocationReason;
use serde_json::{Map, Value};

use super::{PasswordHash, QueuedMail, Revoke, RevokeScope, RevokedSubject, StoreError, User};

/// The part of a store that administrators need beyond what users do.
#[async_trait]
pub trait AdministrationStore {
    /// Accounts by [`UserFilter`], in its order.
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<User>, StoreError>;

    /// Changes an account, unless the guard refuses it, and records what [`UserChange`] says;
    /// nothing where the account is so already. Another address and a password queue the notice.
    /// Sessions live on but where the account is disabled or gets a password. Sign-ins that wait
    /// for a code end where the account is enabled again or gets another address.
    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        guard: AdministrationGuard,
        context: &AuditContext,
    ) -> Result<ChangeUserOutcome, StoreError>;

    /// Ends a live session or all of a user's (`admin`), unless the user has the spared role at
    /// this moment. Records one `session.revoked` per session ended.
    async fn end_sessions(
        &self,
        subject: RevokedSubject,
        spared_role: Option<&'static str>,
        context: &AuditContext,
    ) -> Result<EndSessionsOutcome, StoreError>;
}

/// Which accounts to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFilter {
    /// In which order, and from where.
    pub order: UserOrder,
    /// Only those with this role.
    pub role: Option<String>,
    /// Only those that are disabled, or those that are not.
    pub disabled: Option<bool>,
    /// At most so many.
    pub limit: u32,
}

impl UserFilter {
    /// Every account, in the order in which they were made, from behind `after`.
    pub fn every(after: Option<UserId>, limit: u32) -> Self {
        Self { order: UserOrder::ById { after }, role: None, disabled: None, limit }
    }
}

/// In which order to list accounts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserOrder {
    /// By address: those whose [`Email::key`] begins with a text.
    ByEmail {
        /// The text, in the form of [`Email::key`].
        prefix: String,
        /// Only those behind this [`Email::key`].
        after: Option<String>,
    },
    /// By id, which is the order in which they were made.
    ById {
        /// Only those behind this one.
        after: Option<UserId>,
    },
}

/// What becomes of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange {
    /// Its user may not sign in, and every live session ends (`user_disabled`). Records
    /// `user.disabled` and one `session.revoked` per session ended.
    Disable,
    /// Its user may sign in again. Records `user.enabled`.
    Enable,
    /// It has this password: the credential version rises by one, by which its one-time tokens are
    /// dead, and every live session ends (`password_reset`). Records `password.set` and one
    /// `session.revoked` per session ended.
    Password(GivenPassword),
    /// Its record changes. Records `user.updated` with the fields that differ.
    Profile(ProfileChange),
    /// It has these roles, sorted and distinct. Records `user.roles_changed`.
    Roles(Vec<String>),
}

/// A password that somebody else sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenPassword {
    /// Its hash.
    pub hash: PasswordHash,
    /// The mail that tells the user.
    pub notice: Option<QueuedMail>,
}

/// What changes of an account's record; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// Where its user is reached. Another address is not known to be the user's, unless
    /// [`ProfileChange::email_verified`] says so.
    pub email: Option<Email>,
    /// What the user wants to be called; `Some(None)` for nothing.
    pub name: Option<Option<String>>,
    /// Whether the address is known to be the user's.
    pub email_verified: Option<bool>,
    /// What is added to the user's access tokens, all of it.
    pub claims: Option<Map<String, Value>>,
    /// The mail that tells whoever reads the address before that it is another one now.
    pub notice: Option<QueuedMail>,
}

/// What must hold for an account to be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdministrationGuard {
    /// A role that stays with somebody: who is enabled and has it neither loses it nor is disabled
    /// as the only one, nor loses the address that signs in.
    pub last_of_role: Option<KeptRole>,
    /// A role out of the caller's reach: who has it is not changed, and nobody gets it.
    pub spared_role: Option<&'static str>,
}

/// A role that stays with somebody who can act by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRole {
    /// Its name.
    pub name: &'static str,
    /// Whether only those whose address is verified can sign in, and so act by it.
    pub verified_only: bool,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeUserOutcome {
    /// The account as it is afterwards.
    Changed(User),
    /// Another account has the address.
    EmailTaken,
    /// No other user who can sign in has the role that must stay.
    LastOfRole,
    /// The account has the role that is out of reach, or would get it.
    Spared,
    /// There is no such user.
    Unmatched,
}

/// What became of ending sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndSessionsOutcome {
    /// Those that were live, and are no longer.
    Ended(Vec<SessionId>),
    /// Their user has the role that is out of reach.
    Spared,
    /// There is no such session, or no such user.
    Unmatched,
}

/// The end of what an administrator names, which the guard has let pass.
pub(super) fn ended_by_admin(subject: RevokedSubject) -> Revoke {
    let scope = match subject {
        RevokedSubject::Session(id) => RevokeScope::Session(id),
        RevokedSubject::User(id) => RevokeScope::User(id),
    };
    Revoke { scope, reason: RevocationReason::Admin, noticed: None }
}

impl KeptRole {
    /// Whether the user can act by it.
    pub(super) fn is_held_by(self, user: &User) -> bool {
        user.disabled_at.is_none()
            && user.has_role(self.name)
            && (user.email_verified || !self.verified_only)
    }
}

impl AdministrationGuard {
    /// Why the account must not be changed, if it must not. `has_other` finds out whether another
    /// user can act by a role.
    pub(super) fn refuses<E>(
        self,
        user: &User,
        change: &UserChange,
        has_other: impl FnOnce(KeptRole) -> Result<bool, E>,
    ) -> Result<Option<ChangeUserOutcome>, E> {
        let reached = |role: &str| user.has_role(role) || change.gives(role);
        if self.spared_role.is_some_and(reached) {
            return Ok(Some(ChangeUserOutcome::Spared));
        }
        let lost = |kept: &KeptRole| {
            user.disabled_at.is_none() && user.has_role(kept.name) && change.ends(*kept, user)
        };
        match self.last_of_role.filter(lost) {
            Some(kept) => Ok((!has_other(kept)?).then_some(ChangeUserOutcome::LastOfRole)),
            None => Ok(None),
        }
    }

    /// The role of which somebody else must be looked for, and kept, before the change.
    #[cfg(feature = "postgres")]
    pub(super) fn role_at_stake(self, change: &UserChange) -> Option<KeptRole> {
        self.last_of_role.filter(|kept| change.may_end(*kept))
    }
}

impl UserChange {
    fn gives(&self, role: &str) -> bool {
        match self {
            Self::Roles(roles) => roles.iter().any(|given| given == role),
            Self::Disable | Self::Enable | Self::Password(_) | Self::Profile(_) => false,
        }
    }

    /// Whether some user who has the role cannot act by it afterwards.
    fn may_end(&self, kept: KeptRole) -> bool {
        match self {
            Self::Disable => true,
            Self::Roles(_) => !self.gives(kept.name),
            Self::Profile(change) => kept.verified_only && change.may_unverify(),
            Self::Enable | Self::Password(_) => false,
        }
    }

    /// Whether this user, who has the role, cannot act by it afterwards.
    fn ends(&self, kept: KeptRole, user: &User) -> bool {
        let keeps_address = match self {
            Self::Profile(change) => {
                let after = change.applied_to(user).map(|(after, _)| after.email_verified);
                !user.email_verified || after != Some(false)
            }
            Self::Disable | Self::Enable | Self::Password(_) | Self::Roles(_) => false,
        };
        self.may_end(kept) && !keeps_address
    }
}

impl ProfileChange {
    /// Whether the address of some user is not verified afterwards.
    fn may_unverify(&self) -> bool {
        self.email_verified.map_or(self.email.is_some(), |verified| !verified)
    }

    /// The user as the change leaves them, and what is recorded of it; `None` where nothing
    /// differs.
    pub(super) fn applied_to(&self, user: &User) -> Option<(User, AuditKind)> {
        let mut after = user.clone();
        if let Some(email) = &self.email {
            let before = Email::parse(&user.email);
            let same_key = before.is_some_and(|before| before.key() == email.key());
            after.email_verified &= same_key;
            email.shown().clone_into(&mut after.email);
        }
        after.name = self.name.clone().unwrap_or(after.name);
        after.email_verified = self.email_verified.unwrap_or(after.email_verified);
        after.claims = self.claims.clone().unwrap_or(after.claims);
        let differs = [
            ("claims", after.claims != user.claims),
            ("email", after.email != user.email),
            ("emailVerified", after.email_verified != user.email_verified),
            ("name", after.name != user.name),
        ];
        let fields: Vec<_> =
            differs.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect();
        (!fields.is_empty()).then_some((after, AuditKind::UserUpdated { fields }))
    }

    /// The notice, if it is to be queued.
    pub(super) fn notice_of(&self, before: &User, after: &User) -> Option<&QueuedMail> {
        self.notice.as_ref().filter(|_| has_moved(before, after))
    }
}

/// Whether the user has another address: the same one in other letters is the same mailbox.
pub(super) fn has_moved(before: &User, after: &User) -> bool {
    let key = |user: &User| Email::parse(&user.email).map(|email| email.key().to_owned());
    key(before) != key(after)
}

/// Behind every text that begins with this one, and before all others that follow: texts are
/// ordered by their bytes, and in an address no character is larger.
pub(super) fn end_of_prefix(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_with_the_prefix_lies_before_its_end() {
        let end = end_of_prefix("ada");
        for inside in ["ada", "ada@example.org", "adaé@x", "ada\u{10fffe}"] {
            assert!("ada" <= inside && *inside < *end, "{inside}");
        }
        assert!(*"adb" > *end && *"ad" < *end);
    }
}
