//! What happens while a request is on its way: a store that lets something else happen between two
//! of its steps, or that is out of reach.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward::store::{SessionFilter, WhichSessions};
use serde_json::json;

const ADA: &str = "ada@example.org";
const NEW: &str = "regenschirm aus zimt";

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
    a_deletion_does_not_survive_a_password_change,
    of_two_deletions_one_happens,
    a_deleted_user_gets_no_name,
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
