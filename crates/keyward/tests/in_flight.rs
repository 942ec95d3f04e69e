//! What happens while a request is on its way: a store that lets something else happen between two
//! of its steps, or that is out of reach.

mod common;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use common::{Answer, Browser, PASSWORD, TestApp};
use futures_util::future::BoxFuture;
use keyward::store::{
    Account, AuditFilter, InsertUserOutcome, KeyRecord, MemoryStore, NewSession, NewUser,
    OpenSessionOutcome, PasswordHash, Revoke, RotateOutcome, SessionFilter, SessionOfUser, Store,
    StoreError, User, WhichSessions,
};
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{Device, Session, Swap};
use serde_json::json;

const ADA: &str = "ada@example.org";
const NEW: &str = "regenschirm aus zimt";

/// Where a request is interrupted: after this read, before the service acts on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Session,
    User,
    UserByEmail,
}

/// A memory store with something that happens meanwhile.
#[derive(Default)]
struct RacingStore {
    inner: MemoryStore,
    meanwhile: Mutex<Option<(After, BoxFuture<'static, ()>)>>,
    users_unavailable: AtomicBool,
}

impl RacingStore {
    /// Lets this happen once.
    fn meanwhile(&self, after: After, what: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().expect("a lock") = Some((after, Box::pin(what)));
    }

    async fn interrupt(&self, here: After) {
        let what = self.meanwhile.lock().expect("a lock").take_if(|(after, _)| *after == here);
        if let Some((_, what)) = what {
            what.await;
        }
    }

    fn available(&self) -> Result<(), StoreError> {
        match self.users_unavailable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("told to fail".to_owned())),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for RacingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RacingStore")
    }
}

#[async_trait]
impl Store for RacingStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.inner.insert_user(user, session, context).await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.available()?;
        let found = self.inner.find_user_by_email(email_key).await;
        self.interrupt(After::UserByEmail).await;
        found
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.available()?;
        let found = self.inner.find_user(id).await;
        self.interrupt(After::User).await;
        found
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.inner.list_users(after, limit).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.inner.set_name(id, name, context).await
    }

    async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.inner.set_roles(id, roles, context).await
    }

    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.inner.set_disabled(id, disabled, context).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        credential_version: Option<u64>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.inner.delete_user(id, credential_version, context).await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.inner.open_session(session, credential_version, context).await
    }

    async fn change_password(
        &self,
        session: NewSession,
        credential_version: u64,
        password_hash: PasswordHash,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.inner.change_password(session, credential_version, password_hash, context).await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        self.inner.rotate(swap, context).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        let found = self.inner.find_session(id).await;
        self.interrupt(After::Session).await;
        found
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.inner.list_sessions(filter).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.inner.revoke(revoke, context).await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.inner.record(events).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.list_audit(filter).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.list_keys().await
    }

    async fn insert_key(&self, key: KeyRecord) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.insert_key(key).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

/// A service whose one user is signed in, and its store.
async fn world() -> (TestApp, Arc<RacingStore>, Browser) {
    let store = Arc::new(RacingStore::default());
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let ada = app.registered(ADA).await;
    (app, store, ada)
}

async fn change(browser: &mut Browser, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    browser.post("/api/auth/password/change", Some(body)).await
}

async fn delete(browser: &mut Browser) -> Answer {
    let body = json!({ "password": PASSWORD });
    browser.call(Method::DELETE, "/api/auth/me", Some(body)).await
}

async fn changes_the_password(mut browser: Browser) {
    change(&mut browser, PASSWORD, NEW).await.assert(StatusCode::OK, None);
}

async fn deletes_the_account(mut browser: Browser) {
    assert_eq!(delete(&mut browser).await.status, StatusCode::NO_CONTENT);
}

async fn is_disabled(app: TestApp) {
    let id = app.store.list_users(None, 1).await.expect("a list")[0].id;
    let device = Device::default();
    let context = AuditContext { at: app.keyward.now(), device, request_id: None };
    app.store.set_disabled(id, true, &context).await.expect("a store").expect("a user");
}

async fn live_sessions(app: &TestApp) -> usize {
    let now = app.keyward.now();
    let filter = SessionFilter { user_id: None, which: WhichSessions::Live, now, limit: 100 };
    app.store.list_sessions(filter).await.expect("a list").len()
}

#[track_caller]
fn refused(answer: &Answer, status: StatusCode, code: &str) {
    answer.assert(status, Some(code));
    assert!(answer.set_cookies().is_empty());
}

#[tokio::test]
async fn a_sign_in_does_not_survive_a_password_change() {
    let (app, store, ada) = world().await;
    store.meanwhile(After::UserByEmail, changes_the_password(ada));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    // That of the device which changed the password.
    assert_eq!(live_sessions(&app).await, 1);
    assert!(!app.audit_names().await.contains(&"login.succeeded".to_owned()));
}

#[tokio::test]
async fn a_sign_in_does_not_survive_being_disabled() {
    let (app, store, _) = world().await;
    store.meanwhile(After::UserByEmail, is_disabled(app.clone()));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::FORBIDDEN, "ACCOUNT_DISABLED");
    assert_eq!(live_sessions(&app).await, 0);
}

#[tokio::test]
async fn a_sign_in_does_not_survive_the_account() {
    let (app, store, ada) = world().await;
    store.meanwhile(After::UserByEmail, deletes_the_account(ada));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    assert_eq!(live_sessions(&app).await, 0);
}

#[tokio::test]
async fn a_sign_in_that_is_overtaken_leaves_the_carried_session_alone() {
    let (app, store, ada) = world().await;
    let mut eve = app.registered("eve@example.org").await;
    store.meanwhile(After::UserByEmail, changes_the_password(ada));
    let answer = eve.clone().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    eve.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn of_two_password_changes_the_first_stands() {
    let (app, store, mut ada) = world().await;
    store.meanwhile(After::User, changes_the_password(ada.clone()));
    let answer = change(&mut ada, PASSWORD, "yet another zimtkringel").await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    app.browser().login(ADA, NEW).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_password_change_does_not_survive_being_disabled() {
    let (app, store, mut ada) = world().await;
    store.meanwhile(After::User, is_disabled(app.clone()));
    let answer = change(&mut ada, PASSWORD, NEW).await;
    refused(&answer, StatusCode::FORBIDDEN, "ACCOUNT_DISABLED");
    assert_eq!(live_sessions(&app).await, 0);
}

#[tokio::test]
async fn a_deletion_does_not_survive_a_password_change() {
    let (app, store, mut ada) = world().await;
    store.meanwhile(After::User, changes_the_password(ada.clone()));
    let answer = delete(&mut ada).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    app.browser().login(ADA, NEW).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn of_two_deletions_one_happens() {
    let (app, store, mut ada) = world().await;
    store.meanwhile(After::User, deletes_the_account(ada.clone()));
    let answer = delete(&mut ada).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "user.deleted").count(), 1);
}

#[tokio::test]
async fn a_deleted_user_gets_no_name() {
    let (_, store, mut ada) = world().await;
    store.meanwhile(After::Session, deletes_the_account(ada.clone()));
    let body = json!({ "name": "Ada" });
    let answer = ada.call(Method::PATCH, "/api/auth/me", Some(body)).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_store_out_of_reach_is_no_failure_of_whoever_signs_in() {
    let (app, store, mut ada) = world().await;
    store.users_unavailable.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        for answer in [app.browser().login(ADA, PASSWORD).await, delete(&mut ada).await] {
            refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
            assert!(answer.header("retry-after").is_some());
            assert!(!answer.text("error").contains("told to fail"));
        }
    }
    store.users_unavailable.store(false, Ordering::SeqCst);
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}
