//! The sessions of others.

use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RefreshToken;
use keyward_core::session::{AuthenticationMethod, Device, Session};

use super::{ADMIN_ROLE, Admin};
use crate::service::{Failure, Keyward, Tokens};
use crate::store::{EndSessionsOutcome, OpenSessionOutcome, RevokedSubject, StoreError};

/// A part of a user's live sessions.
#[derive(Debug)]
pub struct SessionPage {
    /// The sessions, most recently opened first.
    pub sessions: Vec<Session>,
    /// The session after which the rest begins; `None` where nothing is left.
    pub next: Option<SessionId>,
}

impl Keyward {
    /// Opens a session for the user of an app that signs its users in by itself, whose word for it
    /// is `by`'s. `device` is what the app says of the user; the audit log has the app's address.
    /// `supersedes` is the refresh token that the user's browser carried, if its tag was good: that
    /// session is ended.
    ///
    /// The session tells by its `amr` how it came about, and opens no admin route, even where its
    /// user becomes an administrator later.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`], [`Failure::AccountDisabled`], [`Failure::AdminsOnly`] where the user
    /// is an administrator, and [`Failure::Store`].
    pub async fn open_session_of(
        &self,
        id: UserId,
        device: &Device,
        supersedes: Option<&RefreshToken>,
        by: &Admin,
    ) -> Result<Tokens, Failure> {
        for _ in 0..READS_MAX {
            let account = self.store.find_user(id).await?.ok_or(Failure::NotFound)?;
            if account.user.has_role(ADMIN_ROLE) {
                return Err(Failure::AdminsOnly);
            }
            let context = self.admin_context(by);
            let (mut new, token) = self.new_session(id, supersedes, &by.client, context.at);
            new.session.device = device.clone();
            new.session.amr = vec![AuthenticationMethod::External];
            let opened = new.session.clone();
            let version = account.credential_version;
            match self.store.open_session(new, version, &context).await? {
                OpenSessionOutcome::Opened { user, ended_others } => {
                    if ended_others {
                        self.announce_revocation();
                    }
                    return Ok(self.issue_tokens(user, opened, token, context.at));
                }
                // The app's word does not hang on the password: once more, with the new one's.
                OpenSessionOutcome::CredentialChanged | OpenSessionOutcome::SessionEnded => {}
                OpenSessionOutcome::Disabled => return Err(Failure::AccountDisabled),
            }
        }
        Err(StoreError::Unavailable("an account changed with every read".to_owned()).into())
    }

    /// Lists a user's live sessions, `limit` at most, from those opened before `after`.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where there is no such user, and [`Failure::Store`].
    pub async fn sessions_of(
        &self,
        id: UserId,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SessionPage, Failure> {
        self.user(id).await?;
        let mut sessions = self.sessions(id).await?.live;
        // Ids made later sort later, and unlike the last use they stay: no page skips a session.
        sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
        sessions.retain(|session| after.is_none_or(|after| session.id < after));
        let is_last = sessions.len() <= limit as usize;
        sessions.truncate(limit as usize);
        let next = sessions.last().filter(|_| !is_last).map(|session| session.id);
        Ok(SessionPage { sessions, next })
    }

    /// Ends every session of a user and answers how many were live.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where there is no such user, [`Failure::AdminsOnly`] where a service
    /// would end an administrator's, and [`Failure::Store`].
    pub async fn revoke_user(&self, id: UserId, by: &Admin) -> Result<usize, Failure> {
        self.end_as_admin(RevokedSubject::User(id), by).await
    }

    /// Ends one session, whoever's it is.
    ///
    /// # Errors
    ///
    /// As [`Keyward::revoke_user`]; [`Failure::NotFound`] where it is not live.
    pub async fn revoke_session(&self, id: SessionId, by: &Admin) -> Result<(), Failure> {
        match self.end_as_admin(RevokedSubject::Session(id), by).await? {
            0 => Err(Failure::NotFound),
            _ => Ok(()),
        }
    }

    async fn end_as_admin(&self, subject: RevokedSubject, by: &Admin) -> Result<usize, Failure> {
        let context = self.admin_context(by);
        match self.store.end_sessions(subject, by.spared_role(), &context).await? {
            EndSessionsOutcome::Ended(ended) => {
                if !ended.is_empty() {
                    self.announce_revocation();
                }
                Ok(ended.len())
            }
            EndSessionsOutcome::Spared => Err(Failure::AdminsOnly),
            EndSessionsOutcome::Unmatched => Err(Failure::NotFound),
        }
    }
}

/// How often an account is read whose credentials change in between.
const READS_MAX: usize = 4;
