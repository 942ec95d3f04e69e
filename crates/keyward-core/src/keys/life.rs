//! The life of a key, as a function of the stored rows, the policy and the time.
//!
//! | state | signs or tags | verifies | published |
//! | --- | --- | --- | --- |
//! | [`KeyState::Pending`] | no | yes | yes |
//! | [`KeyState::Active`] | yes | yes | yes |
//! | [`KeyState::Retired`] | no | yes | yes |
//! | [`KeyState::Compromised`] | no | refresh tokens in doubt, all else no | no |
//! | [`KeyState::Gone`] | no | no | no |
//!
//! Nothing happens at the moment of a change, and no row says in which state its key is: processes
//! that have read the same rows agree without a word, each by its own clock. A pending key verifies
//! already, so a clock that runs ahead elsewhere does no harm here.
//!
//! Which mistakes are dangerous: to trust a compromised key. To let a key go too early refuses
//! tokens of honest users; to keep it too long costs a row.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::access_token::Algorithm;
use crate::named::named;
use crate::time::Timestamp;

named! {
    /// What a key serves; a key serves one thing only.
    KeyPurpose {
        /// Signs access tokens.
        AccessToken = "access_token",
        /// Binds CSRF tokens to sessions.
        Csrf = "csrf",
        /// Tags refresh tokens.
        RefreshToken = "refresh_token",
        /// Seals the secrets of second factors at rest.
        SecondFactor = "second_factor",
    }
}

impl KeyPurpose {
    /// Whether the key seals what the store holds, and neither signs nor tags. Such a key is made
    /// once: what it has sealed does not expire, and another key would make it no safer.
    pub const fn seals(self) -> bool {
        matches!(self, Self::SecondFactor)
    }
}

named! {
    /// What a key is good for at some time.
    KeyState {
        /// It will sign: verifiers learn of it first.
        Pending = "pending",
        /// It signs.
        Active = "active",
        /// Another one signs; what this one signed is still accepted.
        Retired = "retired",
        /// It may be in other hands.
        Compromised = "compromised",
        /// Whatever it signed has expired.
        Gone = "gone",
    }
}

/// A secret key as a store holds it: sealed with the master key, bound to its row.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name: the `kid` of a signing key, a number from 1 to 255 for the others.
    pub id: String,
    /// What it serves.
    pub purpose: KeyPurpose,
    /// The `alg` of a signing key; the MAC's name for the others.
    pub algorithm: String,
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// When it was made: later than every key of its purpose that was there.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub activates_at: Timestamp,
    /// Since when it may be in other hands.
    pub compromised_at: Option<Timestamp>,
}

impl KeyRecord {
    /// In which order keys take over from each other.
    fn turn(&self) -> (Timestamp, Timestamp, &str) {
        (self.activates_at, self.created_at, &self.id)
    }

    /// Whether it signed at any time, once its turn had come.
    fn takes_its_turn(&self) -> bool {
        self.compromised_at.is_none_or(|at| at > self.activates_at)
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRecord({} {})", self.purpose.as_str(), self.id)
    }
}

/// What steers the life of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLifePolicy {
    /// What access tokens are signed with; `None` where that key is configured and in no store.
    pub algorithm: Option<Algorithm>,
    /// How long an access token lives.
    pub access_token: Lifetime,
    /// How long a session lives at most, and with it what its MAC and CSRF keys have made.
    pub session: Lifetime,
    /// How long a key is active; `None` where keys are rotated by hand only.
    pub rotate_every: Option<Duration>,
    /// How long before it signs a new key is published.
    pub overlap: Duration,
}

/// How long something lives that a key made. Rows do not say what was configured when it was made,
/// so that one that is good must stay for the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// What is made now.
    pub configured: Duration,
    /// Whatever was made before, under any configuration.
    pub longest: Duration,
}

/// The lives of all stored keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyLives<'a> {
    records: &'a [KeyRecord],
    policy: &'a KeyLifePolicy,
}

impl<'a> KeyLives<'a> {
    /// The lives of these keys, which are all that there are.
    pub const fn new(records: &'a [KeyRecord], policy: &'a KeyLifePolicy) -> Self {
        Self { records, policy }
    }

    /// The state of one of the keys.
    pub fn state(&self, key: &KeyRecord, now: Timestamp) -> KeyState {
        let is_gone = self.gone_at(key).is_some_and(|at| now >= at);
        if key.compromised_at.is_some() {
            return if is_gone { KeyState::Gone } else { KeyState::Compromised };
        }
        if self.active(key.purpose, now).is_some_and(|active| active.turn() == key.turn()) {
            KeyState::Active
        } else if is_gone {
            KeyState::Gone
        } else if now < key.activates_at {
            KeyState::Pending
        } else {
            KeyState::Retired
        }
    }

    /// The key that signs: of those beyond doubt the latest whose turn has come. Where a clock was
    /// set back before all of them, the first one signs. `None` where no key is beyond doubt.
    pub fn active(&self, purpose: KeyPurpose, now: Timestamp) -> Option<&'a KeyRecord> {
        let latest =
            self.sound(purpose).filter(|key| key.activates_at <= now).max_by_key(|key| key.turn());
        latest.or_else(|| self.sound(purpose).min_by_key(|key| key.turn()))
    }

    /// When the last thing that the key made has expired; `None` while no successor is there. A
    /// compromised key stays for what is configured now and no longer, so that lowering a lifetime
    /// is a way to be rid of it.
    pub fn gone_at(&self, key: &KeyRecord) -> Option<Timestamp> {
        let lifetime = self.lifetime(key.purpose)?;
        let is_leaked = key.compromised_at.is_some();
        self.over_at(key, if is_leaked { lifetime.configured } else { lifetime.longest })
    }

    fn lifetime(&self, purpose: KeyPurpose) -> Option<Lifetime> {
        match purpose {
            KeyPurpose::AccessToken => Some(self.policy.access_token),
            KeyPurpose::Csrf | KeyPurpose::RefreshToken => Some(self.policy.session),
            KeyPurpose::SecondFactor => None,
        }
    }

    /// When what the key made has expired, where that lives for this long.
    fn over_at(&self, key: &KeyRecord, ttl: Duration) -> Option<Timestamp> {
        Some(self.successor(key)?.activates_at.plus(ttl).plus(CHANGEOVER))
    }

    /// The span around `now` in which no key changes its state.
    pub fn steady(&self, now: Timestamp) -> Range<Timestamp> {
        let ends = self.records.iter().filter_map(|key| self.gone_at(key));
        let changes: Vec<_> = self.records.iter().map(|key| key.activates_at).chain(ends).collect();
        let start = changes.iter().copied().filter(|at| *at <= now).max();
        let end = changes.iter().copied().filter(|at| *at > now).min();
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        start.unwrap_or(first)..end.unwrap_or(last)
    }

    /// When the next key of this purpose is to be made, so that it has been published for the
    /// overlap when its turn comes. `None` where nothing rotates by itself.
    pub fn rotation_due_at(&self, purpose: KeyPurpose) -> Option<Timestamp> {
        if purpose.seals() {
            return None;
        }
        let last = self.sound(purpose).max_by_key(|key| key.turn())?;
        Some(last.activates_at.plus(self.policy.rotate_every?).minus(self.policy.overlap))
    }

    /// Whether a key has to be made before anything of this purpose can be signed: there is none
    /// beyond doubt, or the algorithm was changed. A key of an algorithm that was configured before
    /// is never taken up again, so that its end can be told from its successor.
    pub fn lacks_key(&self, purpose: KeyPurpose) -> bool {
        if purpose == KeyPurpose::AccessToken && self.policy.algorithm.is_none() {
            return false;
        }
        let all = self.records.iter().filter(|key| key.purpose == purpose);
        let last = all.filter(|key| key.compromised_at.is_none()).max_by_key(|key| key.turn());
        last.is_none_or(|key| !self.serves(key))
    }

    /// The number of the next key of a purpose whose keys have numbers: the one after the newest
    /// key's, so that a number comes back only after all others. `None` where all are taken.
    pub fn free_number(&self, purpose: KeyPurpose) -> Option<u8> {
        let taken = |number: u8| {
            let has = |key: &KeyRecord| key.purpose == purpose && key.id.parse() == Ok(number);
            self.records.iter().any(has)
        };
        let newest = newest(self.records, purpose).and_then(|key| key.id.parse().ok());
        let start: u16 = newest.unwrap_or(0);
        let numbers = (0..u16::from(u8::MAX)).map(|step| (start + step) % u16::from(u8::MAX) + 1);
        numbers.filter_map(|number| u8::try_from(number).ok()).find(|number| !taken(*number))
    }

    /// The key that gives its number to the next one where [`Self::free_number`] has none: the
    /// oldest that is gone, or retired for as long as is configured now. For an `urgent` one,
    /// which must not fail, any but the active one: what is in doubt already after what is not,
    /// what has signed for a moment only before what has signed for long, the oldest first. A key
    /// that seals gives nothing, since what it has sealed would be lost.
    pub fn spare_key(
        &self,
        purpose: KeyPurpose,
        urgent: bool,
        now: Timestamp,
    ) -> Option<&'a KeyRecord> {
        let own = self.records.iter().filter(|key| key.purpose == purpose && !purpose.seals());
        let losses = own.filter_map(|key| Some((self.loss(key, now)?, key)));
        let spare = losses.filter(|(loss, _)| urgent || *loss == Loss::Nothing);
        spare.min_by_key(|(loss, key)| (*loss, key.turn())).map(|(_, key)| key)
    }

    /// What is lost with the key; `None` for the active one.
    fn loss(&self, key: &KeyRecord, now: Timestamp) -> Option<Loss> {
        let is_over = || {
            let at = self.over_at(key, self.lifetime(key.purpose)?.configured)?;
            Some(now >= at)
        };
        match self.state(key, now) {
            KeyState::Active => None,
            KeyState::Gone => Some(Loss::Nothing),
            KeyState::Retired if is_over() == Some(true) => Some(Loss::Nothing),
            KeyState::Pending | KeyState::Retired => {
                Some(Loss::Sound { for_long: self.signed_for_long(key, now) })
            }
            KeyState::Compromised => {
                Some(Loss::InDoubt { for_long: self.signed_for_long(key, now) })
            }
        }
    }

    fn signed_for_long(&self, key: &KeyRecord, now: Timestamp) -> bool {
        let until = self.successor(key).map_or(now, |next| next.activates_at.min(now));
        key.takes_its_turn() && until >= key.activates_at.plus(CHANGEOVER)
    }

    /// Whether so many numbers are taken that one may come back at any time: who holds a key of
    /// some number cannot know that it is still the one of that number.
    pub fn numbers_run_short(records: &[KeyRecord], purpose: KeyPurpose) -> bool {
        records.iter().filter(|key| key.purpose == purpose).count() >= NUMBERS_SHORT
    }

    /// Keys that may sign once their turn has come.
    fn sound(&self, purpose: KeyPurpose) -> impl Iterator<Item = &'a KeyRecord> {
        let lives = *self;
        lives.records.iter().filter(move |key| {
            key.purpose == purpose && key.compromised_at.is_none() && lives.serves(key)
        })
    }

    fn serves(&self, key: &KeyRecord) -> bool {
        key.purpose != KeyPurpose::AccessToken
            || self.policy.algorithm.is_some_and(|algorithm| algorithm.as_str() == key.algorithm)
    }

    /// The key that took or will take over from this one: of its own algorithm, or, where that is
    /// not in use any more, of any.
    fn successor(&self, key: &KeyRecord) -> Option<&'a KeyRecord> {
        let next = |fits: &dyn Fn(&KeyRecord) -> bool| {
            let later = self.records.iter().filter(|other| {
                other.purpose == key.purpose && other.turn() > key.turn() && other.takes_its_turn()
            });
            later.filter(|other| fits(other)).min_by_key(|other| other.turn())
        };
        let own = next(&|other| other.algorithm == key.algorithm);
        own.or_else(|| if self.serves(key) { None } else { next(&|_| true) })
    }
}

/// What is lost with a key that gives its number away, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// Whatever it made under the configuration of today has expired.
    Nothing,
    /// What it made is still accepted.
    Sound { for_long: bool },
    /// Those of its tokens that sessions know are still exchanged.
    InDoubt { for_long: bool },
}

/// The key of a purpose that was made last.
pub fn newest(records: &[KeyRecord], purpose: KeyPurpose) -> Option<&KeyRecord> {
    let own = records.iter().filter(|key| key.purpose == purpose);
    own.max_by_key(|key| (key.created_at, &key.id))
}

/// How long after its successor's turn has come a key may still be in use, where a process has not
/// read the new row yet or a clock is behind.
const CHANGEOVER: Duration = Duration::from_secs(5 * 60);

/// Half of the numbers: more keys than that are not made within one reading of the rows.
const NUMBERS_SHORT: usize = 128;
