//! Known devices (ADR 23): a browser that an account has signed in with before is limited by
//! itself, and strangers' guesses do not keep it out. A sign-in without one is told to the user.

use std::fmt;

use keyward_core::device_token::{DeviceId, DeviceToken, KnownDevice};
use keyward_core::email::Email;
use keyward_core::refresh_token::RefreshToken;
use keyward_core::time::Timestamp;

use super::limits::{Counted, Try};
use super::mail::occasion;
use super::{Authenticated, ClientInfo, Failure, Keyward};
use crate::device_label;
use crate::limits::{AddressKey, RangeKey};
use crate::mail::{Mail, Occasion};
use crate::rejections::Rejection;
use crate::store::{Account, QueuedMail, SessionFilter, StoreError, User, WhichSessions};

/// What a browser carries along to a sign-in.
#[derive(Default)]
pub struct Carried {
    /// The refresh token of the session that it supersedes, if the token's tag was good: that
    /// session is ended by the sign-in.
    pub supersedes: Option<RefreshToken>,
    /// The text of its device cookie, whatever it is.
    pub device: Option<String>,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

/// A try at signing in, counted.
pub(super) struct Attempt {
    pub(super) counted: Counted,
    /// The device, if the account knows it.
    pub(super) device: Option<KnownDevice>,
}

/// What a sign-in brought about besides its session.
pub(super) struct SignInEffects {
    pub(super) ended_others: bool,
    pub(super) is_mailed: bool,
}

impl Keyward {
    /// Counts a try at signing in before anything is looked up: against the device where it is one
    /// that has signed in with this address before, or else against everything else.
    pub(super) async fn count_sign_in(
        &self,
        email_key: &str,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Attempt, Failure> {
        let device = self.known_device(carried, email_key);
        let counted = match device {
            Some(KnownDevice { id, .. }) => {
                let tries = vec![Try::LoginDevice(self.limits.account(email_key), id)];
                self.count_tries(tries, client).await?
            }
            None => self.count_stranger(email_key, client).await?,
        };
        Ok(Attempt { counted, device })
    }

    /// Takes a device for a stranger's after all, before the work of a hash, where the credentials
    /// have changed since or the account is another one.
    pub(super) async fn confirm_device(
        &self,
        attempt: Attempt,
        found: &Result<Option<Account>, StoreError>,
        email_key: &str,
        client: &ClientInfo,
    ) -> Result<Attempt, Failure> {
        let (Some(device), Ok(account)) = (attempt.device, found) else { return Ok(attempt) };
        if account.as_ref().is_some_and(|account| is_of(&device, account)) {
            return Ok(attempt);
        }
        let counted = self.count_stranger(email_key, client).await?;
        Ok(Attempt { counted: attempt.counted.and(counted), device: None })
    }

    /// The device that the browser shows to be, for an account that was found.
    pub(super) fn device_of(&self, carried: &Carried, account: &Account) -> Option<KnownDevice> {
        let email = Email::parse(&account.user.email)?;
        let device = self.known_device(carried, email.key())?;
        is_of(&device, account).then_some(device)
    }

    /// A token by which the browser is known from now on, for as long as the credentials are these.
    pub(super) fn remember_device(
        &self,
        user: &User,
        credential_version: u64,
        now: Timestamp,
    ) -> Option<DeviceToken> {
        let email = Email::parse(&user.email)?;
        let id = DeviceId::from_bytes(self.random());
        let device = KnownDevice { id, user_id: user.id, credential_version, issued_at: now };
        Some(self.device_key.issue(&device, email.key()))
    }

    /// A device token for a browser that is signed in, after a change of the credentials that its
    /// session has lived through. `None` where the store fails, too: that costs a mail.
    pub async fn renewed_device(&self, caller: &Authenticated) -> Option<DeviceToken> {
        let Account { user, credential_version, .. } =
            self.store.find_user(caller.user.id).await.ok()??;
        self.remember_device(&user, credential_version, self.clock.now())
    }

    /// The mail to a user who has signed in before, and does now from a device that is not known.
    /// It is counted when the session is open ([`Keyward::tell_of_sign_in`]), and not before: with
    /// tries that fail nobody can use up how many of them there are in an hour.
    pub(super) async fn new_device_notice(
        &self,
        account: &Account,
        device: Option<KnownDevice>,
        client: &ClientInfo,
        now: Timestamp,
    ) -> Result<Option<QueuedMail>, StoreError> {
        let user = &account.user;
        let Some(email) = Email::parse(&user.email) else { return Ok(None) };
        let is_told = device.is_none() && self.mailing.is_some();
        if !is_told || !self.has_signed_in(user, now).await? {
            return Ok(None);
        }
        if !self.limits.allows(&Try::NoticeAccount(self.limits.account(email.key())), now) {
            return Ok(None);
        }
        let device = client.user_agent.as_deref().and_then(device_label::of);
        let occasion = Occasion { device, ..occasion(client, now) };
        Ok(self.notice(user, Mail::NewDevice(occasion), now))
    }

    /// After a session was opened: has its mail sent, and what ended by it told of.
    pub(super) async fn tell_of_sign_in(&self, user: &User, opened: &SignInEffects) {
        if opened.ended_others {
            self.announce_revocation();
        }
        if let Some(email) = Email::parse(&user.email).filter(|_| opened.is_mailed) {
            self.mail_queued.notify_one();
            let counted = vec![Try::NoticeAccount(self.limits.account(email.key()))];
            // One more at the same moment is no harm.
            let _past = self.limits.count(counted, self.clock.now()).await;
        }
    }

    /// Whoever registered was signed in by that, and by no sign-in.
    async fn has_signed_in(&self, user: &User, now: Timestamp) -> Result<bool, StoreError> {
        // A session that has expired by itself is in none of the lists below.
        let idle_ttl = self.policy.rotation.idle_ttl;
        if user.last_login_at.is_some() || now.since(user.created_at) > idle_ttl {
            return Ok(true);
        }
        for which in [WhichSessions::Live, WhichSessions::EndedSince(user.created_at)] {
            let filter = SessionFilter { user_id: Some(user.id), which, now, limit: 1 };
            if !self.store.list_sessions(filter).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts a try at the password of a user who is signed in. What strangers guess elsewhere does
    /// not matter to it.
    pub(super) async fn count_own_password(
        &self,
        email_key: &str,
        client: &ClientInfo,
    ) -> Result<Counted, Failure> {
        self.count_tries(self.tries_from(email_key, client).into(), client).await
    }

    async fn count_stranger(
        &self,
        email_key: &str,
        client: &ClientInfo,
    ) -> Result<Counted, Failure> {
        let mut tries = Vec::from(self.tries_from(email_key, client));
        tries.push(Try::LoginAccountTotal(self.limits.account(email_key)));
        self.count_tries(tries, client).await
    }

    /// Who tries too often from one place is not counted against the account as a whole.
    fn tries_from(&self, email_key: &str, client: &ClientInfo) -> [Try; 3] {
        let address = AddressKey::from(client.address);
        [
            Try::LoginRange(RangeKey::from(address)),
            Try::LoginAddress(address),
            Try::LoginAccount(self.limits.account(email_key), address),
        ]
    }

    /// Counts a try at a password before any work is done for it, so that a burst of parallel tries
    /// is limited like any other.
    async fn count_tries(&self, tries: Vec<Try>, client: &ClientInfo) -> Result<Counted, Failure> {
        let counted = self.limits.count(tries, self.clock.now()).await;
        counted.map_err(|limited| {
            self.note_rejection(Rejection::LoginRateLimited, None, client);
            limited.into()
        })
    }

    fn known_device(&self, carried: &Carried, email_key: &str) -> Option<KnownDevice> {
        let token = carried.device.as_deref()?;
        self.device_key.verify(token, email_key, self.clock.now())
    }
}

fn is_of(device: &KnownDevice, account: &Account) -> bool {
    device.is_of(account.user.id, account.credential_version)
}
