//! What the store keeps of second factors, and what becomes of sign-ins that wait for a code.
//!
//! | row | there while | is |
//! | --- | --- | --- |
//! | [`Totp`] | a set-up is begun, or the factor enabled | one per user |
//! | recovery code | it is not used | a hash |
//! | [`MfaChallenge`] | a sign-in waits for its code | found by the hash of its token |
//!
//! A challenge ends with its time, its tries and its session, with any change of the credentials or
//! of the address, and where its user is disabled: it is refused from then on, and deleted when the
//! user is enabled again.
//!
//! Every change takes place under the lock of the user's row, so that of any number of requests
//! with one code, one recovery code or one challenge exactly one wins, on however many nodes.
//!
//! What users change of it themselves takes their live session at the moment of the change. A
//! set-up goes with the password that it was begun with, whoever sets another one: whoever knew
//! that must not finish it in a session that is opened with the new one.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::{SessionId, UserId};
use keyward_core::limits::{Limited, Quota, WholeAt, count, refund};
use keyward_core::second_factor::{MfaTokenHash, RecoveryCodeHash};
use keyward_core::session::AuthenticationMethod;
use keyward_core::time::Timestamp;

use super::{Account, NewSession, OpenSessionOutcome, OwnGuard, QueuedMail, StoreError, User};

/// Second factors. Part of [`Store`](super::Store), whose rules hold here.
#[async_trait]
pub trait SecondFactorStore {
    /// Begins a set-up, or begins it anew, where the [`OwnGuard`] holds. An unconfirmed secret
    /// changes nothing about the account: records nothing.
    async fn begin_totp(
        &self,
        setup: TotpSetup,
        context: &AuditContext,
    ) -> Result<BeginTotpOutcome, StoreError>;

    /// The user's authenticator app, enabled or not.
    async fn find_totp(&self, user_id: UserId) -> Result<Option<Totp>, StoreError>;

    /// Enables the app of a set-up, where its secret is still the one that the code was made with
    /// and the session is live, and gives the user these recovery codes. The credential version
    /// rises, so that a sign-in that was in flight without a code does not get through. The session
    /// that has proven both factors by this says so from now on. Records `mfa.enabled`, and queues
    /// the notice.
    async fn enable_totp(
        &self,
        enabling: EnableTotp,
        context: &AuditContext,
    ) -> Result<EnableTotpOutcome, StoreError>;

    /// Removes the second factor: app, recovery codes and challenges, and an unfinished set-up too.
    /// The credential version rises. A user's own removal takes their live session, and its proof
    /// is spent first; without one, the operator decides. Records `recovery_code.used` where it was
    /// one, then `mfa.disabled`. The mail that tells the user of it is queued with the change.
    async fn disable_totp(
        &self,
        user_id: UserId,
        removal: Option<TotpRemoval>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<DisableTotpOutcome, StoreError>;

    /// Puts these recovery codes in the place of all others, where the second factor is enabled and
    /// the [`OwnGuard`] holds. Records `recovery_codes.replaced`, and queues the notice.
    async fn replace_recovery_codes(
        &self,
        user_id: UserId,
        guard: OwnGuard,
        codes: Vec<RecoveryCodeHash>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<ReplaceCodesOutcome, StoreError>;

    /// Has a sign-in wait for its code, under the conditions of
    /// [`Store::open_session`](super::Store::open_session). The user's expired challenges go.
    /// Records `mfa.required`.
    async fn insert_mfa_challenge(
        &self,
        challenge: MfaChallenge,
        context: &AuditContext,
    ) -> Result<ChallengeOutcome, StoreError>;

    /// Counts one try at a code, before it is looked at, so that a burst of tries is limited like
    /// any other: against the user's quota, and of a challenge against its own. Nothing is counted
    /// unless both have one left.
    async fn count_mfa_try(
        &self,
        whose: MfaTry,
        quota: Option<Quota>,
        now: Timestamp,
    ) -> Result<MfaTryOutcome, StoreError>;

    /// Ends a challenge with the session that it was about: spends the proof, gives the user's try
    /// back, and opens the session as [`Store::open_session`](super::Store::open_session) does,
    /// under its conditions. Records `recovery_code.used` where it was one, and then what is
    /// recorded there.
    async fn open_mfa_session(
        &self,
        session: NewSession,
        answer: MfaAnswer,
        context: &AuditContext,
    ) -> Result<OpenMfaOutcome, StoreError>;
}

/// A user's authenticator app.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    /// The secret, sealed for this user.
    pub sealed: Vec<u8>,
    /// When the set-up began.
    pub begun_at: Timestamp,
    /// Since when codes are asked for; `None` while the set-up is not finished.
    pub confirmed_at: Option<Timestamp>,
    /// The last time step whose code was used; none up to it is good any more.
    pub last_step: Option<u64>,
    /// When the quota of tries will be whole again.
    pub tries_whole_at: Option<WholeAt>,
}

impl Totp {
    /// A set-up that has just begun.
    pub(super) fn begun(sealed: Vec<u8>, at: Timestamp) -> Self {
        Self { sealed, begun_at: at, confirmed_at: None, last_step: None, tries_whole_at: None }
    }

    /// Whether the code of this step may be used: the condition of the guarded write.
    pub(super) fn takes(&self, step: u64) -> bool {
        self.confirmed_at.is_some() && self.last_step.is_none_or(|last| last < step)
    }

    /// Counts a try.
    pub(super) fn count(&mut self, quota: Option<Quota>, now: Timestamp) -> Result<(), Limited> {
        if let Some(quota) = quota {
            self.tries_whole_at = Some(count(self.tries_whole_at, quota, now)?);
        }
        Ok(())
    }

    /// Gives a try back.
    pub(super) fn refund(&mut self, quota: Option<Quota>) {
        let kept = self.tries_whole_at.zip(quota);
        self.tries_whole_at = kept.map(|(whole_at, quota)| refund(whole_at, quota));
    }
}

/// The secret is sealed, and still nobody's business.
impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Totp")
            .field("begun_at", &self.begun_at)
            .field("confirmed_at", &self.confirmed_at)
            .finish_non_exhaustive()
    }
}

/// A set-up to be begun.
#[derive(Clone)]
pub struct TotpSetup {
    /// Whose.
    pub user_id: UserId,
    /// What was shown for it.
    pub guard: OwnGuard,
    /// The secret, sealed for this user.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for TotpSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TotpSetup").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// What became of a set-up to be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginTotpOutcome {
    /// It waits for its first code.
    Begun,
    /// The user has a second factor already; nothing happened.
    Enabled,
    /// The password that was verified is no longer the user's, or the user is gone.
    CredentialChanged,
    /// The session is not live any more; nothing happened.
    SessionEnded,
}

/// A set-up to be finished.
#[derive(Debug, Clone)]
pub struct EnableTotp {
    /// Whose.
    pub user_id: UserId,
    /// The set-up as it was read.
    pub read: Totp,
    /// The step of its first code.
    pub step: u64,
    /// The user's recovery codes.
    pub recovery_codes: Vec<RecoveryCodeHash>,
    /// The session that finishes it.
    pub session_id: SessionId,
    /// How the session's user has proven who they are by then.
    pub amr: Vec<AuthenticationMethod>,
    /// The mail that tells the user of it.
    pub notice: Option<QueuedMail>,
}

impl EnableTotp {
    /// The app as it is afterwards. `None` where the set-up is not the one that was read.
    pub(super) fn enabled(&self, present: Option<Totp>, at: Timestamp) -> Option<Totp> {
        let present = present.filter(|present| *present == self.read)?;
        present.confirmed_at.is_none().then_some(Totp {
            confirmed_at: Some(at),
            last_step: Some(self.step),
            ..present
        })
    }
}

/// What became of a set-up to be finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnableTotpOutcome {
    /// The second factor is asked for from now on; its user as of the same transaction.
    Enabled(User),
    /// The session is not live any more; nothing happened.
    SessionEnded,
    /// The set-up was replaced or finished meanwhile, or has gone with the password that it was
    /// begun with.
    SetupGone,
}

/// What a second factor is proven with. It is good once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaProof {
    /// The code of this time step was right.
    Step(u64),
    /// The user gave the recovery code with this hash, if there is one.
    RecoveryCode(RecoveryCodeHash),
}

/// A second factor that its user removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotpRemoval {
    /// The session that asks for it: the user's, and live.
    pub session_id: SessionId,
    /// What it is proven with.
    pub proof: MfaProof,
}

/// What became of a second factor to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableTotpOutcome {
    /// It is gone.
    Disabled,
    /// There is none; nothing happened.
    NotEnabled,
    /// The proof is not good, or not any more; nothing happened.
    ProofSpent,
    /// The session is not live any more; nothing happened.
    SessionEnded,
}

/// What became of recovery codes to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceCodesOutcome {
    /// The new ones are good, and they alone.
    Replaced,
    /// The session is not live any more; nothing happened.
    SessionEnded,
    /// The password that was verified is no longer the user's, or there is no second factor;
    /// nothing happened.
    Unmatched,
}

/// A sign-in whose password was right, waiting for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaChallenge {
    /// Finds it.
    pub hash: MfaTokenHash,
    /// Whose.
    pub user_id: UserId,
    /// The version of the credentials that was verified: with another one it is void.
    pub credential_version: u64,
    /// How many codes it takes yet.
    pub tries_left: u32,
    /// From when on it takes none.
    pub expires_at: Timestamp,
}

/// What became of a challenge to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeOutcome {
    /// It waits.
    Inserted {
        /// How many recovery codes the user has left.
        recovery_codes: u64,
    },
    /// The password that was verified is no longer the user's, or the user is gone.
    CredentialChanged,
    /// The user is disabled. Told only to whoever knows the present password.
    Disabled,
}

impl ChallengeOutcome {
    /// The same refusal as that of a session.
    pub(super) fn refused(by: &OpenSessionOutcome) -> Self {
        match by {
            OpenSessionOutcome::Disabled => Self::Disabled,
            OpenSessionOutcome::CredentialChanged
            | OpenSessionOutcome::Opened { .. }
            | OpenSessionOutcome::SessionEnded => Self::CredentialChanged,
        }
    }
}

/// Who tries a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaTry {
    /// A sign-in.
    Challenge(MfaTokenHash),
    /// A user who is signed in.
    User(UserId),
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MfaTryOutcome {
    /// It counts: look at the code.
    Counted {
        /// Whose code it must be.
        user_id: UserId,
        /// What it must be a code of.
        totp: Totp,
    },
    /// The user's quota is used up; nothing was counted.
    Limited(Limited),
    /// There is no such challenge, or not any more: it has expired or was used, has had its tries,
    /// or the credentials have changed. Or the user has no second factor.
    Refused,
}

/// A proof for a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MfaAnswer {
    /// The challenge.
    pub challenge: MfaTokenHash,
    /// The proof.
    pub proof: MfaProof,
    /// The quota that the try was counted against.
    pub quota: Option<Quota>,
}

/// What became of a session that a challenge was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenMfaOutcome {
    /// It is open.
    Opened {
        /// The user as of the same transaction.
        user: User,
        /// Whether other sessions ended by it.
        ended_others: bool,
    },
    /// The challenge has expired or was used, or the credentials have changed.
    ChallengeSpent,
    /// The proof is not good, or not any more; the challenge is as it was.
    ProofSpent,
    /// The user is disabled.
    Disabled,
}

impl OpenMfaOutcome {
    /// Why a challenge must not be answered, if it must not. `present` is the challenge as it is.
    pub(super) fn refusal(
        present: Option<&MfaChallenge>,
        account: &Account,
        now: Timestamp,
    ) -> Option<Self> {
        let live = present
            .filter(|challenge| challenge.user_id == account.user.id && challenge.expires_at > now);
        let Some(challenge) = live else { return Some(Self::ChallengeSpent) };
        match account.refuses(challenge.credential_version)? {
            OpenSessionOutcome::Disabled => Some(Self::Disabled),
            OpenSessionOutcome::CredentialChanged
            | OpenSessionOutcome::Opened { .. }
            | OpenSessionOutcome::SessionEnded => Some(Self::ChallengeSpent),
        }
    }
}

impl MfaChallenge {
    /// Whether it takes one more code of this account's at `now`.
    pub(super) fn takes_try(&self, account: &Account, now: Timestamp) -> bool {
        self.tries_left > 0
            && self.expires_at > now
            && account.refuses(self.credential_version).is_none()
    }
}
