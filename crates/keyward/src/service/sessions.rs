//! Sessions: refresh, verification of access tokens, sign-out, listing.

use std::time::Duration;

use keyward_core::access_token::Refusal;
use keyward_core::audit::{AuditEvent, AuditKind, RefreshRefusal};
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::{IdempotencyKey, RefreshToken, RetrySecret};
use keyward_core::rotation::{Decision, OnReuse, Presented, decide};
use keyward_core::session::{Device, RevocationReason, Session, SessionState, Swap, SwapRetry};
use keyward_core::time::Timestamp;

use super::{ClientInfo, Failure, Keyward, Tokens};
use crate::limits::AddressKey;
use crate::rejections::Rejection;
use crate::store::{
    Revoke, RevokeScope, RotateOutcome, SessionFilter, SessionOfUser, Standing, StoreError, User,
    WhichSessions,
};

/// A request that carried a good access token: session and user as they are now.
#[derive(Debug)]
pub struct Authenticated {
    /// The session that the token belongs to.
    pub session: Session,
    /// Its user.
    pub user: User,
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
    /// Reads a presented refresh token. Junk is noted, and counted against the address it came
    /// from: guessing is limited, while a good token from the same address still goes through.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidRefreshToken`], or [`Failure::RateLimited`] past the limit.
    pub fn parse_refresh_token(
        &self,
        text: &str,
        client: &ClientInfo,
    ) -> Result<RefreshToken, Failure> {
        if let Some(token) = self.read_refresh_token(text) {
            return Ok(token);
        }
        self.note_rejection(Rejection::RefreshJunk, None, client);
        self.count_guess(client)?;
        Err(Failure::InvalidRefreshToken)
    }

    /// Reads a refresh token where junk does not matter.
    pub fn read_refresh_token(&self, text: &str) -> Option<RefreshToken> {
        RefreshToken::parse(text, self.keyring.mac())
    }

    /// Whether a CSRF token belongs to this session.
    pub fn verify_csrf(&self, csrf_token: &str, session_id: SessionId) -> bool {
        self.keyring.csrf().verify(csrf_token, session_id)
    }

    /// The CSRF token of the session that a refresh token belongs to, with the session.
    ///
    /// # Errors
    ///
    /// What a refresh would say of a session that is not live; nothing is changed or recorded.
    pub async fn csrf_token(&self, token: &RefreshToken) -> Result<(String, Session), Failure> {
        let found = self.store.find_session(token.session_id()).await?;
        let Some(SessionOfUser { session, .. }) = found else {
            return Err(Failure::InvalidRefreshToken);
        };
        match session.state(self.clock.now()) {
            SessionState::Live => Ok((self.keyring.csrf().issue(session.id), session)),
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
        let retry = key.map(|key| RetrySecret::derive(token, key));
        let now = self.clock.now();
        if let Err(limited) = self.limits.refresh_session.count(token.session_id(), now) {
            self.notice_past_limit(Exchange { token, retry: retry.as_ref(), client, now }).await?;
            return Err(Failure::RateLimited(limited));
        }

        for _ in 0..READS_MAX {
            let now = self.clock.now();
            let (successor, swap) = self.prepare_swap(token, retry.as_ref(), client, now);
            let standing = match self.store.rotate(swap, &client.context(now)).await? {
                RotateOutcome::Swapped(SessionOfUser { session, user }) => {
                    return Ok(self.issue_tokens(user, session, successor, now));
                }
                RotateOutcome::Refused(standing) => standing,
            };
            let exchange = Exchange { token, retry: retry.as_ref(), client, now };
            if let Some(answer) = self.settle(exchange, standing).await? {
                return Ok(answer);
            }
        }
        Err(StoreError::Unavailable("a session changed with every read".to_owned()).into())
    }

    /// Past the limit nothing is exchanged, yet rows 9 and 10 still end the session. Otherwise a
    /// thief who uses the limit up all the time would keep the victim's token from being seen.
    async fn notice_past_limit(&self, exchange: Exchange<'_>) -> Result<(), Failure> {
        let found = self.store.find_session(exchange.token.session_id()).await?;
        let Some(SessionOfUser { session, user }) = found else { return Ok(()) };
        let (presented, policy) = (exchange.presented(), &self.policy.rotation);
        let decision = decide(Some(&session), Some(&presented), policy, exchange.now);
        if matches!(decision, Decision::Reuse | Decision::Rollback) {
            let standing = Standing { session: Some(session), user: Some(user) };
            self.settle(exchange, standing).await?;
        }
        Ok(())
    }

    /// Acts on the decision about a token that was not swapped. `None` where the store's answer was
    /// out of date by the time it was acted on: the caller asks again.
    async fn settle(
        &self,
        exchange: Exchange<'_>,
        standing: Standing,
    ) -> Result<Option<Tokens>, Failure> {
        let Exchange { token, client, now, .. } = exchange;
        let presented = exchange.presented();
        let policy = &self.policy.rotation;
        let generation = token.generation();
        match decide(standing.session.as_ref(), Some(&presented), policy, now) {
            Decision::Invalid => {
                let about = Some(token.session_id());
                self.note_rejection(Rejection::RefreshUnknownSession, about, client);
                self.count_guess(client)?;
                Err(Failure::InvalidRefreshToken)
            }
            Decision::Revoked(reason) => {
                let kind = AuditKind::RefreshAfterRevocation { reason };
                self.record_refresh(kind, exchange, &standing).await?;
                Err(Failure::SessionRevoked(reason))
            }
            Decision::Expired { spent } => {
                let reason =
                    if spent { RefreshRefusal::ExpiredAndSpent } else { RefreshRefusal::Expired };
                let kind = AuditKind::RefreshRejected { reason, count: 1 };
                self.record_refresh(kind, exchange, &standing).await?;
                Err(Failure::SessionExpired)
            }
            // The read was older than the swap that made it fail.
            Decision::Rotate => Ok(None),
            Decision::Retry => self.retry(exchange, standing).await.map(Some),
            Decision::Late | Decision::Race => {
                let kind = AuditKind::RefreshRaced { generation };
                self.record_refresh(kind, exchange, &standing).await?;
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
                let ended = self.store.revoke(revoke, &client.context(now)).await?;
                if ended.is_empty() { Ok(None) } else { Err(Failure::SessionRevoked(reason)) }
            }
        }
    }

    /// Rows 1 and 2: strangers can cause them at will, so they count against the address.
    fn count_guess(&self, client: &ClientInfo) -> Result<(), Failure> {
        let address = AddressKey::from(client.address);
        self.limits.refresh_address.count(address, self.clock.now()).map_err(Failure::RateLimited)
    }

    /// Makes the successor and everything a swap writes.
    fn prepare_swap(
        &self,
        token: &RefreshToken,
        retry: Option<&RetrySecret>,
        client: &ClientInfo,
        now: Timestamp,
    ) -> (RefreshToken, Swap) {
        // At the last generation there is no successor. Nobody gets there: a rotation each
        // microsecond would take half a million years.
        let generation = token.generation().saturating_add(1);
        let mac = self.keyring.mac();
        let successor = RefreshToken::issue(token.session_id(), generation, &self.random(), mac);
        let swap = Swap {
            session_id: token.session_id(),
            presented_hash: token.hash(),
            successor_hash: successor.hash(),
            generation,
            retry: retry.map(|secret| SwapRetry {
                proof: secret.proof(),
                sealed_successor: secret.seal(&successor, &self.random()),
            }),
            at: now,
            idle_expires_at: now.plus(self.policy.rotation.idle_ttl),
            device: client.device(),
        };
        (successor, swap)
    }

    /// Row 6: opens the successor that the last rotation sealed and hands it out again.
    async fn retry(&self, exchange: Exchange<'_>, standing: Standing) -> Result<Tokens, Failure> {
        let generation = standing.session.as_ref().map_or(0, |session| session.generation);
        let kind = AuditKind::RefreshRetried { generation };
        self.record_refresh(kind, exchange, &standing).await?;

        let SessionOfUser { session, user } = found(standing)?;
        let opened =
            exchange.retry.zip(session.sealed_successor.as_ref()).and_then(|(secret, sealed)| {
                let current = session.refresh_token_hash;
                secret.open(sealed, session.id, generation, current, self.keyring.mac())
            });
        // The proof was right, so the seal must open; where it does not, the row is damaged.
        let successor = opened.ok_or(StoreError::Inconsistent("session.sealed_successor"))?;
        Ok(self.issue_tokens(user, session, successor, exchange.now))
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
        let ended = self.store.revoke(revoke, &client.context(now)).await?;
        Ok(!ended.is_empty())
    }

    async fn record_refresh(
        &self,
        kind: AuditKind,
        exchange: Exchange<'_>,
        standing: &Standing,
    ) -> Result<(), Failure> {
        let event = AuditEvent {
            kind,
            user_id: standing.session.as_ref().map(|session| session.user_id),
            session_id: Some(exchange.token.session_id()),
        };
        let mut context = exchange.client.context(exchange.now);
        if standing.user.is_none() {
            // What is recorded of a deleted user names nobody.
            context.device = Device::default();
        }
        Ok(self.store.record(vec![(event, context)]).await?)
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
        let claims = match self.verified_tokens.verify(access_token, now) {
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
        let ended = self.store.revoke(revoke, &client.context(self.clock.now())).await?;
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
        let ended = self.store.revoke(revoke, &client.context(self.clock.now())).await?;
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
        let ended = self.store.revoke(revoke, &client.context(self.clock.now())).await?;
        if ended.is_empty() { Err(Failure::NotFound) } else { Ok(()) }
    }

    /// A user's live sessions, and those that ended lately.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn sessions(&self, user_id: UserId) -> Result<SessionsOfUser, Failure> {
        let now = self.clock.now();
        let filter = |which| SessionFilter {
            user_id: Some(user_id),
            which,
            now,
            limit: SESSIONS_LISTED_MAX,
        };
        let live = self.store.list_sessions(filter(WhichSessions::Live)).await?;
        let since = WhichSessions::EndedSince(now.minus(ENDED_SHOWN_FOR));
        let ended = self.store.list_sessions(filter(since)).await?;
        Ok(SessionsOfUser { live, ended })
    }
}

/// One presentation of a refresh token.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    token: &'a RefreshToken,
    retry: Option<&'a RetrySecret>,
    client: &'a ClientInfo,
    now: Timestamp,
}

impl Exchange<'_> {
    /// What the decision is taken from.
    fn presented(&self) -> Presented {
        Presented {
            hash: self.token.hash(),
            generation: self.token.generation(),
            trust: self.token.trust(),
            proof: self.retry.map(RetrySecret::proof),
        }
    }
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
const ENDED_SHOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many sessions of each kind are shown at most.
const SESSIONS_LISTED_MAX: u32 = 1000;
