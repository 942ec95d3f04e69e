//! The contract between the service and its stores: use cases, not tables.
//!
//! Rules for every implementation, tested by [`contract`] on all of them:
//!
//! - Each method that changes state is one transaction: the change and its audit events commit
//!   together or not at all, and are durable when the method returns. [`RevokeScope::All`] alone
//!   may take several.
//! - Each change names what it expects (`WHERE`); the rows it touched are the answer.
//! - Absence is `None`, `false` or an outcome; [`StoreError`] is for a system that failed.
//! - Time comes from the caller's [`AuditContext`]; a store has no clock.
//! - Whatever ends a session, or disables or deletes a user, also writes the outbox that
//!   [`Store::list_revocations`] reads.
//! - Events are recorded in the order in which the comments name them. Where several sessions end,
//!   their events follow the order of their ids, and so does the answer.
//!
//! To add a use case: a method here with its odd cases in the comment, a test in [`contract`], a
//! call in [`layer`], then one implementation per store.

mod administration;
mod chain;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(feature = "postgres")]
pub mod copy;
mod deletion;
mod filters;
mod imports;
mod keys;
pub mod layer;
mod load;
mod mail;
mod memory;
mod metered;
mod migration;
#[cfg(feature = "postgres")]
pub mod postgres;
mod purge;
mod revocations;
mod second_factor;
mod sessions;
mod sqlite;
mod statistics;
mod stored;
mod unlocking;
mod users;

use std::fmt;

use async_trait::async_trait;
use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Session, Swap};
use keyward_core::time::Timestamp;

pub use administration::{
    AdministrationGuard, AdministrationStore, ChangeUserOutcome, EndSessionsOutcome, GivenPassword,
    KeptRole, ProfileChange, UserChange, UserFilter, UserOrder,
};
pub use chain::{ChainStore, UnsealedPage};
pub use deletion::{DeleteGuard, DeleteUserOutcome};
pub use filters::{AuditFilter, AuditOrder, SessionFilter, WhichSessions};
pub use imports::{HashReplacement, ImportOutcome, ImportStore, ImportedUser};
pub use keys::{KeyRotation, Resealed};
pub use keyward_core::keys::{KeyPurpose, KeyRecord};
pub use load::{Commits, Connections, LoadStore, StoreLoad};
pub use mail::{
    ClaimedMail, MailClaim, MailFate, MailStore, MailedToken, PasswordReset, QueuedMail,
    ResetOutcome,
};
pub use memory::MemoryStore;
pub(crate) use metered::Metered;
pub use migration::Migration;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresSettings, PostgresStore};
pub use purge::{Purge, Purged};
pub use revocations::{
    InvalidPlace, Place, RevocationCursor, RevocationPage, Revoked, RevokedSubject,
};
pub use second_factor::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaProof, MfaTry, MfaTryOutcome, OpenMfaOutcome, ReplaceCodesOutcome,
    SecondFactorStore, Totp, TotpRemoval, TotpSetup,
};
pub use sessions::{
    NewSession, OpenSessionOutcome, Revoke, RevokeScope, RotateOutcome, SessionOfUser, Standing,
};
#[cfg(feature = "postgres")]
pub use sqlite::Reopened;
pub use sqlite::SqliteStore;
pub use statistics::{EventCount, HourCount, Population, StatisticsStore};
pub use unlocking::{UnlockStore, UnlockedAccount};
pub use users::{Account, InsertUserOutcome, NewUser, OwnGuard, PasswordHash, User};

/// Everything the service needs kept.
#[async_trait]
pub trait Store:
    AdministrationStore
    + ChainStore
    + ImportStore
    + LoadStore
    + MailStore
    + SecondFactorStore
    + StatisticsStore
    + UnlockStore
    + Send
    + Sync
    + fmt::Debug
{
    /// Makes an account, and with it the first session where a user registers by themselves.
    ///
    /// Records `user.registered`, and for the session what [`Store::open_session`] records but for
    /// `login.succeeded`. Sets no `last_login_at`. Addresses compare by
    /// [`keyward_core::email::Email::key`]. Issues [`NewUser::verification`] as
    /// [`MailStore::issue_token`] does.
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError>;

    /// The account with this [`keyward_core::email::Email::key`].
    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError>;

    /// The account with this id.
    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Sets the user's name. Records `user.updated`; nothing where the name is so already.
    /// `None`: no such user.
    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError>;

    /// Deletes the user and whatever is personal: the account row goes, its sessions are ended
    /// (`user_deleted`) and lose address and browser, and so do its audit events, the ones recorded
    /// here included. Records `user.deleted` and one `session.revoked` per session ended.
    ///
    /// Nothing happens unless the [`DeleteGuard`] holds in the same transaction, its session too.
    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError>;

    /// Opens a session for a user whose password was verified.
    ///
    /// Locks the user row and opens nothing unless the user is enabled and the credential version
    /// is the verified one, so that a sign-in in flight does not survive a password change. Sets
    /// `last_login_at`. Ends [`NewSession::supersedes`] where that is live, whoever's it is
    /// (`superseded`), and then the sessions longest unused beyond [`NewSession::sessions_max`]
    /// (`too_many`), never the new one. Records `login.succeeded` and `session.created`, both with
    /// the new session's id, and one `session.revoked` per session ended. Queues
    /// [`NewSession::notice`].
    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError>;

    /// Sets a new password hash, ends every live session of the user (`password_changed`), then
    /// [`NewSession::supersedes`] where that is still live (another user's), and opens a new one,
    /// under the same conditions as [`Store::open_session`] and where the session that asks for it
    /// is live; the credential version rises by one, and a set-up of a second factor that is not
    /// finished goes. Records `password.changed`, `session.created` and one `session.revoked` per
    /// session ended. Queues the notice. Sets no `last_login_at`.
    ///
    /// This, a reset, a password that somebody else sets, a disabling and a deletion end what has
    /// timed out of the user's sessions as well, without a word in the log: an exchange that began
    /// before the timeout brings none of them back.
    async fn change_password(
        &self,
        session: NewSession,
        guard: OwnGuard,
        password_hash: PasswordHash,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError>;

    /// Exchanges a refresh token: carries out [`Session::rotate`] where [`Session::accepts`] holds,
    /// in one guarded write, and records `session.refreshed`. Either way answers the session as it
    /// is afterwards, and its user. But the loser of a race may be answered the session as it was
    /// before, where a store reads from a snapshot: then [`Session::accepts`] still holds of it,
    /// the answer says nothing, and the caller asks again.
    ///
    /// Of any number of concurrent swaps that present one token exactly one happens.
    async fn rotate(&self, swap: Swap, context: &AuditContext)
    -> Result<RotateOutcome, StoreError>;

    /// A session and its user, live or not. `None`: no such session. A session whose user was
    /// deleted is answered by [`Store::rotate`] only.
    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError>;

    /// Sessions by [`SessionFilter`]: live ones most recently used first, ended ones most recently
    /// ended first.
    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError>;

    /// Ends live sessions and answers which, each recorded as [`Revoke`] says. Sessions that have
    /// timed out or were ended before are left as they are, but for [`RevokeScope::All`] and
    /// [`RevokeScope::User`], which end what has timed out as well, without a word in the log: as
    /// [`Store::change_password`] says.
    ///
    /// [`RevokeScope::All`] may take many transactions, each of which ends some of the sessions and
    /// records it. Where it fails, what was ended stays so: the caller asks again for the rest. A
    /// session that is opened meanwhile may stay.
    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// The outbox: each session that was ended, and each user who was disabled or deleted, from
    /// behind `after`, at most `limit` of them. Whatever ends a session writes it in the same
    /// transaction. A limit is 1 at least.
    ///
    /// Reading on from cursor to cursor gives every revocation once, in whatever order transactions
    /// commit; what was committed before a reading began is part of it. Only where the store cannot
    /// vouch for the cursor any more it begins anew. Of revocations older than an access token can
    /// be some may be gone.
    async fn list_revocations(
        &self,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Result<RevocationPage, StoreError>;

    /// Records events that belong to no change of state, in one transaction and in their order. An
    /// event about a user who is gone, by id or by session, says nothing of where it came from, but
    /// for what others did: the request was on its way when they were deleted. A deletion that is
    /// under way is waited for, or waits.
    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError>;

    /// Audit events by [`AuditFilter`]. Where several processes write, an event may be committed
    /// shortly after one with a higher id.
    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Every key, oldest first; by purpose and id where they are of one age.
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// Inserts a key where the newest of its purpose is still the one that it replaces. Deletes the
    /// keys that are gone, and marks all others of the purpose as compromised, as of the context's
    /// time, where the rotation says so; a mark that is there stays. Records `key.rotated`, but for
    /// the first key of a purpose. `false`: another process was first, nothing was changed.
    ///
    /// Of any number of concurrent rotations that replace one key exactly one happens.
    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError>;

    /// Gives every key another seal, where the keys are exactly these, and appends the checkpoint
    /// that hands the chain over the audit log over. Records `key.rotated` of the master key.
    /// `false`: the keys have changed since they were read, or the number of the checkpoint is
    /// taken; nothing was changed.
    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> Result<bool, StoreError>;

    /// Inserts a service key, whose id and hash are new. Records `service_key.created`.
    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError>;

    /// The service key with this hash, live or not.
    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError>;

    /// Every service key in the order of their ids.
    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError>;

    /// Revokes a service key for good and answers it. Records `service_key.revoked`; nothing where
    /// the key is revoked already. `None`: no such key.
    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError>;

    /// Deletes some of what [`Purge`] names, at most `limit` rows; nobody who works with anything
    /// else is kept waiting. Several processes may do so at once.
    async fn purge(
        &self,
        purge: Purge,
        limit: u32,
        context: &AuditContext,
    ) -> Result<Purged, StoreError>;

    /// Makes what the audit log needs in the coming months; nothing where that is there.
    async fn prepare_audit(&self) -> Result<(), StoreError>;

    /// Whether the store can be written to right now. Answers the time by the clock of its server;
    /// `None` where it has none besides this machine's.
    async fn ping(&self) -> Result<Option<Timestamp>, StoreError>;
}

/// A store that failed. Nothing was changed, unless the commit itself was lost on the way back: the
/// caller must not tell the client that nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// A row holds what no code of ours writes. Says which table and column, never the value.
    Inconsistent(&'static str),
    /// It cannot be reached, is full, read-only, locked for too long or has too much to do. The
    /// text is for the operator's log.
    Unavailable(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconsistent(place) => write!(f, "the store holds an inconsistent {place}"),
            Self::Unavailable(why) => write!(f, "the store is unavailable: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
