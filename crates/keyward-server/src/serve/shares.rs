//! How many of the connections one address holds, so that none of them keeps everybody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use keyward::limits::AddressKey;

/// Counts connections per address. Holds no more entries than there are connections.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    held: Arc<Mutex<HashMap<AddressKey, usize>>>,
    max: usize,
    unbounded: Arc<[IpNet]>,
}

impl Shares {
    /// At most `max` connections for each address outside of the networks `unbounded`.
    pub(super) fn new(max: usize, unbounded: &[IpNet]) -> Self {
        Self { held: Arc::default(), max, unbounded: unbounded.into() }
    }

    /// Counts a connection until the share is dropped; `None` where its address holds enough.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Share> {
        let peer = peer.to_canonical();
        if self.unbounded.iter().any(|network| network.contains(&peer)) {
            return Some(Share { of: None });
        }
        let address = AddressKey::from(peer);
        let mut held = self.lock();
        let count = held.entry(address).or_default();
        // A refused address holds some already, so this leaves no empty entry behind.
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Share { of: Some((self.clone(), address)) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AddressKey, usize>> {
        // Nothing that can panic runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, as long as it lasts.
#[derive(Debug)]
pub(super) struct Share {
    of: Option<(Shares, AddressKey)>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, address)) = self.of.take() else { return };
        let mut held = shares.lock();
        if let Some(count) = held.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_holds_its_share_and_no_more() {
        let shares = Shares::new(2, &["10.0.0.0/8".parse().expect("a network")]);
        let first = shares.take(ip("192.0.2.1")).expect("the first");
        let _second = shares.take(ip("::ffff:192.0.2.1")).expect("the second");
        assert!(shares.take(ip("192.0.2.1")).is_none());
        let _other = shares.take(ip("192.0.2.2")).expect("another address");
        drop(first);
        let _third = shares.take(ip("192.0.2.1")).expect("one has ended");
        let proxied: Vec<_> = (0..9).map(|_| shares.take(ip("10.1.2.3"))).collect();
        assert!(proxied.iter().all(Option::is_some));
    }

    #[test]
    fn one_subscriber_has_one_share_and_nothing_stays_behind() {
        let shares = Shares::new(1, &[]);
        let held = shares.take(ip("2001:db8::1")).expect("the first");
        assert!(shares.take(ip("2001:db8::2")).is_none());
        drop(held);
        assert!(shares.lock().is_empty());
    }
}
