//! Decides which refusals are written one by one and which are counted. No clock, no store.

use std::collections::HashMap;
use std::net::IpAddr;

use keyward_core::audit::{AuditContext, AuditEvent};
use keyward_core::id::SessionId;
use keyward_core::session::Device;

use super::Rejection;
use crate::limits::AddressKey;

/// What was noted and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The minute that the addresses below belong to, since the epoch.
    minute: i64,
    addresses: HashMap<Option<AddressKey>, OfAddress>,
    /// Refusals from addresses beyond [`ADDRESSES_MAX`].
    of_others: Counts,
    ready: Vec<(AuditEvent, AuditContext)>,
}

#[derive(Debug, Default)]
struct OfAddress {
    written: u32,
    counts: Counts,
}

impl Tally {
    pub(super) fn note(
        &mut self,
        rejection: Rejection,
        session_id: Option<SessionId>,
        context: AuditContext,
    ) {
        let minute = context.at.secs().div_euclid(60);
        if minute != self.minute {
            self.close();
            self.forget_addresses();
            self.minute = minute;
        }
        let ip = context.device.ip.as_deref();
        let address = ip.and_then(|ip| ip.parse::<IpAddr>().ok()).map(AddressKey::from);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            return self.of_others.add(rejection, 1, nowhere(context));
        }
        let of_address = self.addresses.entry(address).or_default();
        if of_address.written < WRITTEN_PER_MINUTE && self.ready.len() < READY_MAX {
            of_address.written += 1;
            let event = AuditEvent { session_id, ..AuditEvent::of_nobody(rejection.event(1)) };
            self.ready.push((event, context));
        } else {
            of_address.counts.add(rejection, 1, context);
        }
    }

    /// Makes events of what was counted so far.
    pub(super) fn close(&mut self) {
        let of_addresses = self.addresses.values_mut().map(|of_address| &mut of_address.counts);
        for counts in of_addresses.chain([&mut self.of_others]) {
            // What finds no room stays counted, and goes with a later minute's.
            let room = CLOSED_MAX.saturating_sub(self.ready.len());
            let events = counts.0.drain(..counts.0.len().min(room));
            self.ready.extend(events.map(|count| {
                (AuditEvent::of_nobody(count.rejection.event(count.count)), count.first)
            }));
        }
    }

    fn forget_addresses(&mut self) {
        for (_, of_address) in self.addresses.drain() {
            for Count { rejection, count, first } in of_address.counts.0 {
                self.of_others.add(rejection, count, nowhere(first));
            }
        }
    }

    /// What is to be written now; leaves nothing but counts.
    pub(super) fn take(&mut self) -> Vec<(AuditEvent, AuditContext)> {
        std::mem::take(&mut self.ready)
    }
}

/// One count per kind of refusal.
#[derive(Debug, Default)]
struct Counts(Vec<Count>);

#[derive(Debug)]
struct Count {
    rejection: Rejection,
    count: u64,
    /// When and where the first of them happened; which request is no longer told, nor who did it,
    /// since others may have done the rest.
    first: AuditContext,
}

impl Counts {
    fn add(&mut self, rejection: Rejection, count: u64, context: AuditContext) {
        if let Some(known) = self.0.iter_mut().find(|known| known.rejection == rejection) {
            known.count += count;
        } else {
            let first = AuditContext { request_id: None, actor: None, ..context };
            self.0.push(Count { rejection, count, first });
        }
    }
}

/// The context of a count that stands for many addresses.
fn nowhere(context: AuditContext) -> AuditContext {
    AuditContext { device: Device::default(), ..context }
}

const WRITTEN_PER_MINUTE: u32 = 10;
const ADDRESSES_MAX: usize = 4096;
/// How many events may wait, and how many together with what was counted: a few megabytes.
const READY_MAX: usize = 4096;
const CLOSED_MAX: usize = 2 * READY_MAX;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyward_core::audit::AuditKind;
    use keyward_core::time::Timestamp;

    use super::*;

    const MINUTE_START: Timestamp = Timestamp::from_secs(60_000);

    fn context(ip: &str, at: Timestamp) -> AuditContext {
        let device = Device { ip: Some(ip.to_owned()), user_agent: None };
        AuditContext { at, device, request_id: Some("r".to_owned()), actor: None }
    }

    fn note(tally: &mut Tally, rejection: Rejection, ip: &str, times: u32) {
        for _ in 0..times {
            tally.note(rejection, None, context(ip, MINUTE_START));
        }
    }

    /// What `taken` holds of this kind: the counts, in order.
    fn counts(taken: &[(AuditEvent, AuditContext)], rejection: Rejection) -> Vec<u64> {
        let of_kind =
            taken.iter().filter(|(event, _)| event.kind.name() == rejection.event(1).name());
        of_kind
            .map(|(event, _)| match event.kind {
                AuditKind::AccessTokenRejected { count } | AuditKind::CsrfRejected { count } => {
                    count
                }
                AuditKind::RefreshRejected { count, .. } => count,
                _ => panic!("{event:?}"),
            })
            .collect()
    }

    #[test]
    fn ten_a_minute_one_by_one_and_the_rest_as_one_per_kind() {
        let mut tally = Tally::default();
        note(&mut tally, Rejection::Csrf, "192.0.2.1", 8);
        note(&mut tally, Rejection::AccessToken, "192.0.2.1", 7);
        note(&mut tally, Rejection::Csrf, "192.0.2.1", 3);
        let taken = tally.take();
        assert_eq!(counts(&taken, Rejection::Csrf), [1; 8]);
        assert_eq!(counts(&taken, Rejection::AccessToken), [1; 2]);
        assert_eq!(taken[0].1, context("192.0.2.1", MINUTE_START));

        tally.close();
        let taken = tally.take();
        assert_eq!(counts(&taken, Rejection::Csrf), [3]);
        assert_eq!(counts(&taken, Rejection::AccessToken), [5]);
        assert_eq!(
            taken[0].1,
            AuditContext { request_id: None, ..context("192.0.2.1", MINUTE_START) }
        );
        tally.close();
        assert!(tally.take().is_empty());
    }

    #[test]
    fn another_address_has_ten_of_its_own() {
        let mut tally = Tally::default();
        note(&mut tally, Rejection::RefreshJunk, "192.0.2.1", 20);
        note(&mut tally, Rejection::RefreshJunk, "192.0.2.2", 4);
        note(&mut tally, Rejection::RefreshJunk, "2001:db8::1", 10);
        note(&mut tally, Rejection::RefreshJunk, "2001:db8::2", 5);
        assert_eq!(counts(&tally.take(), Rejection::RefreshJunk).len(), 10 + 4 + 10);
    }

    #[test]
    fn the_next_minute_begins_anew_and_writes_what_was_counted() {
        let mut tally = Tally::default();
        note(&mut tally, Rejection::Csrf, "192.0.2.1", 15);
        let later = MINUTE_START.plus(Duration::from_secs(60));
        tally.note(Rejection::Csrf, None, context("192.0.2.1", later));
        let expected = [vec![1; 10], vec![5], vec![1]].concat();
        assert_eq!(counts(&tally.take(), Rejection::Csrf), expected);
    }

    #[test]
    fn no_flood_outgrows_the_bounds_and_none_goes_uncounted() {
        let mut tally = Tally::default();
        for address in 0..100_000u32 {
            let ip = std::net::Ipv4Addr::from(address).to_string();
            note(&mut tally, Rejection::AccessToken, &ip, 2);
            note(&mut tally, Rejection::Csrf, &ip, 2);
        }
        assert_eq!(tally.addresses.len(), ADDRESSES_MAX);
        assert_eq!(tally.ready.len(), READY_MAX);
        // The next minute begins before anything was taken.
        let later = MINUTE_START.plus(Duration::from_secs(60));
        tally.note(Rejection::AccessToken, None, context("192.0.2.1", later));
        let mut noted = 0;
        for _ in 0..3 {
            tally.close();
            let taken = tally.take();
            assert!(taken.len() <= CLOSED_MAX);
            noted += counts(&taken, Rejection::AccessToken).iter().sum::<u64>();
            noted += counts(&taken, Rejection::Csrf).iter().sum::<u64>();
        }
        assert_eq!(noted, 400_001);
    }

    #[test]
    fn says_which_session_it_was_where_that_is_known() {
        let mut tally = Tally::default();
        let session = SessionId::from_bytes([2; 16]);
        let context = context("192.0.2.1", MINUTE_START);
        tally.note(Rejection::Csrf, Some(session), context);
        let taken = tally.take();
        assert_eq!((taken[0].0.user_id, taken[0].0.session_id), (None, Some(session)));
    }
}
