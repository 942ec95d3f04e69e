//! What has had its time leaves, beside a service that goes on.

mod checks;
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use checks::faulty_store::{Call, Fault, FaultyStore};
use checks::{assert_refused_for_good, count_events, details};
use common::{Browser, TestApp};
use keyward::store::layer::Layer;
use keyward::store::{MemoryStore, NewSession, OpenSessionOutcome, SqliteStore, Store, StoreError};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::rotation::RotationPolicy;
use keyward_core::session::{Device, Session};
use keyward_core::time::Timestamp;
use serde_json::json;
use tokio::sync::Notify;

const ADA: &str = "ada@example.org";
const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_session_is_known_until_thirty_days_after_its_timeout() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    app.advance(60 * DAY);
    app.keyward.maintain().await.expect("a store");
    assert_refused_for_good(&ada.clone().refresh().await, "SESSION_EXPIRED");
    app.clock.advance(Duration::from_millis(1));
    app.keyward.maintain().await.expect("a store");
    assert_refused_for_good(&ada.refresh().await, "INVALID_REFRESH_TOKEN");
    let refused: Vec<_> = details(&app, "refresh.rejected").await;
    let reasons: Vec<_> = refused.iter().map(|detail| &detail["reason"]).collect();
    assert_eq!(reasons, ["expired", "unknown_session"]);
}

/// Whoever comes back with a stolen token is still noticed, as long as there is anything to steal.
#[tokio::test]
async fn a_theft_is_seen_whatever_has_left() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut thief = ada.clone();
    for _ in 0..29 {
        app.advance(DAY);
        app.keyward.maintain().await.expect("a store");
        ada.refresh().await.assert(StatusCode::OK, None);
    }
    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn events_leave_by_the_month_and_one_event_tells_of_it() {
    let app = TestApp::new().await;
    let begun = Timestamp::from_rfc3339("2026-10-01T00:00:00Z").expect("a time");
    for at in [begun.minus(Duration::from_millis(1)), begun] {
        record(&app, at).await;
    }
    app.clock.set(begun.plus(Duration::from_secs(365 * DAY)).minus(Duration::from_millis(1)));
    app.keyward.maintain().await.expect("a store");
    assert_eq!(app.audit_names().await, ["user.updated", "user.updated"]);
    app.clock.advance(Duration::from_millis(1));
    for _ in 0..2 {
        app.keyward.maintain().await.expect("a store");
        assert_eq!(app.audit_names().await, ["user.updated", "audit.purged"]);
    }
    let expected = json!({ "until": "2026-10-01T00:00:00.000Z" });
    assert_eq!(details(&app, "audit.purged").await, [expected]);
}

#[tokio::test]
async fn events_may_stay_for_ever() {
    let app = TestApp::with_policy(|policy| policy.audit.retention = None).await;
    record(&app, app.keyward.now()).await;
    app.advance(10_000 * DAY);
    app.keyward.maintain().await.expect("a store");
    assert_eq!(app.audit_names().await, ["user.updated"]);
}

/// What fails says so, and keeps nothing else from leaving.
#[tokio::test]
async fn a_failure_is_told_and_the_next_round_goes_on() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = app.registered(ADA).await;
    app.advance(61 * DAY);
    store.fail(Call::Purge, Fault::Down);
    app.keyward.maintain().await.expect_err("nothing can be deleted");
    store.heal();
    store.fail(Call::PrepareAudit, Fault::Down);
    app.keyward.maintain().await.expect_err("no month is prepared");
    assert_refused_for_good(&ada.refresh().await, "INVALID_REFRESH_TOKEN");
    store.heal();
    assert_eq!(app.keyward.maintain().await, Ok(()));
}

/// The start is not slowed by what has piled up, and within the hour it leaves.
#[tokio::test]
async fn the_background_does_it_by_itself() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    app.advance(61 * DAY);
    tokio::time::pause();
    for (minutes, code) in [(29, "SESSION_EXPIRED"), (60, "INVALID_REFRESH_TOKEN")] {
        tokio::select! {
            () = app.keyward.run_background() => panic!("it ends only when it is dropped"),
            () = tokio::time::sleep(Duration::from_secs(minutes * 60)) => {}
        }
        assert_refused_for_good(&ada.clone().refresh().await, code);
    }
}

#[tokio::test]
async fn many_dead_sessions_leave_in_small_steps_between_which_requests_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("test.db");
    let opened = SqliteStore::open(&place, Timestamp::from_secs(1)).expect("a store");
    for inner in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(opened)] {
        check_steps(inner).await;
    }
}

async fn check_steps(inner: Arc<dyn Store>) {
    let store = Arc::new(WatchedStore { inner, steps: AtomicUsize::new(0), taken: Notify::new() });
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let user_id = user_of(&app, &app.registered("bob@example.org").await).await;
    for number in 0..600 {
        open(&app, user_id, number).await;
    }
    app.advance(61 * DAY);
    let mut ada = app.registered(ADA).await;
    let mut maintenance = std::pin::pin!(app.keyward.maintain());
    let mut served_after = Vec::new();
    loop {
        tokio::select! {
            biased;
            done = &mut maintenance => {
                assert_eq!(done, Ok(()));
                break;
            }
            () = store.taken.notified() => {
                ada.refresh().await.assert(StatusCode::OK, None);
                served_after.push(store.steps.load(Ordering::SeqCst));
            }
        }
    }
    assert_eq!(served_after[..2], [1, 2]);
    // Two that delete, and one each that finds nothing: sessions, revocations, sign-ins that
    // wait for a code, one-time tokens, mails, the audit log, its checkpoints.
    assert_eq!(store.steps.load(Ordering::SeqCst), 9);
    for number in 0..600 {
        assert_eq!(app.store.find_session(session_id(number)).await, Ok(None));
    }
    assert_eq!(count_events(&app, "audit.purged").await, 0);
}

async fn record(app: &TestApp, at: Timestamp) {
    let event = AuditEvent::of_user(
        AuditKind::UserUpdated { fields: Vec::new() },
        UserId::from_bytes([1; 16]),
    );
    let context = AuditContext { at, ..app.nobody() };
    assert_eq!(app.store.record(vec![(event, context)]).await, Ok(()));
}

async fn user_of(app: &TestApp, browser: &Browser) -> UserId {
    let session_id = checks::session_id(browser);
    let found = app.store.find_session(session_id).await.expect("a store");
    found.expect("the session").user.id
}

fn session_id(number: u16) -> SessionId {
    let [high, low] = number.to_be_bytes();
    SessionId::from_bytes([high, low, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
}

/// Opens a session beside all the others.
async fn open(app: &TestApp, user_id: UserId, number: u16) {
    let hash = RefreshTokenHash::from_bytes([7; 32]);
    let (policy, now) = (RotationPolicy::default(), app.keyward.now());
    let session = Session::open(session_id(number), user_id, hash, &policy, Device::default(), now);
    let new = NewSession { session, supersedes: None, sessions_max: 10_000, notice: None };
    let opened = app.store.open_session(new, 0, &app.nobody()).await;
    assert!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), "{opened:?}");
}

/// Counts the steps of purges, and tells of each when it is done.
#[derive(Debug)]
struct WatchedStore {
    inner: Arc<dyn Store>,
    steps: AtomicUsize,
    taken: Notify,
}

impl Layer for WatchedStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let done = work.await;
        if call == Call::Purge {
            self.steps.fetch_add(1, Ordering::SeqCst);
            self.taken.notify_one();
        }
        done
    }
}
