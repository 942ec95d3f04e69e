//! What happens while a request is on its way: a store that lets something else happen between two
//! of its steps, or that is out of reach, and a body that comes later than its head.

mod checks;
mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use checks::{session_id, set};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PASSWORD, TestApp};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, stream};
use http_body_util::BodyExt as _;
use keyward::store::{
    EndSessionsOutcome, GivenPassword, MailedToken, PasswordReset, QueuedMail, Revoke, RevokeScope,
    RevokedSubject, SessionFilter, UserChange, WhichSessions,
};
use keyward_core::id::{MailId, ServiceKeyId, UserId};
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::service_key::Scope;
use keyward_core::session::RevocationReason;
use serde_json::json;

const ADA: &str = "ada@example.org";
const NEW: &str = "regenschirm aus zimt";
const MINUTE: Duration = Duration::from_secs(60);

/// Makes a test of each function, on every store.
macro_rules! on_every_store {
    ($($case:ident,)+) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::world(super::FaultyStore::new()).await).await;
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                let (store, _database) = keyward::store::postgres::fresh::fresh_postgres().await;
                let store = super::FaultyStore::over(std::sync::Arc::new(store));
                super::$case(super::world(store).await).await;
            })+
        }
    };
}

on_every_store! {
    a_sign_in_does_not_survive_a_password_change,
    a_sign_in_does_not_survive_being_disabled,
    a_sign_in_does_not_survive_the_account,
    a_sign_in_that_is_overtaken_leaves_the_carried_session_alone,
    of_two_password_changes_the_first_stands,
    a_password_change_does_not_survive_being_disabled,
    a_password_change_does_not_survive_its_session,
    a_set_up_does_not_survive_its_session,
    a_set_up_does_not_survive_the_account_as_it_was,
    no_change_of_a_second_factor_survives_its_session,
    a_deletion_does_not_survive_its_session,
    a_deletion_does_not_survive_a_password_change,
    of_two_deletions_one_happens,
    a_deleted_user_gets_no_name,
    a_caller_is_who_they_are_when_the_body_has_come,
    whoever_makes_an_account_is_who_they_are_when_its_password_is_hashed,
    a_store_out_of_reach_is_no_failure_of_whoever_signs_in,
}

/// A service whose one user is signed in, and its store.
type World = (TestApp, Arc<FaultyStore>, Browser);

async fn world(store: Arc<FaultyStore>) -> World {
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
    let id = app.users().await[0].id;
    app.set_disabled(id, true).await;
}

async fn is_given_a_password(app: TestApp) {
    let hash = keyward::store::PasswordHash::from_phc("of the operator".to_owned());
    let change = UserChange::Password(GivenPassword { hash, notice: None });
    app.change_user(app.users().await[0].id, change).await;
}

/// By a link that was mailed to the address.
async fn is_reset(app: TestApp) {
    let (account, now) = (app.users().await.remove(0), app.keyward.now());
    let version = app.store.find_user(account.id).await.expect("the store works").expect("Ada");
    let (hash, expires_at) = (OneTimeTokenHash::from_bytes([7; 32]), now.plus(MINUTE));
    let token = OneTimeTokenRecord {
        hash,
        user_id: account.id,
        purpose: TokenPurpose::ResetPassword,
        email_key: ADA.to_owned(),
        credential_version: version.credential_version,
        expires_at,
    };
    let (id, sealed) = (MailId::from_bytes([7; 16]), Vec::new());
    let mail = QueuedMail { id, user_id: account.id, sealed, created_at: now, expires_at };
    let issued = MailedToken { token, mail, yields_beyond: None };
    assert_eq!(app.store.issue_token(issued, &app.nobody()).await, Ok(true));
    let reset = PasswordReset {
        hash,
        password_hash: keyward::store::PasswordHash::from_phc("of the mailbox".to_owned()),
        notice: None,
        takes_second_factor: Some(false),
        second_factor_notice: None,
    };
    let outcome = app.store.reset_password(reset, &app.nobody()).await.expect("the store works");
    assert!(outcome.is_some());
}

async fn signed_in(app: &TestApp) -> Browser {
    let mut browser = app.browser();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser
}

/// An administrator ends the session of this browser.
fn ended_by_an_admin(app: TestApp, browser: Browser) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let (id, nobody) = (session_id(&browser), app.nobody());
        let ended = app.store.end_sessions(RevokedSubject::Session(id), None, &nobody).await;
        assert_eq!(ended, Ok(EndSessionsOutcome::Ended(vec![id])));
    })
}

/// Its user ends it from the list of another.
fn ended_from_another(app: TestApp, browser: Browser) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let path = format!("/api/auth/sessions/{}", session_id(&browser));
        let ended = signed_in(&app).await.call(Method::DELETE, &path, None).await;
        ended.assert(StatusCode::NO_CONTENT, None);
    })
}

/// Its user signs out everywhere.
fn ended_with_all(app: TestApp, browser: Browser) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let user_id = checks::stored(&browser).await.user.id;
        let (scope, reason) = (RevokeScope::User(user_id), RevocationReason::LogoutAll);
        let revoke = Revoke { scope, reason, noticed: None };
        let ended = app.store.revoke(revoke, &app.nobody()).await;
        assert!(ended.expect("the store works").contains(&session_id(&browser)));
    })
}

/// A refresh token of it comes a second time.
fn ended_for_a_reuse(app: TestApp, mut browser: Browser) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        browser.clone().refresh().await.assert(StatusCode::OK, None);
        app.advance(60);
        let again = browser.refresh().await;
        again.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    })
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

async fn a_sign_in_does_not_survive_a_password_change((app, store, ada): World) {
    store.meanwhile(Call::FindUserByEmail, changes_the_password(ada));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    // That of the device which changed the password.
    assert_eq!(live_sessions(&app).await, 1);
    assert!(!app.audit_names().await.contains(&"login.succeeded".to_owned()));
}

async fn a_sign_in_does_not_survive_being_disabled((app, store, _): World) {
    store.meanwhile(Call::FindUserByEmail, is_disabled(app.clone()));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::FORBIDDEN, "ACCOUNT_DISABLED");
    assert_eq!(live_sessions(&app).await, 0);
}

async fn a_sign_in_does_not_survive_the_account((app, store, ada): World) {
    store.meanwhile(Call::FindUserByEmail, deletes_the_account(ada));
    let answer = app.browser().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    assert_eq!(live_sessions(&app).await, 0);
}

async fn a_sign_in_that_is_overtaken_leaves_the_carried_session_alone((app, store, ada): World) {
    let mut eve = app.registered("eve@example.org").await;
    store.meanwhile(Call::FindUserByEmail, changes_the_password(ada));
    let answer = eve.clone().login(ADA, PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    eve.refresh().await.assert(StatusCode::OK, None);
}

async fn of_two_password_changes_the_first_stands((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, changes_the_password(ada.clone()));
    let answer = change(&mut ada, PASSWORD, "yet another zimtkringel").await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    app.browser().login(ADA, NEW).await.assert(StatusCode::OK, None);
}

async fn a_password_change_does_not_survive_being_disabled((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, is_disabled(app.clone()));
    let answer = change(&mut ada, PASSWORD, NEW).await;
    refused(&answer, StatusCode::FORBIDDEN, "ACCOUNT_DISABLED");
    assert_eq!(live_sessions(&app).await, 0);
}

/// It would open another one in its place, with all that the old one had proven.
async fn a_password_change_does_not_survive_its_session((app, store, _): World) {
    for how in [ended_by_an_admin, ended_from_another, ended_with_all, ended_for_a_reuse] {
        let mut thief = signed_in(&app).await;
        store.meanwhile(Call::FindUser, how(app.clone(), thief.clone()));
        let answer = change(&mut thief, PASSWORD, NEW).await;
        refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
        assert_eq!(thief.me().await.status, StatusCode::UNAUTHORIZED);
    }
    signed_in(&app).await;
    assert!(!app.audit_names().await.contains(&"password.changed".to_owned()));
}

/// The first code of an app comes from a session that is over.
async fn a_set_up_does_not_survive_its_session((app, store, _): World) {
    for how in [ended_by_an_admin, ended_from_another, ended_with_all, ended_for_a_reuse] {
        let mut thief = signed_in(&app).await;
        let authenticator = Authenticator::begin(&mut thief).await;
        store.meanwhile(Call::FindTotp, how(app.clone(), thief.clone()));
        let answer = thief.confirm_totp(&authenticator.code(&app)).await;
        refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
        assert_eq!(app.users().await[0].mfa_enabled_at, None);
    }
    signed_in(&app).await;
}

/// Nor anything that the owner or the operator does against whoever began it: they would be asked
/// for a code of an app that is not theirs.
async fn a_set_up_does_not_survive_the_account_as_it_was((app, store, _): World) {
    let done: [fn(TestApp) -> BoxFuture<'static, ()>; 4] = [
        |app| Box::pin(async move { changes_the_password(signed_in(&app).await).await }),
        |app| Box::pin(is_given_a_password(app)),
        |app| Box::pin(is_reset(app)),
        |app| Box::pin(is_disabled(app)),
    ];
    for done in done {
        let mut thief = signed_in(&app).await;
        let authenticator = Authenticator::begin(&mut thief).await;
        let account = app.store.find_user(app.users().await[0].id).await;
        let hash = account.expect("the store works").expect("Ada").password_hash;
        store.meanwhile(Call::FindTotp, done(app.clone()));
        let answer = thief.confirm_totp(&authenticator.code(&app)).await;
        refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
        let id = app.users().await[0].id;
        assert_eq!(app.set_disabled(id, false).await.mfa_enabled_at, None);
        // The password of before, for the next one.
        app.change_user(id, UserChange::Password(GivenPassword { hash, notice: None })).await;
    }
    signed_in(&app).await;
}

/// The codes that come out of it would be the thief's.
async fn no_change_of_a_second_factor_survives_its_session((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, ended_with_all(app.clone(), ada.clone()));
    let answer = ada.begin_totp(PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");

    let mut ada = signed_in(&app).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    let [first, second, third, ..] = &authenticator.recovery_codes[..] else { panic!("codes") };
    store.meanwhile(Call::FindUser, ended_with_all(app.clone(), ada.clone()));
    let answer = ada.new_recovery_codes(PASSWORD).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");

    let token = ada.mfa_token(ADA).await;
    ada.give_recovery_code(&token, first).await.assert(StatusCode::OK, None);
    store.meanwhile(Call::FindUser, ended_with_all(app.clone(), ada.clone()));
    let answer = ada.remove_totp(PASSWORD, second).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");

    let token = ada.mfa_token(ADA).await;
    ada.give_recovery_code(&token, second).await.assert(StatusCode::OK, None);
    ada.remove_totp(PASSWORD, third).await.assert(StatusCode::NO_CONTENT, None);
}

async fn a_deletion_does_not_survive_its_session((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, ended_with_all(app.clone(), ada.clone()));
    refused(&delete(&mut ada).await, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
    signed_in(&app).await;
}

async fn a_deletion_does_not_survive_a_password_change((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, changes_the_password(ada.clone()));
    let answer = delete(&mut ada).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    app.browser().login(ADA, NEW).await.assert(StatusCode::OK, None);
}

async fn of_two_deletions_one_happens((app, store, mut ada): World) {
    store.meanwhile(Call::FindUser, deletes_the_account(ada.clone()));
    let answer = delete(&mut ada).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "user.deleted").count(), 1);
}

async fn a_deleted_user_gets_no_name((_, store, mut ada): World) {
    store.meanwhile(Call::FindSession, deletes_the_account(ada.clone()));
    let body = json!({ "name": "Ada" });
    let answer = ada.call(Method::PATCH, "/api/auth/me", Some(body)).await;
    refused(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
}

/// Sends a request whose body is held back until something else has happened. It is refused, and
/// the last event of the log is that of what happened meanwhile.
async fn check_held(
    app: &TestApp,
    request: Request<Body>,
    meanwhile: BoxFuture<'static, ()>,
    (status, code): (StatusCode, &str),
    last_event: &str,
) {
    let what = format!("{} {}", request.method(), request.uri());
    let request = request.map(|body| {
        let body = meanwhile.then(|()| body.collect());
        Body::from_stream(stream::once(body.map(|body| body.map(|body| body.to_bytes()))))
    });
    let answer = app.send(request).await;
    assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{what}");
    assert!(answer.set_cookies().is_empty(), "{what}");
    let mut names = app.audit_names().await;
    names.retain(|name| !name.ends_with(".rejected") && name != "permission.denied");
    assert_eq!(names.last().map(String::as_str), Some(last_event), "{what}");
}

fn disabled(app: &TestApp, id: UserId) -> BoxFuture<'static, ()> {
    let app = app.clone();
    async move {
        app.set_disabled(id, true).await;
    }
    .boxed()
}

fn stripped_of_roles(app: &TestApp, id: UserId) -> BoxFuture<'static, ()> {
    let app = app.clone();
    async move {
        app.set_roles(id, &[]).await;
    }
    .boxed()
}

fn first_key_revoked(app: &TestApp) -> BoxFuture<'static, ()> {
    let app = app.clone();
    let id = ServiceKeyId::from_bytes([1; 16]);
    async move {
        app.store.revoke_service_key(id, &app.nobody()).await.expect("the store works");
    }
    .boxed()
}

fn signed_out_everywhere(mut browser: Browser) -> BoxFuture<'static, ()> {
    async move { browser.post("/api/auth/logout-all", None).await.assert(StatusCode::OK, None) }
        .boxed()
}

const REVOKED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");

/// With a head alone, whoever has lost the role, the session, the key or the account would keep it
/// for as long as a request may take.
async fn a_caller_is_who_they_are_when_the_body_has_come((app, _, mut ada): World) {
    let ruth = app.admin("ruth@example.org").await;
    let rosa = app.admin("rosa@example.org").await;
    let bob = app.registered("bob@example.org").await;
    Authenticator::enable(&mut ada).await;
    let key = app.service_key(&[Scope::SessionsWrite]).await;
    let users = app.users().await;
    let id = |email: &str| {
        let found = users.iter().find(|user| user.email == email);
        found.expect("an account").id
    };
    let (ruth_id, rosa_id) = (id("ruth@example.org"), id("rosa@example.org"));
    let bob_id = id("bob@example.org");
    let makes_an_administrator = |browser: &Browser, of: UserId| {
        let body = Some(json!({ "roles": ["admin"] }));
        browser.request(Method::PUT, &format!("/api/admin/users/{of}/roles"), body)
    };
    let opens = format!("/api/admin/users/{bob_id}/sessions");
    let mut opens = app.browser().request(Method::POST, &opens, Some(json!({})));
    set(&mut opens, "authorization", &format!("Bearer {key}"));
    let password = Some(json!({ "password": PASSWORD }));
    let deletes = bob.request(Method::DELETE, "/api/auth/me", password.clone());
    let replaces = ada.request(Method::POST, "/api/auth/mfa/recovery-codes", password);
    let forbidden = (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    let unknown = (StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    for (request, meanwhile, refused, last_event) in [
        (
            makes_an_administrator(&ruth, bob_id),
            disabled(&app, ruth_id),
            REVOKED,
            "session.revoked",
        ),
        (
            makes_an_administrator(&rosa, rosa_id),
            stripped_of_roles(&app, rosa_id),
            forbidden,
            "user.roles_changed",
        ),
        (opens, first_key_revoked(&app), unknown, "service_key.revoked"),
        (deletes, disabled(&app, bob_id), REVOKED, "session.revoked"),
        (replaces, signed_out_everywhere(ada.clone()), REVOKED, "session.revoked"),
    ] {
        check_held(&app, request, meanwhile, refused, last_event).await;
    }
}

/// It waits for its turn, with an administrator's role asked for.
async fn whoever_makes_an_account_is_who_they_are_when_its_password_is_hashed(
    (app, store, _): World,
) {
    let ruth = app.admin("ruth@example.org").await;
    let rosa = app.admin("rosa@example.org").await;
    let key = app.service_key(&[Scope::UsersWrite]).await;
    let makes = |browser: &Browser, roles: &[&str]| {
        let body = json!({ "email": "eve@example.org", "password": NEW, "roles": roles });
        browser.request(Method::POST, "/api/admin/users", Some(body))
    };
    let mut by_key = makes(&app.browser(), &[]);
    set(&mut by_key, "authorization", &format!("Bearer {key}"));
    let forbidden = (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    let unknown = (StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    let (ruth_id, rosa_id) =
        (checks::stored(&ruth).await.user.id, checks::stored(&rosa).await.user.id);
    for (request, asked, meanwhile, (status, code)) in [
        (makes(&ruth, &["admin"]), Call::FindSession, disabled(&app, ruth_id), REVOKED),
        (makes(&rosa, &["admin"]), Call::FindSession, stripped_of_roles(&app, rosa_id), forbidden),
        (by_key, Call::FindServiceKey, first_key_revoked(&app), unknown),
    ] {
        store.meanwhile(asked, meanwhile);
        app.send(request).await.assert(status, Some(code));
        assert!(app.users().await.iter().all(|user| user.email != "eve@example.org"));
    }
}

#[tokio::test]
async fn a_caller_by_cookie_is_who_they_are_when_the_body_has_come() {
    let app = TestApp::with_cookie_delivery().await;
    let ada = app.registered(ADA).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    let request = ada.request(Method::POST, "/api/auth/password/change", Some(body));
    check_held(&app, request, signed_out_everywhere(ada), REVOKED, "session.revoked").await;
}

async fn a_store_out_of_reach_is_no_failure_of_whoever_signs_in((app, store, mut ada): World) {
    store.fail(Call::FindUserByEmail, Fault::Down);
    store.fail(Call::FindUser, Fault::Down);
    for _ in 0..5 {
        for answer in [app.browser().login(ADA, PASSWORD).await, delete(&mut ada).await] {
            refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
            assert!(answer.header("retry-after").is_some());
            assert!(!answer.text("error").contains("table"));
        }
    }
    store.heal();
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}
