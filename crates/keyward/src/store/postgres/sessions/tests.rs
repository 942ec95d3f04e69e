use super::*;
use crate::store::RevokeScope;
use crate::store::postgres::fresh::fresh_postgres;
use crate::store::postgres::tests::{context, insert_user, open, run, session_id};

/// A step at a time, so that refreshes wait for one step alone. Session 2 has ended before, and 7
/// has timed out, of which the log says nothing.
#[tokio::test]
async fn all_sessions_end_in_steps() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    for number in 1..=8 {
        open(&store, number, 1).await;
    }
    database
        .run(
            "UPDATE keyward.session SET revoked_at = 1, revoked_reason = 'logout' \
             WHERE id = '02020202-0202-0202-0202-020202020202'; \
             UPDATE keyward.session SET idle_expires_at = 1 \
             WHERE id = '07070707-0707-0707-0707-070707070707'",
        )
        .await;
    let kind = AuditKind::SessionReuseDetected { generation: 1, current_generation: 2 };
    let reason = RevocationReason::Admin;
    let revoke =
        Revoke { scope: RevokeScope::All, reason, noticed: Some((session_id(5), kind.clone())) };
    let ended = revoke_all(&store.connections, &revoke, 3, &context()).await;
    assert_eq!(ended, Ok([5, 1, 3, 4, 6, 8].map(session_id).to_vec()));
    let steps = "SELECT string_agg(step, ' ' ORDER BY id) FROM (SELECT min(id) AS id, \
         string_agg(left(session_id::text, 2), ',' ORDER BY id) AS step FROM keyward.audit_event \
         WHERE name IN ('session.revoked', 'session.reuse_detected') GROUP BY written_by) AS steps";
    assert_eq!(database.text(steps).await, "05 01,03 04,06 08");
    let told = "SELECT string_agg(step, ' ' ORDER BY step) FROM (SELECT \
         string_agg(left(session_id::text, 2), ',' ORDER BY session_id) AS step \
         FROM keyward.revocation WHERE at > 1 GROUP BY written_by) AS steps";
    assert_eq!(database.text(told).await, "01,03 04,06 05 07,08");
    let live = "SELECT count(*) FROM keyward.session WHERE revoked_at IS NULL";
    assert_eq!(database.number(live).await, 0);
    let again = revoke_all(&store.connections, &revoke, 3, &context()).await;
    assert_eq!(again, Ok(Vec::new()));
}

/// A step that fails undoes none of those before it, and whoever asks again ends the rest.
#[tokio::test]
async fn what_was_ended_before_a_step_failed_stays_ended() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    for number in 1..=5 {
        open(&store, number, 1).await;
    }
    let refuse = "CREATE FUNCTION keyward.refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER refuse BEFORE UPDATE ON keyward.session FOR EACH ROW \
         WHEN (NEW.id = '04040404-0404-0404-0404-040404040404') EXECUTE FUNCTION keyward.refuse()";
    database.run(refuse).await;
    let reason = RevocationReason::Admin;
    let revoke = Revoke { scope: RevokeScope::All, reason, noticed: None };
    let failed = revoke_all(&store.connections, &revoke, 2, &context()).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    database.run("DROP TRIGGER refuse ON keyward.session").await;
    let rest = revoke_all(&store.connections, &revoke, 2, &context()).await;
    assert_eq!(rest, Ok([3, 4, 5].map(session_id).to_vec()));
    let events = "SELECT count(*) FROM keyward.audit_event WHERE name = 'session.revoked'";
    assert_eq!(database.number(events).await, 5);
}

/// Of whoever ends one by hand: a list with half of a revocation in it would fail for everybody.
#[tokio::test]
async fn half_of_a_revocation_is_refused_by_the_server() {
    let (store, _database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    open(&store, 1, 1).await;
    for (half, whole) in [
        ("revoked_at = 1", "revoked_at = 1, revoked_reason = 'admin'"),
        ("revoked_reason = NULL", "revoked_at = NULL, revoked_reason = NULL"),
        ("revoked_reason = 'admin'", "generation = 1"),
    ] {
        let half = format!("UPDATE keyward.session SET {half}");
        let refused = store.connections.run(PATIENCE, |connection| run(connection, &half)).await;
        assert!(refused.is_err(), "{half}");
        let whole = format!("UPDATE keyward.session SET {whole}");
        let changed = store.connections.run(PATIENCE, |connection| run(connection, &whole)).await;
        assert_eq!(changed, Ok(()), "{whole}");
    }
}
