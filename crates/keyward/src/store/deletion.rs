//! Whether an account may be deleted.

use keyward_core::audit::{Actor, AuditContext};
use keyward_core::id::UserId;
use keyward_core::session::Device;

use super::{Account, KeptRole, OwnGuard};

/// What must hold for an account to be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteGuard {
    /// What a user has shown who deletes their own account.
    pub own: Option<OwnGuard>,
    /// A role that stays with somebody: who is enabled and has it must not be the only one.
    pub last_of_role: Option<KeptRole>,
    /// A role out of the caller's reach: who has it is not deleted.
    pub spared_role: Option<&'static str>,
}

impl DeleteGuard {
    /// Why the account must not be deleted, if it must not, but for the session. `has_other` finds
    /// out whether another user can act by a role.
    pub(super) fn refuses<E>(
        self,
        account: &Account,
        has_other: impl FnOnce(KeptRole) -> Result<bool, E>,
    ) -> Result<Option<DeleteUserOutcome>, E> {
        let version = account.credential_version;
        if self.own.is_some_and(|own| own.credential_version != version) {
            return Ok(Some(DeleteUserOutcome::Unmatched));
        }
        if self.spared_role.is_some_and(|role| account.user.has_role(role)) {
            return Ok(Some(DeleteUserOutcome::Spared));
        }
        let user = &account.user;
        let held = |kept: &KeptRole| user.disabled_at.is_none() && user.has_role(kept.name);
        match self.last_of_role.filter(held) {
            Some(kept) => Ok((!has_other(kept)?).then_some(DeleteUserOutcome::LastOfRole)),
            None => Ok(None),
        }
    }
}

/// What became of an account to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteUserOutcome {
    /// It is gone.
    Deleted,
    /// No other user who can sign in has the role.
    LastOfRole,
    /// The session that asked for it is not live any more.
    SessionEnded,
    /// The account has the role that is out of reach.
    Spared,
    /// There is no such user, or the credentials have changed.
    Unmatched,
}

/// What events of the deletion, and those that come after it, say of where it came from: nothing
/// where the user did it, since that is personal; all where somebody else did, who has to answer
/// for it.
pub(super) fn context_of_deletion(context: &AuditContext, id: UserId) -> AuditContext {
    match context.actor {
        Some(Actor::ServiceKey(_)) => context.clone(),
        Some(Actor::User(actor)) if actor != id => context.clone(),
        Some(Actor::User(_)) | None => {
            AuditContext { device: Device::default(), ..context.clone() }
        }
    }
}
