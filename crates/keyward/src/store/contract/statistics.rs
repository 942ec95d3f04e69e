//! Counts of what happens.

use keyward_core::audit::{AuditEvent, AuditKind};

use super::*;
use crate::store::{EventCount, HourCount, Population};

fn count(name: &str, count: u64) -> EventCount {
    EventCount { name: name.to_owned(), count }
}

/// By name, within the time that is asked for, and nothing else.
pub async fn counts_events_by_name(store: &dyn Store) {
    let events = (0..10_i64).map(|secs| {
        let kind = match secs % 3 {
            0 => AuditKind::SessionCreated {},
            1 => AuditKind::SessionRefreshed { generation: 1 },
            _ => AuditKind::PasswordChanged {},
        };
        (AuditEvent::of_user(kind, user_id(1)), context(secs))
    });
    store.record(events.collect()).await.expect(WORKS);
    const NAMES: &[&str] = &["login.failed", "session.created", "session.refreshed"];
    let (created, refreshed) = ("session.created", "session.refreshed");
    for (since, until, expected) in [
        (0, 10, vec![count(created, 4), count(refreshed, 3)]),
        (1, 4, vec![count(created, 1), count(refreshed, 1)]),
        (8, 9, vec![]),
        (10, 99, vec![]),
    ] {
        let found = store.count_events(NAMES, at(since), at(until)).await;
        assert_eq!(found, Ok(expected), "from {since} to {until}");
    }
}

/// An hour without events was counted too, and none is counted twice.
pub async fn keeps_the_counts_of_an_hour_once(store: &dyn Store) {
    assert_eq!(store.last_counted_hour().await, Ok(None));
    let first = vec![count("session.refreshed", 7), count("login.failed", 1)];
    assert_eq!(store.keep_counts(at(0), first).await, Ok(true));
    assert_eq!(store.keep_counts(at(0), vec![count("login.failed", 9)]).await, Ok(false));
    assert_eq!(store.keep_counts(at(3600), Vec::new()).await, Ok(true));
    assert_eq!(store.keep_counts(at(3600), vec![count("login.failed", 9)]).await, Ok(false));
    assert_eq!(store.last_counted_hour().await, Ok(Some(at(3600))));
    let kept = |hour, of| HourCount { hour: at(hour), of };
    let expected = [kept(0, count("login.failed", 1)), kept(0, count("session.refreshed", 7))];
    assert_eq!(store.list_counts(at(0), at(9999)).await, Ok(expected.to_vec()));
    assert_eq!(store.list_counts(at(1), at(9999)).await, Ok(Vec::new()));
    assert_eq!(store.list_counts(at(-9), at(0)).await, Ok(Vec::new()));
}

/// And keeps what comes next.
pub async fn forgets_counts_from_an_hour_on(store: &dyn Store) {
    for hour in 0..3 {
        let counts = vec![count("login.failed", 1)];
        assert_eq!(store.keep_counts(at(3600 * hour), counts).await, Ok(true));
    }
    assert_eq!(store.forget_counts(at(3600)).await, Ok(()));
    assert_eq!(store.last_counted_hour().await, Ok(Some(at(0))));
    assert_eq!(store.keep_counts(at(3600), vec![count("login.failed", 7)]).await, Ok(true));
    let found = store.list_counts(at(0), at(9999)).await.expect(WORKS);
    assert_eq!(found.iter().map(|found| found.of.count).collect::<Vec<_>>(), [1, 7]);
}

/// Of many processes that count one hour.
pub async fn keeps_one_count_of_many_at_once(store: &dyn Store) {
    let counts = (1..=20_u64).map(|number| {
        let counts = vec![count("login.failed", number), count("session.refreshed", number)];
        store.keep_counts(at(0), counts)
    });
    let kept = futures_util::future::join_all(counts).await;
    assert_eq!(kept.iter().filter(|kept| **kept == Ok(true)).count(), 1, "{kept:?}");
    let found = store.list_counts(at(0), at(1)).await.expect(WORKS);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].of.count, found[1].of.count);
}

/// Who is disabled, and which sessions have ended or timed out.
pub async fn counts_the_population(store: &dyn Store) {
    assert_eq!(store.count_population(at(0)).await, Ok(Population::default()));
    for number in 1..=3 {
        insert_user(store, number).await;
        open(store, number, number, 0).await;
    }
    open(store, 4, 3, 60).await;
    set_disabled(store, 1, true, &context(5)).await;
    let population = |live_sessions| Population { users: 3, disabled_users: 1, live_sessions };
    assert_eq!(store.count_population(at(70)).await, Ok(population(3)));
    assert_eq!(store.count_population(at(0).plus(DAY)).await, Ok(population(1)));
}
