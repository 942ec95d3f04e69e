//! Requests that are answered before they are worked off, so that neither their answers nor the
//! time that they take tell whether an address has an account.
//!
//! A request does the same for every address: it joins this queue and is answered. One request
//! after another is worked off in the background, and none before its answer has long left: the
//! work for an address that has an account would take time from the answer's way out, which 2,000
//! samples show (`cargo xtask bench --only timing`). What waits here is lost with the process, and
//! all that is lost by that is a mail which its reader asks for again; what has been worked off is
//! in the store.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_core::audit::AuditContext;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::one_time_token::TokenPurpose;
use tokio::sync::Notify;

use super::limits::{Counted, MailKind};
use super::mail::Reader;
use super::{Failure, Keyward};
use crate::mail::Mail;
use crate::store::{InsertUserOutcome, MailedToken, NewUser, StoreError};

/// What waits to be worked off.
#[derive(Debug, Clone)]
pub(super) enum MailRequest {
    /// Somebody wants an account, and is told by mail what became of it.
    Register { user: Box<NewUser>, context: AuditContext },
    /// Somebody has forgotten the password of the account with this address.
    ResetPassword { email: Email, context: AuditContext },
    /// Somebody signs in with the password of an account whose address is not verified: a link is
    /// mailed where none is out.
    VerifyAddress { user_id: UserId, context: AuditContext },
}

/// The bounded queue of them.
#[derive(Default)]
pub(super) struct MailRequests {
    waiting: Mutex<VecDeque<MailRequest>>,
    arrived: Notify,
}

impl MailRequests {
    /// Adds a request.
    pub(super) fn push(&self, request: MailRequest) -> Result<(), Failure> {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return Err(Failure::MailOverloaded);
        }
        waiting.push_back(request);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    fn take(&self) -> Option<Taken<'_>> {
        let request = self.waiting().pop_front()?;
        Some(Taken { from: self, request: Some(request) })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<MailRequest>> {
        // Nothing panics while the lock is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in hand. Where its work breaks off it waits again, and is the next.
struct Taken<'a> {
    from: &'a MailRequests,
    request: Option<MailRequest>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.from.waiting().push_front(request);
        }
    }
}

impl fmt::Debug for MailRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailRequests({})", self.waiting().len())
    }
}

impl Keyward {
    /// Whether the store would keep something now, asked before a request is answered that comes to
    /// the store only later: it would be lost in a long outage, and its client is better told to
    /// ask again. Asked for every address, and about none.
    pub(super) async fn can_keep(&self) -> Result<(), StoreError> {
        self.probe.write_to(&self.metered, &*self.clock).await.map(drop)
    }

    /// Works off requests until dropped.
    pub(super) async fn run_mail_requests(&self) {
        loop {
            self.work_off_mail_requests(ATTEMPTS_MAX).await;
            self.mail_requests.arrived.notified().await;
            tokio::time::sleep(self.spread(DELAY_MAX)).await;
        }
    }

    /// Works off what waits. A store that is away is asked again, so many times for each request.
    pub(super) async fn work_off_mail_requests(&self, attempts_max: u32) {
        while let Some(mut taken) = self.mail_requests.take() {
            let Some(request) = &taken.request else { break };
            for attempt in 1..=attempts_max {
                match self.work_off(request).await {
                    Ok(()) => break,
                    Err(error) if attempt == attempts_max => {
                        tracing::error!("a request that is answered by mail is lost: {error}");
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
            taken.request = None;
        }
    }

    async fn work_off(&self, request: &MailRequest) -> Result<(), StoreError> {
        // Without mail there is nobody to whom anything of it could matter.
        if self.mailing.is_none() {
            return Ok(());
        }
        match request {
            MailRequest::Register { user, context } => {
                self.register_by_mail(NewUser::clone(user), context).await?;
            }
            MailRequest::ResetPassword { email, context } => {
                let found = self.store.find_user_by_email(email.key()).await?;
                let Some(account) = found else { return Ok(()) };
                // The mail goes where the account says, in whatever way the address was written.
                let Some(own) = Email::parse(&account.user.email) else { return Ok(()) };
                let reader = Reader::of(&account, &own);
                let purpose = TokenPurpose::ResetPassword;
                let issued = self.mailed_token(&reader, purpose, self.clock.now());
                self.store.issue_token(issued, context).await?;
            }
            MailRequest::VerifyAddress { user_id, context } => {
                self.verify_if_no_link_is_out(*user_id, context).await?;
            }
        }
        self.mail_queued.notify_one();
        Ok(())
    }

    /// Mails a link that verifies the address of a user who has none, or not for long. Whoever has
    /// just registered signs in before opening the link, and again: it stays good.
    async fn verify_if_no_link_is_out(
        &self,
        user_id: UserId,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        let Some(account) = self.store.find_user(user_id).await? else { return Ok(()) };
        let Some(email) = Email::parse(&account.user.email) else { return Ok(()) };
        let counted = self.count_mail(MailKind::VerifyAddress, &email).await;
        let Ok(counted) = counted else { return Ok(()) };
        let now = self.clock.now();
        let issued =
            self.mailed_token(&Reader::of(&account, &email), TokenPurpose::VerifyEmail, now);
        let issued = MailedToken { yields_beyond: Some(now.plus(TIME_TO_OPEN)), ..issued };
        let issued = self.store.issue_token(issued, context).await;
        if issued != Ok(true) {
            self.limits.refund(&counted).await;
        }
        issued.map(drop)
    }

    async fn register_by_mail(
        &self,
        user: NewUser,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        let email = user.email.clone();
        let (verification, counted) = self.verification(&user).await.unzip();
        let user = NewUser { verification, ..user };
        let inserted = self.store.insert_user(user, None, context).await;
        self.refund_unsent(counted, &inserted).await;
        match inserted? {
            InsertUserOutcome::Inserted(_) => Ok(()),
            InsertUserOutcome::EmailTaken => {
                let found = self.store.find_user_by_email(email.key()).await?;
                let Some(account) = found else { return Ok(()) };
                let counted = self.count_mail(MailKind::AddressTaken, &email).await;
                let Ok(counted) = counted else { return Ok(()) };
                let told = self.notify(&account.user, Mail::AddressTaken).await;
                self.refund_failed(&counted, told).await
            }
        }
    }

    /// The mail that verifies the address of a new account, counted, unless strangers have caused
    /// too many of them to it, or the service sends none.
    pub(super) async fn verification(&self, user: &NewUser) -> Option<(MailedToken, Counted)> {
        self.mailing.as_ref()?;
        let counted = self.count_mail(MailKind::VerifyAddress, &user.email).await.ok()?;
        let reader =
            Reader { user_id: user.id, email: &user.email, name: None, credential_version: 0 };
        let now = self.clock.now();
        Some((self.mailed_token(&reader, TokenPurpose::VerifyEmail, now), counted))
    }

    /// Gives back a mail that the store did not take, or the attempts on a store that is away would
    /// use up the limit.
    pub(super) async fn refund_failed(
        &self,
        counted: &Counted,
        queued: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if queued.is_err() {
            self.limits.refund(counted).await;
        }
        queued
    }

    /// A mail that was not queued is none: whoever registers with the address of an account takes
    /// nothing from its owner.
    pub(super) async fn refund_unsent(
        &self,
        counted: Option<Counted>,
        inserted: &Result<InsertUserOutcome, StoreError>,
    ) {
        let is_queued = matches!(inserted, Ok(InsertUserOutcome::Inserted(_)));
        if let Some(counted) = counted.filter(|_| !is_queued) {
            self.limits.refund(&counted).await;
        }
    }
}

/// Each of them takes a few hundred bytes, and some milliseconds of the store.
const WAITING_MAX: usize = 1000;

/// How much is left at least of a link that a refused sign-in leaves alone: enough to find the mail
/// and open it.
const TIME_TO_OPEN: Duration = Duration::from_secs(10 * 60);

/// How long requests wait at the most, and half of it at the least: too long for the answer to meet
/// the work, and never the same, so that nobody knows when to look for the work either.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// A store that restarts, or fails over, is back by then.
pub(super) const ATTEMPTS_MAX: u32 = 60;

const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use keyward_core::session::Device;
    use keyward_core::time::Timestamp;

    use super::*;

    #[test]
    fn the_queue_has_an_end() {
        let requests = MailRequests::default();
        let (at, device) = (Timestamp::from_secs(0), Device::default());
        let context = AuditContext { at, device, request_id: None, actor: None };
        let email = Email::parse("ada@example.org").expect("an address");
        let request =
            || MailRequest::ResetPassword { email: email.clone(), context: context.clone() };
        for _ in 0..WAITING_MAX {
            requests.push(request()).expect("room");
        }
        assert!(matches!(requests.push(request()), Err(Failure::MailOverloaded)));
        // What breaks off waits again.
        drop(requests.take().expect("a request"));
        assert!(matches!(requests.push(request()), Err(Failure::MailOverloaded)));
        requests.take().expect("a request").request = None;
        requests.push(request()).expect("room");
    }
}
