//! Sessions: refresh, verification of access tokens, sign-out, listing.

use std::time::Duration;

use keyward_core::access_token::Refusal;
use keyward_core::audit::{AuditEvent, AuditKind, RefreshRefusal};
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::{IdempotencyKey, RefreshToken};
use keyward_core::rotation::{Decision, Exchange, OnReuse, SwapEntropy};
use keyward_core::session::{RevocationReason, Session, SessionState};
use keyward_core::time::Timestamp;

use super::limits::Try;
use super::metrics::name_of;
use super::presented::is_vouched_for;
use super::{ClientInfo, Failure, Keyward, Tokens};
use crate::rejections::Rejection;
use crate::store::{
    Account, OwnGuard, Revoke, RevokeScope, RotateOutcome, SessionFilter, SessionOfUser, Standing,
    StoreError, User, WhichSessions,
};

/// A request that carried a good access token: session and user as they are now.
#[derive(Debug)]
pub struct Authenticated {
    /// The session that the token belongs to.
    pub session: Session,
    /// Its user.
    pub user: User,
}

impl Authenticated {
    /// Refuses a session that has not proven the second factor of its user. One from before it was
    /// set up is still good, and must not decide over those that have.
    pub(super) fn require_own_factors(&self) -> Result<(), Failure> {
        if self.user.mfa_enabled_at.is_some() && !self.session.has_second_factor() {
            return Err(Failure::ReauthenticationRequired);
        }
        Ok(())
    }

    /// What must hold yet when the store changes the account whose password was verified.
    pub(super) fn guard(&self, account: &Account) -> OwnGuard {
        let credential_version = account.credential_version;
        OwnGuard { session_id: self.session.id, credential_version }
    }
}

/// A user's sessions.
#[derive(Debug)]
pub struct SessionsOfUser {
    /// Those that live, most recently used first.
    pub live: Vec<Session>,
    /// Those ended by decision in the last 30 days, most recently ended first.
    pub ended: Vec<Session>,
}

impl Keyward {
    /// The CSRF token of the session that a refresh token belongs to, with the session.
    ///
    /// # Errors
    ///
    /// What a refresh would say of a session that is not live; nothing is changed or recorded.
    pub async fn csrf_token(&self, token: &RefreshToken) -> Result<(String, Session), Failure> {
        let found = self.store.find_session(token.session_id()).await?;
        let believed = |found: &SessionOfUser| is_vouched_for(token, &found.session);
        let Some(SessionOfUser { session, .. }) = found.filter(believed) else {
            return Err(Failure::InvalidRefreshToken);
        };
        match session.state(self.clock.now()) {
            SessionState::Live => Ok((self.keys().csrf().issue(session.id), session)),
            SessionState::Expired => Err(Failure::SessionExpired),
            SessionState::Revoked(revocation) => Err(Failure::SessionRevoked(revocation.reason)),
        }
    }

    /// Exchanges a refresh token: the rotation protocol, from the token to the answer.
    ///
    /// The swap is tried first, in one guarded write; only where it did not happen is the decision
    /// taken, from what the store says. Nothing here decides again.
    ///
    /// # Errors
    ///
    /// One per row of [`keyward_core::rotation`] that hands out no token, [`Failure::RateLimited`]
    /// and [`Failure::Store`].
    pub async fn refresh(
        &self,
        token: &RefreshToken,
        key: Option<&IdempotencyKey>,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let exchange = &Exchange::new(token, key);
        let now = self.clock.now();
        let tries = vec![Try::RefreshSession(token.session_id())];
        if let Err(limited) = self.limits.count(tries, now).await {
            self.notice_past_limit(Refresh { exchange, client, now }).await?;
            return Err(limited.into());
        }

        for _ in 0..READS_MAX {
            let now = self.clock.now();
            let entropy = SwapEntropy { secret: self.random(), nonce: self.random() };
            let (keys, policy) = (self.keys(), &self.policy.rotation);
            let (successor, swap) =
                exchange.prepare(&entropy, keys.mac(), policy, client.device(), now);
            let standing = match self.store.rotate(swap, &client.context(now)).await? {
                RotateOutcome::Swapped(SessionOfUser { session, user }) => {
                    self.metrics.refreshes.count(name_of(Decision::Rotate));
                    return Ok(self.issue_tokens(user, session, successor, now));
                }
                RotateOutcome::Refused(standing) => standing,
            };
            let refresh = Refresh { exchange, client, now };
            if let Some(answer) = self.settle(refresh, standing).await? {
                return Ok(answer);
            }
        }
        Err(StoreError::Unavailable("a session changed with every read".to_owned()).into())
    }

    /// Past the limit nothing is exchanged, yet rows 9 and 10 still end the session. Otherwise a
    /// thief who uses the limit up all the time would keep the victim's token from being seen.
    async fn notice_past_limit(&self, refresh: Refresh<'_>) -> Result<(), Failure> {
        let Refresh { exchange, now, .. } = refresh;
        let found = self.store.find_session(exchange.token().session_id()).await?;
        let Some(SessionOfUser { session, user }) = found else { return Ok(()) };
        let decision = exchange.decide(Some(&session), &self.policy.rotation, now);
        if matches!(decision, Decision::Reuse | Decision::Rollback) {
            let standing = Standing { session: Some(session), user: Some(user) };
            self.settle(refresh, standing).await?;
        }
        Ok(())
    }

    /// Decides about a token that was not swapped, and acts on that. `None` where the store's
    /// answer was out of date by the time it was acted on: the caller asks again.
    async fn settle(
        &self,
        refresh: Refresh<'_>,
        standing: Standing,
    ) -> Result<Option<Tokens>, Failure> {
        let Refresh { exchange, now, .. } = refresh;
        let decision = exchange.decide(standing.session.as_ref(), &self.policy.rotation, now);
        let settled = self.act_on(decision, refresh, standing).await;
        if !matches!(settled, Ok(None) | Err(Failure::Store(_))) {
            self.metrics.refreshes.count(name_of(decision));
        }
        settled
    }

    async fn act_on(
        &self,
        decision: Decision,
        refresh: Refresh<'_>,
        standing: Standing,
    ) -> Result<Option<Tokens>, Failure> {
        let Refresh { exchange, client, now } = refresh;
        let token = exchange.token();
        let generation = token.generation();
        match decision {
            Decision::Invalid => {
                let about = Some(token.session_id());
                self.note_rejection(Rejection::RefreshUnknownSession, about, client);
                self.count_guess(client).await?;
                Err(Failure::InvalidRefreshToken)
            }
            Decision::Revoked(reason) => {
                let kind = AuditKind::RefreshAfterRevocation { reason };
                self.record_refresh(kind, refresh, &standing).await?;
                Err(Failure::SessionRevoked(reason))
            }
            Decision::Expired { spent } => {
                let reason =
                    if spent { RefreshRefusal::ExpiredAndSpent } else { RefreshRefusal::Expired };
                let kind = AuditKind::RefreshRejected { reason, count: 1 };
                self.record_refresh(kind, refresh, &standing).await?;
                Err(Failure::SessionExpired)
            }
            // The read was older than the swap that made it fail.
            Decision::Rotate => Ok(None),
            Decision::Retry => self.retry(refresh, standing).await.map(Some),
            Decision::Late | Decision::Race => {
                let kind = AuditKind::RefreshRaced { generation };
                self.record_refresh(kind, refresh, &standing).await?;
                Err(Failure::RefreshRace)
            }
            Decision::Reuse => {
                let session = found(standing)?.session;
                let current_generation = session.generation;
                let kind = AuditKind::SessionReuseDetected { generation, current_generation };
                let ended = self.end_reused(&session, kind, client, now).await?;
                if ended { Err(Failure::RefreshTokenReused) } else { Ok(None) }
            }
            Decision::Rollback => {
                let session = found(standing)?.session;
                let stored_generation = session.generation;
                let kind = AuditKind::RefreshAheadOfStore { generation, stored_generation };
                let reason = RevocationReason::StoreRollback;
                let scope = RevokeScope::Session(session.id);
                let revoke = Revoke { scope, reason, noticed: Some((session.id, kind)) };
                let ended = self.revoke(revoke, &client.context(now)).await?;
                if ended.is_empty() { Ok(None) } else { Err(Failure::SessionRevoked(reason)) }
            }
        }
    }

    /// Rows 1 and 2: strangers can cause them at will, so they count against the address.
    pub(super) async fn count_guess(&self, client: &ClientInfo) -> Result<(), Failure> {
        let tries = vec![Try::RefreshAddress(client.address.into())];
        let _kept = self.limits.count(tries, self.clock.now()).await?;
        Ok(())
    }

    /// Row 6: opens the successor that the last rotation sealed and hands it out again.
    async fn retry(&self, refresh: Refresh<'_>, standing: Standing) -> Result<Tokens, Failure> {
        let generation = standing.session.as_ref().map_or(0, |session| session.generation);
        let kind = AuditKind::RefreshRetried { generation };
        self.record_refresh(kind, refresh, &standing).await?;

        let SessionOfUser { session, user } = found(standing)?;
        let mut opened = refresh.exchange.open_successor(&session, self.keys().mac());
        if opened.is_none() {
            // Another process may have tagged it with a key that was not read here yet.
            self.keyring.read(refresh.now).await?;
            opened = refresh.exchange.open_successor(&session, self.keys().mac());
        }
        // The proof was right, so the seal must open; where it does not, the row is damaged.
        let successor = opened.ok_or(StoreError::Inconsistent("session.sealed_successor"))?;
        Ok(self.issue_tokens(user, session, successor, refresh.now))
    }

    /// Row 9: ends the session, or every session of its user. `false` where it had ended meanwhile.
    async fn end_reused(
        &self,
        session: &Session,
        kind: AuditKind,
        client: &ClientInfo,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let scope = match self.policy.rotation.on_reuse {
            OnReuse::Session => RevokeScope::Session(session.id),
            OnReuse::User => RevokeScope::User(session.user_id),
        };
        let revoke = Revoke {
            scope,
            reason: RevocationReason::ReuseDetected,
            noticed: Some((session.id, kind)),
        };
        let ended = self.revoke(revoke, &client.context(now)).await?;
        Ok(!ended.is_empty())
    }

    async fn record_refresh(
        &self,
        kind: AuditKind,
        refresh: Refresh<'_>,
        standing: &Standing,
    ) -> Result<(), Failure> {
        let event = AuditEvent {
            kind,
            user_id: standing.session.as_ref().map(|session| session.user_id),
            session_id: Some(refresh.exchange.token().session_id()),
        };
        Ok(self.store.record(vec![(event, refresh.client.context(refresh.now))]).await?)
    }

    /// Verifies an access token and reads its session and user afresh: a token of an ended session
    /// is refused at once, whatever its age.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidToken`], [`Failure::TokenExpired`], [`Failure::TokenRevoked`] and
    /// [`Failure::Store`].
    pub async fn authenticate(
        &self,
        access_token: &str,
        client: &ClientInfo,
    ) -> Result<Authenticated, Failure> {
        let now = self.clock.now();
        let claims = match self.verify_access_token(access_token).await? {
            Ok(claims) => claims,
            Err(Refusal::Expired) => return Err(Failure::TokenExpired),
            Err(Refusal::Invalid) => {
                self.note_rejection(Rejection::AccessToken, None, client);
                return Err(Failure::InvalidToken);
            }
        };
        let found = self.store.find_session(claims.sid).await?;
        let live = found.filter(|found| found.session.user_id == claims.sub);
        let Some(SessionOfUser { session, user }) = live else {
            // The session may be a deleted user's: an address beside its id would name somebody.
            self.note_rejection(Rejection::AccessToken, None, client);
            return Err(Failure::TokenRevoked);
        };
        match session.state(now) {
            SessionState::Live => Ok(Authenticated { session, user }),
            SessionState::Expired => Err(Failure::TokenExpired),
            SessionState::Revoked(_) => {
                self.note_rejection(Rejection::AccessToken, Some(claims.sid), client);
                Err(Failure::TokenRevoked)
            }
        }
    }

    /// Ends one session because its user signs out of it. Answers whether it was live.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn logout(&self, id: SessionId, client: &ClientInfo) -> Result<bool, Failure> {
        let reason = RevocationReason::Logout;
        let revoke = Revoke { scope: RevokeScope::Session(id), reason, noticed: None };
        let ended = self.revoke(revoke, &client.context(self.clock.now())).await?;
        Ok(!ended.is_empty())
    }

    /// Ends every session of a user and answers how many were live.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn logout_all(&self, user_id: UserId, client: &ClientInfo) -> Result<usize, Failure> {
        let reason = RevocationReason::LogoutAll;
        let revoke = Revoke { scope: RevokeScope::User(user_id), reason, noticed: None };
        let ended = self.revoke(revoke, &client.context(self.clock.now())).await?;
        Ok(ended.len())
    }

    /// Ends one of a user's sessions from another one.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where it is not live or not this user's, [`Failure::Store`].
    pub async fn end_session(
        &self,
        id: SessionId,
        user_id: UserId,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        let scope = RevokeScope::SessionOf(id, user_id);
        let revoke = Revoke { scope, reason: RevocationReason::Logout, noticed: None };
        let ended = self.revoke(revoke, &client.context(self.clock.now())).await?;
        if ended.is_empty() { Err(Failure::NotFound) } else { Ok(()) }
    }

    /// A user's live sessions, and those that ended lately.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn sessions(&self, user_id: UserId) -> Result<SessionsOfUser, Failure> {
        let now = self.clock.now();
        let filter = |which, limit| SessionFilter { user_id: Some(user_id), which, now, limit };
        // None that lives may be missing: it could be the thief's.
        let live_max = self.policy.accounts.sessions_max.max(SESSIONS_LISTED_MAX);
        let live = self.store.list_sessions(filter(WhichSessions::Live, live_max)).await?;
        let since = WhichSessions::EndedSince(now.minus(ENDED_SHOWN_FOR));
        let ended = self.store.list_sessions(filter(since, SESSIONS_LISTED_MAX)).await?;
        Ok(SessionsOfUser { live, ended })
    }
}

/// An exchange that is tried at one moment, and who asks for it.
#[derive(Clone, Copy)]
struct Refresh<'a> {
    exchange: &'a Exchange<'a>,
    client: &'a ClientInfo,
    now: Timestamp,
}

/// Session and user where a decision cannot be without them: only a deleted user's session has no
/// user, and that one is revoked.
fn found(standing: Standing) -> Result<SessionOfUser, StoreError> {
    match (standing.session, standing.user) {
        (Some(session), Some(user)) => Ok(SessionOfUser { session, user }),
        (Some(_), None) => Err(StoreError::Inconsistent("session.user_id")),
        (None, _) => Err(StoreError::Inconsistent("session.id")),
    }
}

/// How often a refresh reads again when the store's answer was out of date.
const READS_MAX: usize = 4;

/// How long an ended session is shown to its user.
pub(super) const ENDED_SHOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many ended sessions are shown at most; of live ones more, where a user may have more.
const SESSIONS_LISTED_MAX: u32 = 1000;
