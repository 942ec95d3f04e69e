//! The limits on trying: each counted on this node, and for all nodes where they share state.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::device_token::DeviceId;
use keyward_core::id::SessionId;
use keyward_core::time::Timestamp;

use super::notices::OwnAct;
use super::unlocking::UnlockedAccounts;
use crate::limits::{AddressKey, Limited, Limiter, RangeKey};
use crate::policy::LimitPolicy;
use crate::shared::{SharedState, SharedTry};

/// Every limit, each with its own bounded memory.
///
/// This node counts first: what it refuses nobody else is asked about, and its limits hold by
/// themselves while the shared state is away.
#[derive(Debug)]
pub(super) struct Limits {
    login_account: Limiter,
    login_account_total: Limiter,
    login_address: Limiter,
    login_device: Limiter,
    login_range: Limiter,
    mail_account: Limiter,
    mail_address: Limiter,
    notice_account: Limiter,
    set_up_account: Limiter,
    register_address: Limiter,
    refresh_session: Limiter,
    refresh_address: Limiter,
    service_key_address: Limiter,
    unlocked: UnlockedAccounts,
    shared: Option<Arc<dyn SharedState>>,
}

/// What is tried, and whom it counts against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Try {
    /// A password, by account and the client's address.
    LoginAccount(AccountKey, AddressKey),
    /// A password, by account alone.
    LoginAccountTotal(AccountKey),
    /// A password.
    LoginAddress(AddressKey),
    /// A password, by account and a device that it has signed in with before.
    LoginDevice(AccountKey, DeviceId),
    /// A password.
    LoginRange(RangeKey),
    /// A mail of one kind that a stranger asks for, by the account that it would go to.
    MailAccount(AccountKey, MailKind),
    /// A mail that a stranger asks for.
    MailAddress(AddressKey),
    /// A mail that tells of a sign-in.
    NoticeAccount(AccountKey),
    /// The first code of a second factor, by the account that sets it up.
    SetUpAccount(AccountKey),
    /// A refresh token that was never issued.
    RefreshAddress(AddressKey),
    /// A refresh token of this session.
    RefreshSession(SessionId),
    /// A new account.
    RegisterAddress(AddressKey),
    /// A service key that there is not.
    ServiceKeyAddress(AddressKey),
}

/// What strangers can have mailed to somebody. If the kinds shared a count, whoever asks for one of
/// them would keep the owner from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MailKind {
    /// A word that the address has an account.
    AddressTaken,
    /// What tells of an act in an account whose address is not verified.
    Notice(OwnAct),
    /// A link that sets a new password.
    ResetPassword,
    /// A link that verifies the address.
    VerifyAddress,
}

/// An account as limits count it, be there one or not: by its address of e-mail, anew from when it
/// was unlocked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AccountKey {
    email_key: String,
    unlocked_at: Option<Timestamp>,
}

/// Tries that were counted and may be given back.
#[derive(Debug)]
#[must_use]
pub(super) struct Counted {
    tries: Vec<Try>,
    /// What the other nodes know of; empty where they were not told.
    shared: Vec<SharedTry>,
}

impl Limits {
    pub(super) fn new(policy: &LimitPolicy, shared: Option<Arc<dyn SharedState>>) -> Self {
        let limiter = |name, quota| Limiter::new(name, quota, LIMITED_KEYS_MAX);
        Self {
            login_account: limiter("login_account", policy.login_account),
            login_account_total: limiter("login_account_total", policy.login_account_total),
            login_address: limiter("login_address", policy.login_address),
            login_device: limiter("login_device", policy.login_device),
            login_range: limiter("login_range", policy.login_range),
            mail_account: limiter("mail_account", policy.mail_account),
            mail_address: limiter("mail_address", policy.mail_address),
            // As many as strangers can cause, and apart from those: whoever knows a password must
            // not be able to use the limit up before it tells of them.
            notice_account: limiter("notice_account", policy.mail_account),
            // The store counts codes against a second factor that is there.
            set_up_account: limiter("mfa_account", policy.mfa_account),
            register_address: limiter("register_address", policy.register_address),
            refresh_session: limiter("refresh_session", policy.refresh_session),
            refresh_address: limiter("refresh_address", policy.refresh_address),
            service_key_address: limiter("service_key_address", policy.service_key_address),
            unlocked: UnlockedAccounts::default(),
            shared,
        }
    }

    /// The account with this [`Email::key`](keyward_core::email::Email::key).
    pub(super) fn account(&self, email_key: &str) -> AccountKey {
        let unlocked_at = self.unlocked.at(email_key);
        AccountKey { email_key: email_key.to_owned(), unlocked_at }
    }

    /// The accounts whose counts began anew of late.
    pub(super) fn unlocked(&self) -> &UnlockedAccounts {
        &self.unlocked
    }

    /// The longest that anything is remembered of an account.
    pub(super) fn longest_of_account(&self) -> Duration {
        let of_account = [
            &self.login_account,
            &self.login_account_total,
            &self.login_device,
            &self.mail_account,
        ];
        let windows = of_account.into_iter().filter_map(|limiter| limiter.quota());
        windows.map(|quota| quota.window()).max().unwrap_or_default()
    }

    /// Counts all of the tries, or none of them where one is past its limit.
    pub(super) async fn count(&self, tries: Vec<Try>, now: Timestamp) -> Result<Counted, Limited> {
        for (index, tried) in tries.iter().enumerate() {
            if let Err(limited) = self.limiter(tried).count(tried, now) {
                self.refund_here(&tries[..index]);
                return Err(limited);
            }
        }
        let shared = self.count_shared(&tries).await.inspect_err(|_| self.refund_here(&tries))?;
        Ok(Counted { tries, shared })
    }

    /// Whether one more would be allowed by this node's own count. Counts nothing.
    pub(super) fn allows(&self, tried: &Try, now: Timestamp) -> bool {
        self.limiter(tried).allows(tried, now)
    }

    /// Gives back what turned out not to matter, such as a sign-in that succeeded.
    pub(super) async fn refund(&self, counted: &Counted) {
        self.refund_here(&counted.tries);
        if let Some(shared) = self.shared.as_ref().filter(|_| !counted.shared.is_empty()) {
            shared.refund(&counted.shared).await;
        }
    }

    /// What was counted for all nodes: nothing where they cannot be told now.
    async fn count_shared(&self, tries: &[Try]) -> Result<Vec<SharedTry>, Limited> {
        let Some(shared) = &self.shared else { return Ok(Vec::new()) };
        let tries: Vec<SharedTry> = tries.iter().filter_map(|tried| self.share(tried)).collect();
        if tries.is_empty() {
            return Ok(tries);
        }
        match shared.count(&tries).await {
            Some(Ok(())) => Ok(tries),
            Some(Err(limited)) => match tries.get(limited.index) {
                Some(SharedTry { limit: name, quota, .. }) => {
                    let retry_after = limited.retry_after.min(quota.window());
                    Err(Limited { name, quota: *quota, retry_after })
                }
                // No server of ours answers so: whoever does decides nothing.
                None => Ok(Vec::new()),
            },
            None => Ok(Vec::new()),
        }
    }

    fn refund_here(&self, tries: &[Try]) {
        for tried in tries {
            self.limiter(tried).refund(tried);
        }
    }

    /// `None` for a limit that is off.
    fn share(&self, tried: &Try) -> Option<SharedTry> {
        let limiter = self.limiter(tried);
        let quota = limiter.quota()?;
        Some(SharedTry { limit: limiter.name(), key: tried.key(), quota })
    }

    fn limiter(&self, tried: &Try) -> &Limiter {
        match tried {
            Try::LoginAccount(..) => &self.login_account,
            Try::LoginAccountTotal(_) => &self.login_account_total,
            Try::LoginAddress(_) => &self.login_address,
            Try::LoginDevice(..) => &self.login_device,
            Try::LoginRange(_) => &self.login_range,
            Try::MailAccount(..) => &self.mail_account,
            Try::MailAddress(_) => &self.mail_address,
            Try::NoticeAccount(_) => &self.notice_account,
            Try::SetUpAccount(_) => &self.set_up_account,
            Try::RefreshAddress(_) => &self.refresh_address,
            Try::RefreshSession(_) => &self.refresh_session,
            Try::RegisterAddress(_) => &self.register_address,
            Try::ServiceKeyAddress(_) => &self.service_key_address,
        }
    }
}

impl Counted {
    /// Both of them.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.tries.extend(other.tries);
        self.shared.extend(other.shared);
        self
    }
}

impl Try {
    /// Whom it counts against, as every node writes it.
    fn key(&self) -> Vec<u8> {
        match self {
            // What comes first is of one length, so what follows needs no mark.
            Self::LoginAccount(account, address) => {
                [address.to_bytes().as_slice(), &account.to_bytes()].concat()
            }
            Self::LoginDevice(account, device) => {
                [device.as_bytes().as_slice(), &account.to_bytes()].concat()
            }
            Self::MailAccount(account, kind) => {
                [[kind.to_byte()].as_slice(), &account.to_bytes()].concat()
            }
            Self::LoginAccountTotal(account)
            | Self::NoticeAccount(account)
            | Self::SetUpAccount(account) => account.to_bytes(),
            Self::LoginRange(range) => range.to_bytes().to_vec(),
            Self::RefreshSession(id) => id.as_bytes().to_vec(),
            Self::LoginAddress(address)
            | Self::MailAddress(address)
            | Self::RefreshAddress(address)
            | Self::RegisterAddress(address)
            | Self::ServiceKeyAddress(address) => address.to_bytes().to_vec(),
        }
    }
}

impl MailKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::AddressTaken => 0,
            Self::ResetPassword => 1,
            Self::VerifyAddress => 2,
            Self::Notice(OwnAct::ChangePassword) => 3,
            Self::Notice(OwnAct::DisableSecondFactor) => 4,
            Self::Notice(OwnAct::EnableSecondFactor) => 5,
            Self::Notice(OwnAct::ReplaceRecoveryCodes) => 6,
        }
    }
}

impl AccountKey {
    /// No address holds the byte that comes before the time.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.email_key.as_bytes().to_vec();
        if let Some(at) = self.unlocked_at {
            bytes.push(0);
            bytes.extend(at.millis().to_be_bytes());
        }
        bytes
    }
}

/// Entries of each limiter: some megabytes at the most, and more than an attack of ordinary size
/// fills.
const LIMITED_KEYS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use async_trait::async_trait;

    use super::*;
    use crate::shared::{Hints, SharedLimited, SharedStanding};

    /// As nobody of ours would answer: past the tries, and for ever.
    #[tokio::test]
    async fn a_shared_server_that_answers_nonsense_decides_nothing() {
        for index in [1, 2, usize::MAX] {
            let limits = limits_beside(index);
            for _ in 0..LIMIT {
                let counted = limits.count(vec![tried()], NOW).await.expect("it decides nothing");
                assert_eq!(counted.shared, []);
            }
            // What this node counts holds all the same.
            assert!(limits.count(vec![tried()], NOW).await.is_err(), "{index}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_longer_than_the_window_whatever_a_shared_server_says() {
        let limited = limits_beside(0).count(vec![tried()], NOW).await.expect_err("it refuses");
        assert_eq!((limited.name, limited.retry_after), ("refresh_session", WINDOW));
    }

    #[test]
    fn nodes_count_each_kind_of_mail_by_itself() {
        let account = AccountKey { email_key: "ada@example.org".to_owned(), unlocked_at: None };
        let kinds = [
            MailKind::AddressTaken,
            MailKind::Notice(OwnAct::ChangePassword),
            MailKind::Notice(OwnAct::DisableSecondFactor),
            MailKind::Notice(OwnAct::EnableSecondFactor),
            MailKind::Notice(OwnAct::ReplaceRecoveryCodes),
            MailKind::ResetPassword,
            MailKind::VerifyAddress,
        ];
        let keys = kinds.map(|kind| Try::MailAccount(account.clone(), kind).key());
        assert_eq!(HashSet::from(keys).len(), kinds.len());
    }

    fn limits_beside(index: usize) -> Limits {
        let refresh_session = keyward_core::limits::Quota::new(LIMIT, WINDOW);
        let policy = LimitPolicy { refresh_session, ..LimitPolicy::default() };
        Limits::new(&policy, Some(Arc::new(Strange { index })))
    }

    fn tried() -> Try {
        Try::RefreshSession(SessionId::from_bytes([1; 16]))
    }

    /// Refuses the try of this index.
    #[derive(Debug)]
    struct Strange {
        index: usize,
    }

    #[async_trait]
    impl SharedState for Strange {
        async fn count(&self, _: &[SharedTry]) -> Option<Result<(), SharedLimited>> {
            Some(Err(SharedLimited { index: self.index, retry_after: Duration::MAX }))
        }

        async fn refund(&self, _: &[SharedTry]) {}

        fn standing(&self) -> SharedStanding {
            SharedStanding::default()
        }

        async fn run(&self, _: &Hints) {}
    }

    const LIMIT: u32 = 3;
    const WINDOW: Duration = Duration::from_secs(60);
    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
}
