//! Limits on trying: counters in bounded memory. The arithmetic is [`keyward_core::limits`].

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_core::limits::{self, Quota, WholeAt};
use keyward_core::time::Timestamp;

/// Counts tries per key against one quota.
#[derive(Debug)]
pub struct Limiter {
    name: &'static str,
    quota: Option<Quota>,
    capacity: usize,
    // Keys come from strangers: an unkeyed hash would let them pick keys that collide with a
    // victim's. The hasher's own key is no randomness that any decision or test depends on.
    hasher: RandomState,
    counted: Mutex<HashMap<u64, WholeAt>>,
}

impl Limiter {
    /// A limiter that remembers at most `capacity` keys, and so takes about 32 bytes for each.
    /// Without a quota it allows everything. Clients see `name` in the `RateLimit` headers.
    pub fn new(name: &'static str, quota: Option<Quota>, capacity: usize) -> Self {
        let hasher = RandomState::new();
        let counted = Mutex::default();
        Self { name, quota, capacity: capacity.max(1), hasher, counted }
    }

    /// The limit's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The quota; `None` for no limit.
    pub fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// Counts one try of `key`.
    ///
    /// # Errors
    ///
    /// [`Limited`] where the quota is used up; then nothing is counted.
    pub fn count(&self, key: impl Hash, now: Timestamp) -> Result<(), Limited> {
        let Some(quota) = self.quota else { return Ok(()) };
        let key = self.hasher.hash_one(key);
        let mut counted = self.lock();
        let whole_at =
            limits::count(counted.get(&key).copied(), quota, now).map_err(|limited| Limited {
                name: self.name,
                quota,
                retry_after: limited.retry_after,
            })?;
        if counted.len() >= self.capacity && !counted.contains_key(&key) {
            counted.retain(|_, whole_at| whole_at.counts(quota, now));
            make_room(&mut counted, self.capacity);
        }
        counted.insert(key, whole_at);
        Ok(())
    }

    /// Whether one more try of `key` would be allowed. Counts nothing.
    pub fn allows(&self, key: impl Hash, now: Timestamp) -> bool {
        let Some(quota) = self.quota else { return true };
        let kept = self.lock().get(&self.hasher.hash_one(key)).copied();
        limits::count(kept, quota, now).is_ok()
    }

    /// Gives back one try of `key` that turned out not to matter.
    pub fn refund(&self, key: impl Hash) {
        let Some(quota) = self.quota else { return };
        let key = self.hasher.hash_one(key);
        if let Some(kept) = self.lock().get_mut(&key) {
            *kept = limits::refund(*kept, quota);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, WholeAt>> {
        // Each change is one insert; a panic elsewhere cannot have left half of one.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where too few keys were whole again, forgets those closest to it. Who floods the table with
/// fresh keys thereby pushes out fresh keys, not the one that is nearly used up.
fn make_room(counted: &mut HashMap<u64, WholeAt>, capacity: usize) {
    // Unless a quarter is free, this would run again for nearly every key.
    if counted.len() <= capacity - capacity.div_ceil(4) {
        return;
    }
    let mut by_whole_at: Vec<(WholeAt, u64)> =
        counted.iter().map(|(key, whole_at)| (*whole_at, *key)).collect();
    let half = by_whole_at.len().div_ceil(2);
    by_whole_at.select_nth_unstable(half - 1);
    for (_, key) in &by_whole_at[..half] {
        counted.remove(key);
    }
}

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// The limit's name, as in [`Limiter::new`].
    pub name: &'static str,
    /// The quota.
    pub quota: Quota,
    /// How long until one more is allowed.
    pub retry_after: Duration,
}

/// An address as limits count it: an IPv4 address, or the /64 that one IPv6 subscriber has at the
/// least and can draw fresh addresses from at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(IpAddr);

impl AddressKey {
    /// The key as an IPv6 address, where IPv4 has its place too (RFC 4291, section 2.5.5.2).
    pub fn to_bytes(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }
}

/// A range of addresses as limits count it: an IPv4 /24, or the IPv6 /48 that one site has at the
/// most and can draw subscribers' prefixes from at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RangeKey(AddressKey);

impl RangeKey {
    /// Its first address, as [`AddressKey::to_bytes`].
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }
}

impl From<AddressKey> for RangeKey {
    fn from(address: AddressKey) -> Self {
        Self(AddressKey(match address.0 {
            IpAddr::V4(address) => IpAddr::V4((address.to_bits() & !0xff).into()),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 80 << 80).into()),
        }))
    }
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                Self(IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn ranges_hold_what_one_site_can_draw_from() {
        let range = |text: &str| {
            RangeKey::from(AddressKey::from(text.parse::<IpAddr>().expect("an address")))
        };
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("192.0.2.1", "::ffff:192.0.2.9", true),
            ("2001:db8:1:2::1", "2001:db8:1:ffff::1", true),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", false),
            ("192.0.2.0", "::c000:200", false),
        ] {
            assert_eq!(range(one) == range(other), is_same, "{one} and {other}");
            assert_eq!(range(one).to_bytes() == range(other).to_bytes(), is_same, "{one}");
        }
    }

    fn five_per_quarter_hour(capacity: usize) -> Limiter {
        Limiter::new("login", Quota::new(5, Duration::from_secs(900)), capacity)
    }

    fn use_up(limiter: &Limiter, key: &str) {
        for _ in 0..5 {
            limiter.count(key, NOW).expect("within the quota");
        }
    }

    #[test]
    fn keys_are_counted_apart() {
        let limiter = five_per_quarter_hour(100);
        use_up(&limiter, "one");
        let limited = limiter.count("one", NOW).expect_err("used up");
        assert_eq!((limited.name, limited.retry_after), ("login", Duration::from_secs(180)));
        limiter.count("another", NOW).expect("untouched");
        limiter.count("one", NOW.plus(limited.retry_after)).expect("one came back");
    }

    #[test]
    fn a_refund_gives_one_back() {
        let limiter = five_per_quarter_hour(100);
        limiter.refund("never counted");
        use_up(&limiter, "one");
        limiter.refund("one");
        limiter.count("one", NOW).expect("given back");
        limiter.count("one", NOW).expect_err("used up again");
    }

    #[test]
    fn whether_one_more_is_allowed_counts_for_nothing() {
        let limiter = five_per_quarter_hour(100);
        for _ in 0..10 {
            assert!(limiter.allows("one", NOW));
        }
        use_up(&limiter, "one");
        assert!(!limiter.allows("one", NOW) && limiter.allows("another", NOW));
        assert!(Limiter::new("login", None, 1).allows("one", NOW));
    }

    #[test]
    fn without_a_quota_nothing_is_limited_or_kept() {
        let limiter = Limiter::new("login", None, 10);
        for key in 0..1000 {
            limiter.count(key, NOW).expect("no limit");
            limiter.count(0, NOW).expect("no limit");
        }
        assert!(limiter.lock().is_empty());
    }

    #[test]
    fn a_flood_of_fresh_keys_stays_bounded_and_pushes_out_no_used_up_key() {
        let limiter = five_per_quarter_hour(64);
        use_up(&limiter, "victim");
        for key in 0..10_000 {
            limiter.count(key, NOW).expect("fresh");
            assert!(limiter.lock().len() <= 64);
        }
        limiter.count("victim", NOW).expect_err("still remembered");
    }

    #[test]
    fn keys_that_are_whole_again_make_room_first() {
        let limiter = five_per_quarter_hour(8);
        for key in 0..6 {
            limiter.count(key, NOW).expect("fresh");
        }
        let later = NOW.plus(Duration::from_secs(180));
        for key in ["a", "b", "c"] {
            limiter.count(key, later).expect("fresh");
        }
        assert_eq!(limiter.lock().len(), 3);
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_key() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        let bytes = |text: &str| key(text).to_bytes();
        assert_eq!(bytes("::ffff:192.0.2.1"), bytes("192.0.2.1"));
        assert_eq!(bytes("2001:db8::1")[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }
}
