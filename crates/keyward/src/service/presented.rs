//! What requests present: refresh, CSRF and access tokens, read with the keys that are held. Where
//! a token names another key, that is looked for before the token is judged.

use std::sync::Arc;

use keyward_core::access_token::{Claims, Refusal, claimed_key};
use keyward_core::csrf::CsrfKeys;
use keyward_core::id::SessionId;
use keyward_core::keys::KeyPurpose;
use keyward_core::refresh_token::{RefreshToken, TagTrust};
use keyward_core::rotation::Decision;
use keyward_core::session::Session;

use super::metrics::name_of;
use super::{ClientInfo, Failure, Keyward};
use crate::rejections::Rejection;

impl Keyward {
    /// Reads a presented refresh token. Junk is noted, and counted against the address it came
    /// from: guessing is limited, while a good token from the same address still goes through.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidRefreshToken`], or [`Failure::RateLimited`] past the limit.
    pub async fn parse_refresh_token(
        &self,
        text: &str,
        client: &ClientInfo,
    ) -> Result<RefreshToken, Failure> {
        if let Some(token) = self.read_refresh_token(text).await? {
            return Ok(token);
        }
        self.note_rejection(Rejection::RefreshJunk, None, client);
        self.metrics.refreshes.count(name_of(Decision::Invalid));
        self.count_guess(client).await?;
        Err(Failure::InvalidRefreshToken)
    }

    /// Reads a refresh token where junk does not matter.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`] where the token may be of a new key that cannot be read.
    pub async fn read_refresh_token(&self, text: &str) -> Result<Option<RefreshToken>, Failure> {
        let keys = self.keys();
        let token = RefreshToken::parse(text, keys.mac());
        if token.is_some() {
            return Ok(token);
        }
        let claimed = RefreshToken::claimed_key(text);
        let may_miss = |id: &u8| !keys.mac().has(*id) || keys.may_miss(KeyPurpose::RefreshToken);
        let Some(id) = claimed.filter(may_miss) else { return Ok(None) };
        self.look_for_key(KeyPurpose::RefreshToken, &id.to_string()).await?;
        Ok(RefreshToken::parse(text, self.keys().mac()))
    }

    /// Whether a CSRF token belongs to this session.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`] where the token may be of a new key that cannot be read.
    pub async fn verify_csrf(
        &self,
        csrf_token: &str,
        session_id: SessionId,
    ) -> Result<bool, Failure> {
        let keys = self.keys();
        if keys.csrf().verify(csrf_token, session_id) {
            return Ok(true);
        }
        let claimed = CsrfKeys::claimed_key(csrf_token);
        let may_miss = |id: &u8| !keys.csrf().has(*id) || keys.may_miss(KeyPurpose::Csrf);
        let Some(id) = claimed.filter(may_miss) else { return Ok(false) };
        self.look_for_key(KeyPurpose::Csrf, &id.to_string()).await?;
        Ok(self.keys().csrf().verify(csrf_token, session_id))
    }

    /// Whether a refresh token names its session beyond doubt. The tag of a compromised key alone
    /// does not, since others may have made it: the token must be one that the session remembers.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn vouches(&self, token: &RefreshToken) -> Result<bool, Failure> {
        if token.trust() == TagTrust::Sound {
            return Ok(true);
        }
        let found = self.store.find_session(token.session_id()).await?;
        Ok(found.is_some_and(|found| is_vouched_for(token, &found.session)))
    }

    /// Verifies an access token. The outer error is the store's: it says nothing about the token.
    pub(super) async fn verify_access_token(
        &self,
        token: &str,
    ) -> Result<Result<Arc<Claims>, Refusal>, Failure> {
        let keys = self.keys();
        let verdict = keys.verified_tokens().verify(token, self.clock.now());
        if verdict != Err(Refusal::Invalid) {
            return Ok(verdict);
        }
        let claimed = claimed_key(token);
        let Some(id) = claimed.filter(|id| !keys.has_signing(id)) else { return Ok(verdict) };
        self.look_for_key(KeyPurpose::AccessToken, &id).await?;
        Ok(self.keys().verified_tokens().verify(token, self.clock.now()))
    }

    async fn look_for_key(&self, purpose: KeyPurpose, id: &str) -> Result<(), Failure> {
        Ok(self.keyring.look_for(purpose, id, self.clock.now()).await?)
    }
}

/// Whether the token is one that the session knows by its hash, or its tag proves as much.
pub(super) fn is_vouched_for(token: &RefreshToken, session: &Session) -> bool {
    let hash = token.hash();
    token.trust() == TagTrust::Sound
        || session.refresh_token_hash == hash
        || session.previous_token_hash == Some(hash)
}
