//! Bugs to be found: each takes one thing away that a promise rests on. They live here, around the
//! service, and the service has no switch for any of them.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use keyward::store::{Revoke, RotateOutcome, Store, StoreError};
use keyward_core::audit::{AuditContext, AuditKind};
use keyward_core::id::SessionId;
use keyward_core::session::Swap;

use crate::common::Answer;

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The swap happens whichever token is presented.
    UnguardedSwap,
    /// A crash loses the last commit, which was answered.
    LostCommit,
    /// A revocation says that it happened, and did not.
    LostRevocation,
    /// Reuse is noticed, and its session lives on.
    HarmlessReuse,
    /// The successor is not there for an honest retry.
    UnsealedSuccessor,
    /// The loser of a race is told to drop its cookies.
    ClearingLoser,
    /// The client makes a fresh key for a request that it sends again.
    FreshKeyOnResend,
    /// The client lets each tab send on its own, with a key of its own.
    NoLock,
}

impl Bug {
    pub(crate) async fn rotate(
        self,
        store: &dyn Store,
        mut swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        if self == Self::UnguardedSwap
            && let Some(found) = store.find_session(swap.session_id).await?
        {
            swap.presented_hash = found.session.refresh_token_hash;
        }
        let outcome = store.rotate(swap, context).await?;
        Ok(match outcome {
            RotateOutcome::Refused(mut standing) if self == Self::UnsealedSuccessor => {
                if let Some(session) = &mut standing.session {
                    session.sealed_successor = None;
                }
                RotateOutcome::Refused(standing)
            }
            outcome => outcome,
        })
    }

    pub(crate) async fn revoke(
        self,
        store: &dyn Store,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        let noticed = match &revoke.noticed {
            Some((id, AuditKind::SessionReuseDetected { .. })) => Some(*id),
            _ => None,
        };
        match (self, noticed) {
            (Self::HarmlessReuse, Some(id)) => Ok(vec![id]),
            (Self::LostRevocation, None) => Ok(Vec::new()),
            _ => store.revoke(revoke, context).await,
        }
    }

    /// What leaves the service with this bug.
    pub(crate) fn answer(self, answer: &mut Answer) {
        if self == Self::ClearingLoser && answer.status == StatusCode::CONFLICT {
            let cleared = "__Secure-refreshToken=; Path=/api/auth; Max-Age=0";
            answer.headers.append(SET_COOKIE, HeaderValue::from_static(cleared));
        }
    }
}

/// Whether this bug is the one that is planted.
pub(crate) fn is(planted: Option<Bug>, bug: Bug) -> bool {
    planted == Some(bug)
}
