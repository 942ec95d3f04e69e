//! The audit log by itself.

use keyward_core::audit::{AuditEvent, AuditKind, LoginFailure};

use super::*;

/// Each event with its own context, under ids that rise.
pub async fn records_in_order(store: &dyn Store) {
    insert_user(store, 1).await;
    let skipped = events(store).await.len();
    let nobody =
        AuditContext { at: at(2), device: Default::default(), request_id: None, actor: None };
    let failed = AuditKind::LoginFailed { reason: LoginFailure::WrongPassword };
    let recorded = vec![
        (AuditEvent::of_user(failed, user_id(1)), context(3)),
        (AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 7 }), nobody.clone()),
        (refreshed(2, 1), context(1)),
    ];
    store.record(recorded).await.expect(WORKS);
    let events = &events(store).await[skipped..];
    let expected = [
        r#"login.failed 1 - {"reason":"wrong_password"}"#,
        r#"csrf.rejected - - {"count":7}"#,
        r#"session.refreshed 1 2 {"generation":1}"#,
    ];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(events.is_sorted_by(|a, b| a.id < b.id));
    for (event, context) in events.iter().zip([context(3), nobody, context(1)]) {
        assert_eq!(event.at, context.at);
        assert_eq!((&event.device, &event.request_id), (&context.device, &context.request_id));
    }
}

/// An empty list records nothing.
pub async fn records_nothing_for_nothing(store: &dyn Store) {
    store.record(Vec::new()).await.expect(WORKS);
    assert!(events(store).await.is_empty());
}

/// Each filter by itself and all together.
pub async fn filters_events(store: &dyn Store) {
    record_ten(store).await;
    let everything = AuditFilter { limit: 100, ..AuditFilter::default() };
    let by_name = AuditFilter { name: Some("user.updated".to_owned()), ..everything.clone() };
    let by_user = AuditFilter { user_id: Some(user_id(1)), ..everything.clone() };
    let by_session = AuditFilter { session_id: Some(session_id(2)), ..everything.clone() };
    let since = AuditFilter { since: Some(at(8)), ..everything.clone() };
    let until = AuditFilter { until: Some(at(3)), ..everything.clone() };
    let seventh = events(store).await[6].id;
    let from_id = AuditFilter {
        from_id: Some(seventh),
        since: Some(at(1)),
        until: Some(at(10)),
        ..by_user.clone()
    };
    let all = AuditFilter {
        name: Some("session.refreshed".to_owned()),
        user_id: Some(user_id(1)),
        session_id: Some(session_id(1)),
        since: Some(at(3)),
        until: Some(at(9)),
        ..everything.clone()
    };
    for (filter, expected) in [
        (AuditFilter::default(), &[][..]),
        (everything, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (by_name, &[9, 6, 3]),
        (by_user, &[10, 9, 7, 5, 3, 1]),
        (by_session, &[8, 4, 2]),
        (since, &[10, 9, 8]),
        (until, &[2, 1]),
        (all, &[7, 5]),
        (from_id, &[9, 7]),
    ] {
        assert_listed(store, filter, expected).await;
    }
}

/// Newest first from before an event, oldest first from after one.
pub async fn pages_both_ways(store: &dyn Store) {
    record_ten(store).await;
    let ids: Vec<i64> = events(store).await.iter().map(|event| event.id).collect();
    let odd = Some(user_id(1));
    for (order, user_id, limit, expected) in [
        (AuditOrder::Newest, None, 3, &[10, 9, 8][..]),
        (AuditOrder::Before(ids[7]), None, 3, &[7, 6, 5]),
        (AuditOrder::Before(ids[0]), None, 3, &[]),
        (AuditOrder::After(ids[7]), None, 3, &[9, 10]),
        (AuditOrder::After(ids[2]), None, 2, &[4, 5]),
        (AuditOrder::After(0), odd, 2, &[1, 3]),
        (AuditOrder::Before(ids[8]), odd, 2, &[7, 5]),
    ] {
        let filter = AuditFilter { order, user_id, limit, ..AuditFilter::default() };
        assert_listed(store, filter, expected).await;
    }
}

/// One event a second, 1 to 10: every third about a user, the others about a session; the even ones
/// of user 2 but for the last.
async fn record_ten(store: &dyn Store) {
    let events = (1..=10_u8).map(|secs| {
        let user = if secs % 2 == 0 && secs != 10 { 2 } else { 1 };
        let event = if secs % 3 == 0 {
            AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, user_id(user))
        } else {
            refreshed(if secs == 10 { 3 } else { user }, user)
        };
        (event, context(i64::from(secs)))
    });
    store.record(events.collect()).await.expect(WORKS);
}

fn refreshed(session: u8, user: u8) -> AuditEvent {
    let kind = AuditKind::SessionRefreshed { generation: 1 };
    AuditEvent::of_session(kind, user_id(user), session_id(session))
}

async fn assert_listed(store: &dyn Store, filter: AuditFilter, expected: &[i64]) {
    let events = store.list_audit(filter.clone()).await.expect(WORKS);
    let secs: Vec<i64> = events.iter().map(|event| event.at.secs() - at(0).secs()).collect();
    assert_eq!(secs, expected, "{filter:?}");
}
