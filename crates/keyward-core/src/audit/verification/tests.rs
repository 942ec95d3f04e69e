//! Every kind of damage, and what is none.

use zeroize::Zeroizing;

use super::super::chain::{ChainKey, UserSalt};
use super::*;
use crate::id::{SessionId, UserId};
use crate::session::Device;

const ADA: UserId = UserId::from_bytes([1; 16]);

fn key(byte: u8) -> ChainKey {
    ChainKey::from_seed(&Zeroizing::new([byte; 32]))
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

fn event(id: i64) -> RecordedEvent {
    RecordedEvent {
        id,
        at: at(id),
        name: "session.refreshed".to_owned(),
        user_id: Some(ADA),
        session_id: Some(SessionId::from_bytes([2; 16])),
        device: Device { ip: Some("192.0.2.1".to_owned()), user_agent: Some("curl".to_owned()) },
        request_id: Some(format!("request-{id}")),
        detail: format!(r#"{{"generation":{id}}}"#),
    }
}

fn named(id: i64, name: &str, detail: &str) -> RecordedEvent {
    RecordedEvent { name: name.to_owned(), detail: detail.to_owned(), ..event(id) }
}

/// A log with its chain, three events a checkpoint.
struct Log {
    events: Vec<RecordedEvent>,
    checkpoints: Vec<Checkpoint>,
    salt: Option<UserSalt>,
}

impl Log {
    fn sealed(events: Vec<RecordedEvent>) -> Self {
        Self::sealed_by(&key(1), events)
    }

    fn sealed_by(key: &ChainKey, events: Vec<RecordedEvent>) -> Self {
        let salt = UserSalt::from_bytes([9; 32]);
        let mut checkpoints: Vec<Checkpoint> = Vec::new();
        for events in events.chunks(3) {
            let salted: Vec<_> =
                events.iter().map(|event| (event.clone(), Some(salt.of_event(event.id)))).collect();
            let last = checkpoints.last();
            let sealed = Checkpoint::seal(last, &salted, at(1000), key);
            checkpoints.extend(sealed);
        }
        Self { events, checkpoints, salt: Some(salt) }
    }

    fn of_nine() -> Self {
        Self::sealed((1..=9).map(event).collect())
    }

    /// Seals more events behind the last checkpoint.
    fn go_on(&mut self, events: &[RecordedEvent], key: &ChainKey) {
        let unsalted: Vec<_> = events.iter().map(|event| (event.clone(), None)).collect();
        let now = events.iter().map(|event| event.at).fold(at(1001), Timestamp::max);
        let sealed = Checkpoint::seal(self.checkpoints.last(), &unsalted, now, key);
        self.checkpoints.extend(sealed);
        self.events.extend_from_slice(events);
    }

    fn verify(&self) -> Verified {
        self.verify_with(Verification::new(Some(key(1).public()), None))
    }

    fn verify_with(&self, mut verification: Verification) -> Verified {
        let mut events = self.events.iter().peekable();
        for checkpoint in &self.checkpoints {
            while let Some(event) =
                events.next_if(|event| Some(event.id) <= checkpoint.events.last())
            {
                let salt = self.salt.map(|salt| salt.of_event(event.id));
                verification.event(event, salt);
            }
            verification.checkpoint(checkpoint);
        }
        events.for_each(|event| verification.unsealed(event));
        verification.finish()
    }

    #[track_caller]
    fn assert_damage(&self, kind: DamageKind, checkpoint: u64, event_id: Option<i64>) {
        let damage = self.verify().damage.expect("damage");
        assert_eq!(
            (damage.kind, damage.checkpoint, damage.event_id),
            (kind, checkpoint, event_id),
            "{damage}"
        );
    }
}

#[test]
fn what_is_as_it_was_sealed_is_no_damage() {
    let mut log = Log::of_nine();
    log.events.push(event(10));
    let expected = Verified {
        checkpoints: 3,
        first: Some(1),
        head: Some(log.checkpoints[2].anchor()),
        events: 9,
        unsealed: 1,
        unsealed_since: Some(at(10)),
        ..Verified::default()
    };
    assert_eq!(log.verify(), expected);
    assert_eq!(Verification::new(None, None).finish(), Verified::default());
}

#[test]
fn each_field_of_an_event_counts() {
    let changes: &[fn(&mut RecordedEvent)] = &[
        |event| event.at = at(0),
        |event| event.name = "login.succeeded".to_owned(),
        |event| event.user_id = None,
        |event| event.session_id = None,
        |event| event.device.ip = Some("192.0.2.2".to_owned()),
        |event| event.device.user_agent = Some("browser".to_owned()),
        |event| event.device.user_agent = None,
        |event| event.request_id = None,
        |event| event.detail = "{}".to_owned(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut log = Log::of_nine();
        change(&mut log.events[4]);
        let damage = log.verify().damage.expect("damage");
        let found = (damage.kind, damage.checkpoint, damage.event_id);
        assert_eq!(found, (DamageKind::Altered, 2, Some(5)), "{number}");
    }
}

#[test]
fn the_address_of_nobody_counts() {
    for (user_id, detail) in [(None, "{}"), (Some(ADA), r#"{"actor":{"serviceKeyId":"x"}}"#)] {
        let stranger =
            RecordedEvent { user_id, session_id: None, ..named(1, "login.failed", detail) };
        let mut log = Log::sealed(vec![stranger]);
        assert_eq!(log.verify().damage, None);
        log.events[0].device = Device::default();
        log.assert_damage(DamageKind::Altered, 1, Some(1));
    }
}

#[test]
fn events_are_missed_inserted_and_swapped() {
    let mut log = Log::of_nine();
    log.events.remove(4);
    log.assert_damage(DamageKind::Missing, 2, Some(5));
    log.events.remove(1);
    log.assert_damage(DamageKind::Missing, 1, Some(2));

    let mut log = Log::sealed([1, 2, 3, 5, 6, 7].map(event).to_vec());
    log.events.insert(3, event(4));
    log.assert_damage(DamageKind::Inserted, 2, Some(4));

    let mut log = Log::of_nine();
    log.events.swap(3, 4);
    log.assert_damage(DamageKind::Reordered, 2, Some(4));
    log.events[3].id = 4;
    log.events[4].id = 5;
    log.assert_damage(DamageKind::Altered, 2, Some(4));
}

#[test]
fn checkpoints_are_altered_missed_and_forged() {
    let changes: &[fn(&mut Checkpoint)] = &[
        |one| one.at = at(0),
        |one| one.month = at(0),
        |one| one.reached = at(0),
        |one| one.events = [4, 5].into_iter().collect(),
        |one| one.events = [4, 5, 7].into_iter().collect(),
        |one| one.tags[0] ^= 1,
        |one| one.tags.truncate(64),
        |one| one.previous = ChainHash::START,
        |one| one.head = ChainHash::START,
        |one| one.key = key(2).public(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut log = Log::of_nine();
        change(&mut log.checkpoints[1]);
        let damage = log.verify().damage.expect("damage");
        assert_eq!(
            (damage.kind, damage.checkpoint),
            (DamageKind::CheckpointAltered, 2),
            "{number}"
        );
    }
    let mut log = Log::of_nine();
    log.checkpoints[1].signature[0] ^= 1;
    log.assert_damage(DamageKind::Unsigned, 2, None);
    let mut log = Log::of_nine();
    log.checkpoints.remove(1);
    log.assert_damage(DamageKind::CheckpointMissing, 2, None);
    let mut log = Log::of_nine();
    log.checkpoints.remove(0);
    log.events.drain(..3);
    log.assert_damage(DamageKind::BeginningMissing, 2, None);
}

#[test]
fn a_chain_of_another_key_is_none() {
    let log = Log::of_nine();
    let other = Verification::new(Some(key(2).public()), None);
    let damage = log.verify_with(other).damage.expect("damage");
    assert_eq!((damage.kind, damage.checkpoint), (DamageKind::Unsigned, 3));
    assert_eq!(log.verify_with(Verification::new(None, None)).damage, None);

    // What is written with another key is not made good by the key that goes on behind it.
    let mut forged = Log::sealed_by(&key(2), (1..=9).map(event).collect());
    forged.go_on(&[event(10)], &key(1));
    forged.assert_damage(DamageKind::Unsigned, 4, None);
}

#[test]
fn a_chain_is_handed_over_by_both_keys() {
    let handed = |from: &ChainKey, to: &ChainKey| {
        let mut log = Log::of_nine();
        let over = Checkpoint::hand_over(log.checkpoints.last(), at(1001), from, to);
        log.checkpoints.push(over);
        log
    };
    let by_new = || Verification::new(Some(key(2).public()), None);
    let mut log = handed(&key(1), &key(2));
    let verified = log.verify_with(by_new());
    assert_eq!((verified.damage, verified.by_earlier_keys), (None, 3));
    log.assert_damage(DamageKind::Unsigned, 4, None);
    log.go_on(&[event(10)], &key(2));
    let verified = log.verify_with(by_new());
    assert_eq!((verified.damage, verified.checkpoints, verified.events), (None, 5, 10));
    // Nobody goes on with the key before.
    log.go_on(&[event(11)], &key(1));
    log.assert_damage(DamageKind::Unsigned, 6, None);

    for (from, to) in [(3, 2), (2, 2)] {
        let damage = handed(&key(from), &key(to)).verify_with(by_new()).damage.expect("damage");
        assert_eq!((damage.kind, damage.checkpoint), (DamageKind::Unsigned, 4), "{from}");
    }
    // Each of the two signatures counts, and a checkpoint over events has one alone.
    for (place, number) in [(0, 4), (64, 4), (0, 3)] {
        let mut log = handed(&key(1), &key(2));
        let extra = log.checkpoints[3].signature.clone();
        let signature = &mut log.checkpoints[number - 1].signature;
        if number == 3 {
            signature.extend(extra);
        } else {
            signature[place] ^= 1;
        }
        let damage = log.verify_with(by_new()).damage.expect("damage");
        assert_eq!((damage.kind, damage.checkpoint), (DamageKind::Unsigned, number as u64));
    }
    // A chain may begin with one.
    let mut log = Log { checkpoints: Vec::new(), events: Vec::new(), salt: None };
    log.checkpoints.push(Checkpoint::hand_over(None, at(0), &key(1), &key(2)));
    log.go_on(&[event(1)], &key(2));
    let verified = log.verify_with(by_new());
    assert_eq!((verified.damage, verified.events, verified.by_earlier_keys), (None, 1, 0));
}

#[test]
fn an_anchor_shows_what_was_cut_off_or_written_anew() {
    let mut log = Log::of_nine();
    let anchor = log.checkpoints[2].anchor();
    assert_eq!(Anchor::parse(&anchor.to_string()), Some(anchor));
    let anchored = || Verification::new(None, Some(anchor));
    let whole = log.verify_with(anchored());
    assert_eq!((whole.damage, whole.is_anchored), (None, true));
    log.checkpoints.truncate(2);
    let damage = log.verify_with(anchored()).damage.expect("damage");
    assert_eq!((damage.kind, damage.checkpoint), (DamageKind::EndMissing, 3));

    let mut events: Vec<_> = (1..=9).map(event).collect();
    events[0].detail = "{}".to_owned();
    let log = Log::sealed(events);
    assert_eq!(log.verify().damage, None);
    let damage = log.verify_with(anchored()).damage.expect("damage");
    assert_eq!((damage.kind, damage.checkpoint), (DamageKind::Rewritten, 3));
}

#[test]
fn a_deletion_excuses_what_it_takes_away() {
    let mut log = Log::of_nine();
    log.salt = None;
    log.assert_damage(DamageKind::Altered, 1, Some(1));
    for event in &mut log.events {
        event.device = Device::default();
    }
    log.assert_damage(DamageKind::Redacted, 1, Some(1));
    log.events.push(named(10, "user.deleted", "{}"));
    let verified = log.verify();
    assert_eq!((verified.damage, verified.events, verified.redacted), (None, 9, 9));
    // A file can be written to by whoever has it.
    let part = || Verification::of_part(Some(key(1).public()), None);
    let damage = log.verify_with(part()).damage.expect("damage");
    assert_eq!((damage.kind, damage.event_id), (DamageKind::Redacted, Some(1)));
    log.events.pop();
    log.go_on(&[named(10, "user.deleted", "{}")], &key(1));
    assert_eq!(log.verify_with(part()).damage, None);
    // What was altered besides is not.
    log.events[8].detail = "{}".to_owned();
    log.assert_damage(DamageKind::Altered, 3, Some(9));
}

#[test]
fn a_purge_excuses_whole_months_and_no_more() {
    const MONTH: i64 = 40 * 24 * 60 * 60;
    let of_month = |id: i64| RecordedEvent { at: at((id + 2) / 3 * MONTH), ..event(id) };
    let until = of_month(7).at.start_of_month().to_rfc3339();
    let purged = |secs| {
        let detail = format!(r#"{{"until":"{until}"}}"#);
        RecordedEvent { at: at(secs), ..named(10, "audit.purged", &detail) }
    };
    let mut log = Log::sealed((1..=9).map(of_month).collect());
    assert_eq!(log.verify().damage, None);
    log.events.drain(..6);
    log.assert_damage(DamageKind::Missing, 1, Some(1));
    // Nobody has sealed it yet, and so nobody vouches for when it was said.
    log.events.push(purged(9 * MONTH));
    log.assert_damage(DamageKind::Missing, 1, Some(1));
    log.events.pop();
    log.go_on(&[purged(9 * MONTH)], &key(1));
    let verified = log.verify();
    assert_eq!((verified.damage, verified.events, verified.purged), (None, 4, 6));
    // The last checkpoint of what has gone stays, and shows that no other one is missing.
    log.checkpoints.remove(0);
    assert_eq!(log.verify().damage, None);
    let kept = log.checkpoints.remove(0);
    log.assert_damage(DamageKind::BeginningMissing, 3, None);
    log.checkpoints.insert(0, kept);
    log.events.remove(0);
    log.assert_damage(DamageKind::Missing, 3, Some(7));
    // No event can say that what is recent was purged, whatever time it says that it is.
    let mut log = Log::of_nine();
    log.events.drain(..3);
    let late = Checkpoint::seal(
        log.checkpoints.last(),
        &[(purged(9 * MONTH), None)],
        at(2 * MONTH),
        &key(1),
    );
    log.checkpoints.extend(late);
    log.events.push(purged(9 * MONTH));
    log.assert_damage(DamageKind::Missing, 1, Some(1));
}

/// Events leave first, and the checkpoints after them while somebody verifies what is left.
#[test]
fn a_purge_that_goes_on_meanwhile_is_no_damage() {
    const MONTH: i64 = 40 * 24 * 60 * 60;
    let of_month = |id: i64| RecordedEvent { at: at((id + 2) / 3 * MONTH), ..event(id) };
    let until = |id| format!(r#"{{"until":"{}"}}"#, of_month(id).at.start_of_month().to_rfc3339());
    let purged =
        |until: String| RecordedEvent { at: at(12 * MONTH), ..named(16, "audit.purged", &until) };
    let in_middle = |until: String| {
        let mut log = Log::sealed((1..=15).map(of_month).collect());
        log.go_on(&[purged(until)], &key(1));
        log.checkpoints.drain(1..3);
        log.events.drain(3..12);
        log
    };
    assert_eq!(in_middle(until(13)).verify().damage, None);
    in_middle(until(12)).assert_damage(DamageKind::CheckpointMissing, 2, None);

    // Who puts others before the gap excuses nothing by what they say.
    let mut log = in_middle("{}".to_owned());
    let says = RecordedEvent { at: at(12 * MONTH), ..named(1, "audit.purged", &until(13)) };
    log.events[0] = says.clone();
    let forged = Checkpoint::seal(None, &[(says, None)], at(12 * MONTH), &key(2));
    log.checkpoints[0] = forged.expect("an event");
    log.events.drain(1..3);
    log.assert_damage(DamageKind::CheckpointMissing, 2, None);
    // Nor does a chain go back.
    let mut log = Log::of_nine();
    log.checkpoints.push(log.checkpoints[1].clone());
    log.assert_damage(DamageKind::CheckpointAltered, 2, None);
}

/// What is gone is the beginning: the first month may be on its way out, and no other.
#[test]
fn a_purge_takes_nothing_from_the_middle() {
    const MONTH: i64 = 40 * 24 * 60 * 60;
    // Four checkpoints a month.
    let of_month = |id: i64| RecordedEvent { at: at((id + 11) / 12 * MONTH + id), ..event(id) };
    let detail = format!(r#"{{"until":"{}"}}"#, of_month(37).at.start_of_month().to_rfc3339());
    let purged = RecordedEvent { at: at(12 * MONTH), ..named(49, "audit.purged", &detail) };
    let without = |gone: &[i64]| {
        let mut log = Log::sealed((1..=48).map(of_month).collect());
        log.go_on(std::slice::from_ref(&purged), &key(1));
        log.events.retain(|event| !gone.contains(&event.id));
        log
    };
    let from_beginning: Vec<i64> = (1..=30).collect();
    for gone in [&from_beginning[..], &from_beginning[..12], &from_beginning[..5], &[1, 2, 4, 3]] {
        assert_eq!(without(gone).verify().damage, None, "{gone:?}");
    }
    // Its neighbours were written at the same time, in whatever order.
    assert_eq!(without(&[1, 2, 5]).verify().damage, None);
    without(&[7]).assert_damage(DamageKind::Missing, 3, Some(7));
    without(&[1, 12]).assert_damage(DamageKind::Missing, 1, Some(1));
    without(&[14]).assert_damage(DamageKind::Missing, 5, Some(14));
    let month: Vec<i64> = (13..=24).collect();
    without(&month).assert_damage(DamageKind::Missing, 5, Some(13));
    let all_but_first: Vec<i64> = (2..=36).collect();
    without(&all_but_first).assert_damage(DamageKind::Missing, 1, Some(2));
    without(&(1..=37).collect::<Vec<_>>()).assert_damage(DamageKind::Missing, 13, Some(37));
}
