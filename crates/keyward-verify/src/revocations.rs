//! What was revoked and could still be presented: the live set, in bounded memory.
//!
//! An entry leaves when the last token that it speaks of has expired. That is judged by the clock
//! of this machine, which may be set back after an entry has left; so the expiry of the latest
//! entry that left is remembered, and what expires no later is expired, whatever the clock says.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use keyward_core::access_token::Claims;
use keyward_core::id::{SessionId, UserId};
use keyward_core::time::Timestamp;

use crate::refusal::Refusal;

/// One word of the issuing service. Times are Unix seconds, as in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// What was revoked.
    pub subject: RevokedSubject,
    /// When every token that it speaks of has expired.
    pub exp: i64,
}

/// What was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedSubject {
    /// A session: none of its tokens is accepted any more.
    Session(SessionId),
    /// A user: no token is accepted any more that was issued before `revoked_at`, or had expired by
    /// then. Sessions that were live are told of one by one, so that whoever signs in again within
    /// the same second is not refused.
    User {
        /// The user.
        id: UserId,
        /// When.
        revoked_at: i64,
    },
}

/// Every revocation that still matters, and when the issuing service was last heard.
pub struct Revocations {
    shards: Box<[RwLock<Shard>]>,
    entries: AtomicUsize,
    entries_max: usize,
    leeway: Duration,
    /// In milliseconds; [`NEVER`] before the first word.
    heard_at: AtomicI64,
    /// The latest expiry of an entry that left, in seconds.
    left_until: AtomicI64,
    /// How often the service was heard, which shows whose turn it is to be swept.
    turns: AtomicUsize,
}

/// The entries whose ids end alike. Ids are random at their end, and made by the issuing service.
#[derive(Default)]
struct Shard {
    sessions: HashMap<SessionId, i64>,
    /// Until when, and when they were revoked.
    users: HashMap<UserId, (i64, i64)>,
    swept_at: Option<Timestamp>,
}

/// There are as many revocations as there may be. What follows is unknown until some have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "more revocations than revocations_max: raise it, or end fewer sessions at once",
        )
    }
}

impl std::error::Error for Full {}

impl Revocations {
    pub(crate) fn new(entries_max: usize, leeway: Duration) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            entries: AtomicUsize::new(0),
            entries_max,
            leeway,
            heard_at: AtomicI64::new(NEVER),
            left_until: AtomicI64::new(i64::MIN),
            turns: AtomicUsize::new(0),
        }
    }

    /// Takes in a revocation; the same one again changes nothing. It counts at once, and leaves by
    /// itself. Whoever follows the service's feed with [`Verifier::run`] has no use for this.
    ///
    /// [`Verifier::run`]: crate::Verifier
    ///
    /// # Errors
    ///
    /// [`Full`]: it was not taken in, so do not call [`Revocations::hear`] from here on.
    pub fn take_in(&self, revocation: Revocation, now: Timestamp) -> Result<(), Full> {
        let Revocation { subject, exp } = revocation;
        let mut shard = self.lock(match &subject {
            RevokedSubject::Session(id) => id.as_bytes(),
            RevokedSubject::User { id, .. } => id.as_bytes(),
        });
        self.sweep_in_time(&mut shard, now);
        let is_room = self.entries.load(Ordering::Relaxed) < self.entries_max;
        let is_new = match subject {
            RevokedSubject::Session(id) => {
                let held = shard.sessions.get_mut(&id).map(|until| *until = exp.max(*until));
                if held.is_none() && is_room {
                    shard.sessions.insert(id, exp);
                }
                held.is_none()
            }
            RevokedSubject::User { id, revoked_at } => {
                let held = shard.users.get_mut(&id).map(|(until, latest)| {
                    (*until, *latest) = (exp.max(*until), revoked_at.max(*latest));
                });
                if held.is_none() && is_room {
                    shard.users.insert(id, (exp, revoked_at));
                }
                held.is_none()
            }
        };
        if is_new && !is_room {
            return Err(Full);
        }
        self.entries.fetch_add(usize::from(is_new), Ordering::Relaxed);
        Ok(())
    }

    /// Notes that everything revoked until now was taken in: the service said so, and is itself
    /// current.
    pub fn hear(&self, now: Timestamp) {
        self.heard_at.store(now.millis(), Ordering::Release);
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[turn].write().unwrap_or_else(PoisonError::into_inner);
        self.sweep_in_time(&mut shard, now);
    }

    /// How long the issuing service has been silent; `None` before its first word. A clock that was
    /// set back makes this longer, not shorter.
    pub fn staleness(&self, now: Timestamp) -> Option<Duration> {
        let heard_at = self.heard_at.load(Ordering::Acquire);
        (heard_at != NEVER).then(|| Timestamp::from_millis(heard_at).distance(now))
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Judges a token that is good in all else.
    pub(crate) fn judge(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.read(claims.sid.as_bytes()).sessions.contains_key(&claims.sid) {
            return Err(Refusal::Revoked);
        }
        let revoked_at = self.read(claims.sub.as_bytes()).users.get(&claims.sub).map(|user| user.1);
        // A session that had timed out may be told of by nobody, and the leeway would let its last
        // token live on.
        if revoked_at.is_some_and(|at| claims.iat < at || claims.exp <= at) {
            return Err(Refusal::Revoked);
        }
        // After the look, so that an entry which leaves in between is not missed.
        if claims.exp <= self.left_until.load(Ordering::Acquire) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn sweep_in_time(&self, shard: &mut Shard, now: Timestamp) {
        if shard.swept_at.is_none_or(|at| at.distance(now) >= SWEEP_INTERVAL) {
            self.sweep(shard, now);
        }
    }

    fn sweep(&self, shard: &mut Shard, now: Timestamp) {
        let leeway = i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX);
        let mut left_until = i64::MIN;
        let mut stays = |exp: i64| {
            let stays = now.secs() < exp.saturating_add(leeway);
            if !stays {
                left_until = left_until.max(exp);
            }
            stays
        };
        let before = shard.sessions.len() + shard.users.len();
        shard.sessions.retain(|_, exp| stays(*exp));
        shard.users.retain(|_, (exp, _)| stays(*exp));
        let after = shard.sessions.len() + shard.users.len();
        self.left_until.fetch_max(left_until, Ordering::AcqRel);
        self.entries.fetch_sub(before - after, Ordering::Relaxed);
        give_back(&mut shard.sessions);
        give_back(&mut shard.users);
        shard.swept_at = Some(now);
    }

    fn read(&self, id: &[u8; 16]) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard_of(id)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, id: &[u8; 16]) -> std::sync::RwLockWriteGuard<'_, Shard> {
        self.shards[shard_of(id)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({})", self.len())
    }
}

fn shard_of(id: &[u8; 16]) -> usize {
    usize::from(id[15]) % SHARDS
}

/// After a burst of revocations its memory is not kept for ever.
fn give_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 4 * map.len().max(16) {
        map.shrink_to(2 * map.len());
    }
}

/// So many that readers on several cores seldom meet at one lock, or wait for one sweep.
const SHARDS: usize = 64;

/// How often a shard is swept: a burst of words must not sweep it for each of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

const NEVER: i64 = i64::MIN;
