//! Ending sessions, and telling others: the services that verify access tokens by themselves, and
//! those that ask.

use std::sync::Arc;

use keyward_core::access_token::{Claims, Refusal};
use keyward_core::audit::AuditContext;
use keyward_core::id::{ServiceKeyId, SessionId};
use keyward_core::session::SessionState;

use super::{Failure, Keyward};
use crate::feed::{Follower, Unfollowable};
use crate::store::{Place, Revoke, SessionOfUser, StoreError};

impl Keyward {
    /// Ends sessions, and has those who follow told at once.
    pub(super) async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        let ended = self.store.revoke(revoke, context).await?;
        if !ended.is_empty() {
            self.announce_revocation();
        }
        Ok(ended)
    }

    /// Has the revocations read at once, by this node and the others. Never waits.
    pub(super) fn announce_revocation(&self) {
        self.feed.hint();
        self.hints.send();
    }

    /// Reads what is new among the revocations of all nodes. A round of
    /// [`Keyward::run_background`].
    ///
    /// # Errors
    ///
    /// Where the store fails; what is known stays known.
    pub async fn read_revocations(&self) -> Result<(), StoreError> {
        self.feed.read().await
    }

    /// Begins to tell whoever brings this service key of revocations: of those that matter now, but
    /// for what was told before `from`, and then of each new one. For this
    /// [`Keyward::run_background`] must run; its first reading is waited for, two seconds at most.
    ///
    /// # Errors
    ///
    /// [`Failure::FeedFull`], and [`Failure::Store`] where the revocations were not read lately.
    pub async fn follow_revocations(
        &self,
        key: ServiceKeyId,
        from: Option<Place>,
    ) -> Result<Follower, Failure> {
        self.feed.first_reading().await;
        self.feed.follow(key, from).map_err(|why| match why {
            Unfollowable::Full => Failure::FeedFull,
            Unfollowable::Stale => {
                let why = "the revocations of other nodes were not read lately".to_owned();
                StoreError::Unavailable(why).into()
            }
        })
    }

    /// What an access token says, where it is good at this moment: unexpired, and its session live
    /// by what the store says now. `None` for everything else, whatever it is (RFC 7662, section
    /// 2.2). Nothing is recorded: who asks has the token from somebody else.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn introspect(&self, token: &str) -> Result<Option<Arc<Claims>>, Failure> {
        let claims = match self.verify_access_token(token).await? {
            Ok(claims) => claims,
            Err(Refusal::Expired | Refusal::Invalid) => return Ok(None),
        };
        let found = self.store.find_session(claims.sid).await?;
        let is_live = |found: SessionOfUser| {
            found.session.user_id == claims.sub
                && found.session.state(self.clock.now()) == SessionState::Live
        };
        Ok(found.is_some_and(is_live).then_some(claims))
    }
}
