//! What users are told by mail of their own acts.
//!
//! A notice is queued by the transaction of the act that it tells of. To a verified address each
//! goes. An address that is not verified may be another's, whose mailbox whoever registered could
//! fill by one act after the other: there go as many of each kind as strangers can cause of any
//! other mail (`limits.mail_account`). An act past that is done all the same, and recorded, but
//! mailed to nobody; what is refused, or fails, is given back. A kind has a count of its own, so
//! that somebody who sets an account up is told of all of it, and none uses up what there is of
//! links. Uncounted is what others do to the account, and a reset: the mailbox has asked for that.

use keyward_core::email::Email;
use keyward_core::time::Timestamp;

use super::limits::{Counted, MailKind};
use super::mail::occasion;
use super::{ClientInfo, Keyward};
use crate::mail::{Mail, Occasion};
use crate::store::{QueuedMail, User};

/// What users do to what opens their accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum OwnAct {
    /// Another password.
    ChangePassword,
    /// No second factor any more.
    DisableSecondFactor,
    /// A second factor from now on.
    EnableSecondFactor,
    /// New recovery codes.
    ReplaceRecoveryCodes,
}

/// The mail that tells of an act, to be queued with it.
#[derive(Default)]
#[must_use]
pub(super) struct OwnNotice {
    /// `None`: the user is not told.
    pub(super) mail: Option<QueuedMail>,
    /// What is to be given back, should the act not be done.
    pub(super) counted: Option<Counted>,
}

impl Keyward {
    /// Tells the user of an act, as far as the address may be mailed to.
    pub(super) async fn own_notice(
        &self,
        user: &User,
        act: OwnAct,
        client: &ClientInfo,
        now: Timestamp,
    ) -> OwnNotice {
        let mut counted = None;
        if !user.email_verified && self.mailing.is_some() {
            let Some(email) = Email::parse(&user.email) else { return OwnNotice::default() };
            let kept = self.count_mail(MailKind::Notice(act), &email).await;
            let Ok(kept) = kept else { return OwnNotice::default() };
            counted = Some(kept);
        }
        OwnNotice { mail: self.notice(user, act.told(occasion(client, now)), now), counted }
    }

    /// After the act: has its mail sent, or gives back what was counted for one that is not queued.
    pub(super) async fn settle_own_notice(&self, counted: Option<Counted>, is_done: bool) {
        if is_done {
            self.mail_queued.notify_one();
        } else if let Some(counted) = counted {
            self.limits.refund(&counted).await;
        }
    }
}

impl OwnAct {
    const fn told(self, occasion: Occasion) -> Mail {
        match self {
            Self::ChangePassword => Mail::PasswordChanged(occasion),
            Self::DisableSecondFactor => Mail::SecondFactorDisabled(occasion),
            Self::EnableSecondFactor => Mail::SecondFactorEnabled(occasion),
            Self::ReplaceRecoveryCodes => Mail::RecoveryCodesReplaced(occasion),
        }
    }
}
