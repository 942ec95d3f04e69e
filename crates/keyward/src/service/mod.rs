//! What Keyward does, one file per capability. The only code that sees a whole request: load,
//! decide, commit, reply. Nothing here knows a status code or a statement of SQL.

mod accounts;
mod admin;
mod chain;
mod delivery;
mod devices;
mod failure;
mod keyring;
mod keys;
mod limits;
mod mail;
mod mail_requests;
mod maintenance;
mod metrics;
mod notices;
mod passwords;
mod presented;
mod readiness;
mod revocations;
mod sealing;
mod second_factor;
mod sessions;
mod sign_in;
mod statistics;
mod tokens;
mod unlocking;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::AuditContext;
use keyward_core::device_token::DeviceKey;
use keyward_core::id::SessionId;
use keyward_core::keys::MasterKey;
use keyward_core::session::{Device, USER_AGENT_BYTES_MAX};
use keyward_core::text::misleads;
use keyward_core::time::{self, Timestamp};

pub use accounts::{NewAccount, Profile, Registered};
pub use admin::{Admin, AuditPage, GivenAccount, GivenCredential, SessionPage, UserPage};
pub use chain::{ChainWalk, chain_key, verify_chain, walk_chain};
pub use devices::Carried;
pub use failure::Failure;
pub use keyring::{KeyringError, Resealing, Succession, reseal, try_master_key};
pub use keys::{KEYS_READ_EVERY, KeyStanding, key_standings};
pub use mail::{RESET_TTL, VERIFY_TTL, notice};
pub use readiness::{CLOCK_DIFFERENCE_MAX, clock_complaint};
pub use sealing::SealingError;
pub use second_factor::TotpOffer;
pub use sessions::{Authenticated, SessionsOfUser};
pub use sign_in::{Challenge, SignIn};
pub use statistics::{BUCKETS_MAX, Bucket, COUNTED_EVENTS, Span, Statistics};
pub use tokens::{AccessToken, Tokens};
pub use unlocking::UNLOCKED_READ_EVERY;

use crate::breached::BreachedList;
use crate::clock::Clock;
use crate::entropy::{self, Entropy};
use crate::feed::Feed;
use crate::hashing::HashPool;
use crate::mail::Mailing;
use crate::metrics::Metrics;
use crate::policy::{AccessTokenPolicy, Policy};
use crate::rejections::{Rejection, Rejections};
use crate::shared::{Hints, SharedStanding, SharedState};
use crate::store::{Metered, Store};
use keyring::{Keyring, Keys};
use limits::Limits;
use mail_requests::MailRequests;
use tokio::sync::{Mutex, Notify};

/// A running Keyward: call it, or mount [`crate::http::router`] over it.
#[derive(Debug)]
pub struct Keyward {
    policy: Policy,
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    /// The same store, as what counts its calls.
    metered: Arc<Metered>,
    probe: readiness::Probe,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keyring: Keyring,
    chain_head: sealing::ChainHead,
    sealed_until: sealing::SealedUntil,
    device_key: DeviceKey,
    hashing: HashPool,
    limits: Limits,
    rejections: Rejections,
    feed: Arc<Feed>,
    shared: Option<Arc<dyn SharedState>>,
    hints: Hints,
    recent: statistics::HeldStatistics,
    mailing: Option<Mailing>,
    mail_requests: MailRequests,
    /// Mails were queued here, and can be sent at once.
    mail_queued: Notify,
    /// Whose turn it is to have the audit log read through for a reset.
    log_turn: Mutex<()>,
}

/// What a Keyward is made of.
#[derive(Debug)]
pub struct Parts {
    /// Every value that steers it.
    pub policy: Policy,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Opens the keys in the store.
    pub master_key: MasterKey,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// What several nodes share besides the store. Without it limits hold on each node alone.
    pub shared: Option<Arc<dyn SharedState>>,
    /// How mail is sent. Without it none is: whoever forgets a password has to ask the operator.
    pub mailing: Option<Mailing>,
}

impl Keyward {
    /// Starts the service: opens its keys, making those that are missing, and starts the threads
    /// that hash passwords.
    ///
    /// # Errors
    ///
    /// Where the store fails, the master key does not open the stored keys, a key does not fit its
    /// algorithm, the cost of a hash is out of bounds, the system refuses a thread, or the list of
    /// leaked passwords cannot be searched.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { policy, store, master_key, clock, entropy, shared, mailing } = parts;
        if policy.accounts.registers_by_mail() && mailing.is_none() {
            return Err(StartError::NoMail);
        }
        let metrics = Arc::new(Metrics::new());
        metrics::know(&metrics);
        let metered = Arc::new(Metered::new(store, Arc::clone(&metrics)));
        let store = Arc::clone(&metered) as Arc<dyn Store>;
        let context = own_context(clock.now());
        let device_key = DeviceKey::new(&master_key.derive("device token"));
        let (keys_in, random) = (Arc::clone(&store), Arc::clone(&entropy));
        let keyring = Keyring::open(keys_in, random, master_key, &policy, &context).await?;
        Ok(Self {
            hashing: hash_pool(&policy)?,
            limits: Limits::new(&policy.limits, shared.clone()),
            rejections: Rejections::new(Arc::clone(&store)),
            feed: Arc::new(Feed::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                // Tokens live as long as was configured when they were signed.
                policy.access_token.ttl.max(AccessTokenPolicy::TTL_MAX),
            )),
            keyring,
            chain_head: sealing::ChainHead::default(),
            sealed_until: sealing::SealedUntil::default(),
            device_key,
            policy,
            metrics,
            store,
            metered,
            probe: readiness::Probe::default(),
            clock,
            entropy,
            shared,
            hints: Hints::default(),
            recent: statistics::HeldStatistics::default(),
            mailing,
            mail_requests: MailRequests::default(),
            mail_queued: Notify::new(),
            log_turn: Mutex::default(),
        })
    }

    /// The work that goes on beside requests: writing down refusals that strangers cause,
    /// [tending the keys](Keyward::tend_keys), [deleting what has had its time](Keyward::maintain),
    /// learning of revocations and of [unlocked accounts](Keyward::read_unlocked),
    /// [counting](Keyward::count_hours), [sealing the audit log](Keyward::seal_audit),
    /// [sending mail](Keyward::deliver_mail), and keeping in touch with what nodes share. Ends when
    /// the future is dropped; [`Keyward::flush`] writes what is left.
    pub async fn run_background(&self) {
        let own = async {
            tokio::join!(self.run_key_rounds(), self.run_maintenance(), self.run_unlocking())
        };
        let told = async { tokio::join!(self.feed.run(), self.run_hints(), self.run_shared()) };
        let mail = async { tokio::join!(self.run_mail_requests(), self.run_delivery()) };
        let rejections = self.rejections.run();
        let clocks = self.run_clock_rounds();
        let written = async { tokio::join!(rejections, self.run_statistics(), self.run_sealing()) };
        tokio::join!(own, told, mail, written, clocks);
    }

    /// Reads of revocations at once where another node says that there is one.
    async fn run_hints(&self) {
        loop {
            self.hints.next().await;
            self.feed.hint();
        }
    }

    async fn run_shared(&self) {
        if let Some(shared) = &self.shared {
            shared.run(&self.hints).await;
        }
    }

    /// Writes down what is still waiting, to be recorded or to be answered by mail, and seals it.
    /// Call it last, after the final request.
    pub async fn flush(&self) {
        self.work_off_mail_requests(1).await;
        self.rejections.flush().await;
        self.seal_last().await;
    }

    /// Every value that steers the service.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The public keys that this node knows as a JWK set (RFC 7517), as JSON text.
    pub fn jwks(&self) -> String {
        self.keys().jwks().to_owned()
    }

    /// As [`Keyward::jwks`], with every key that any node has signed with by now, unless the store
    /// is slow to answer. However many ask, the store is asked fifty times a second at most.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`] where one of the keys is sealed with a master key that is not here.
    pub async fn published_jwks(&self) -> Result<String, Failure> {
        Ok(self.keyring.published(self.clock.now()).await?)
    }

    /// How it stands with what nodes share; `None` where they share nothing but the store. Nothing
    /// stops while it is unreachable, so this is no part of [`Keyward::ready`].
    pub fn shared_standing(&self) -> Option<SharedStanding> {
        self.shared.as_ref().map(|shared| shared.standing())
    }

    /// What time it is, as this service sees it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn counted(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(crate) fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.entropy)
    }

    /// Notes a refusal that a stranger can cause at will; it reaches the audit log in bounded
    /// number. `about` is the session where one is known.
    pub fn note_rejection(
        &self,
        rejection: Rejection,
        about: Option<SessionId>,
        client: &ClientInfo,
    ) {
        self.rejections.note(rejection, about, client.context(self.clock.now()));
    }

    /// The keys as they are used now.
    fn keys(&self) -> Arc<Keys> {
        self.keyring.keys(self.clock.now())
    }

    /// [`time::spread`] of the longest wait.
    fn spread(&self, longest: Duration) -> Duration {
        time::spread(longest, u16::from_be_bytes(self.random()))
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        entropy::array(self.entropy.as_ref())
    }
}

fn hash_pool(policy: &Policy) -> Result<HashPool, StartError> {
    let pool = HashPool::new(&policy.hashing).map_err(StartError::Hashing)?;
    let Some(path) = &policy.breached_list else { return Ok(pool) };
    let list = BreachedList::open(path).map_err(StartError::BreachedList)?;
    Ok(pool.with_breached_list(list))
}

/// What events say of what the service does by itself: no address, no browser, no request.
fn own_context(at: Timestamp) -> AuditContext {
    AuditContext { at, device: Device::default(), request_id: None, actor: None }
}

/// Who is asking, as far as the network tells.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// The client's address, after trusted proxies.
    pub address: IpAddr,
    /// The `User-Agent` header, as [`ClientInfo::new`] cuts it.
    pub user_agent: Option<String>,
    /// The id of the request, as the answer carries it.
    pub request_id: String,
}

impl ClientInfo {
    /// Keeps of the user agent what may stand in a log line: at most
    /// [`USER_AGENT_BYTES_MAX`] bytes, without control or direction-changing characters.
    pub fn new(address: IpAddr, user_agent: Option<&str>, request_id: String) -> Self {
        let user_agent = user_agent.map(Self::kept_user_agent);
        Self { address, user_agent, request_id }
    }

    /// What is kept of a user agent.
    pub(crate) fn kept_user_agent(text: &str) -> String {
        let mut kept = String::new();
        for char in text.chars().filter(|char| !misleads(*char)) {
            if kept.len() + char.len_utf8() > USER_AGENT_BYTES_MAX {
                break;
            }
            kept.push(char);
        }
        kept
    }

    pub(crate) fn context(&self, now: Timestamp) -> AuditContext {
        AuditContext {
            at: now,
            device: self.device(),
            request_id: Some(self.request_id.clone()),
            actor: None,
        }
    }

    pub(crate) fn device(&self) -> Device {
        Device { ip: Some(self.address.to_string()), user_agent: self.user_agent.clone() }
    }
}

/// Why the service did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The list of leaked passwords cannot be searched.
    BreachedList(std::io::Error),
    /// The cost of a hash is out of bounds, or the system refused a thread for hashing.
    Hashing(std::io::Error),
    /// The keys could not be opened.
    Keyring(KeyringError),
    /// Whoever registers is to be answered by mail, and none is sent.
    NoMail,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreachedList(error) => {
                write!(f, "password.breached_list cannot be used: {error}")
            }
            Self::Hashing(error) => write!(f, "passwords cannot be hashed: {error}"),
            Self::Keyring(error) => error.fmt(f),
            Self::NoMail => f.write_str("who registers is answered by mail, and none is sent"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<KeyringError> for StartError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(error)
    }
}
