//! Who has registered with another's address, and does in the account whatever could end the links
//! that its owner is mailed.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use keyward::store::{AdministrationGuard, GivenPassword, UserChange};
use serde_json::json;

use crate::checks::faulty_store::{Call, Fault, FaultyStore};
use crate::common::second_factor::Authenticator;
use crate::common::{Answer, Browser, PASSWORD};
use crate::post::{ADA, Post};

const OTHER: &str = "ein anderes geheimnis";
const CHOSEN: &str = "noch ein drittes geheimnis";

/// Neither the link that sets a password nor, before it, the one that verifies the address.
#[tokio::test]
async fn end_no_link_by_what_they_do_in_the_account() {
    let post = Post::new().await;
    let mut squatter = post.app.registered(ADA).await;
    let verifies = post.receive_one().await.token();
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let resets = post.receive_one().await.token();

    for (from, to) in [(PASSWORD, OTHER), (OTHER, PASSWORD), (PASSWORD, OTHER), (OTHER, PASSWORD)] {
        change(&mut squatter, from, to).await.assert(StatusCode::OK, None);
    }
    let phone = Authenticator::enable(&mut squatter).await;
    squatter.new_recovery_codes(PASSWORD).await.assert(StatusCode::OK, None);
    let mut elsewhere = post.app.browser();
    let token = elsewhere.mfa_token(ADA).await;
    post.app.advance(30);
    let code = phone.code(&post.app);
    elsewhere.give_code(&token, &code).await.assert(StatusCode::OK, None);
    let waiting = post.app.browser().mfa_token(ADA).await;
    change(&mut elsewhere, PASSWORD, OTHER).await.assert(StatusCode::OK, None);
    let name = json!({ "name": "Mallory" });
    elsewhere.call(Method::PATCH, "/api/auth/me", Some(name)).await.assert(StatusCode::OK, None);

    post.reset(&resets, CHOSEN).await.assert(StatusCode::OK, None);
    elsewhere.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    let refused = elsewhere.refresh().await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    let late = elsewhere.give_code(&waiting, &phone.code_in(&post.app, 30)).await;
    late.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_TOKEN"));
    for old in [PASSWORD, OTHER] {
        let refused = elsewhere.login(ADA, old).await;
        refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    }
    for link in [&resets, &verifies] {
        assert_eq!(post.reset(link, OTHER).await.status, StatusCode::BAD_REQUEST);
        assert_eq!(post.verify(link).await.status, StatusCode::BAD_REQUEST);
    }
    let mut ada = post.app.browser();
    let answer = ada.login(ADA, CHOSEN).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json().get("mfaRequired"), None);
    assert_eq!(ada.me().await.json()["name"], json!(null));
}

/// Removed, or changed along with the link that verifies the address.
#[tokio::test]
async fn end_none_by_removing_a_second_factor() {
    let post = Post::new().await;
    let mut squatter = post.app.registered(ADA).await;
    let verifies = post.receive_one().await.token();
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let resets = post.receive_one().await.token();
    let phone = Authenticator::enable(&mut squatter).await;
    let code = &phone.recovery_codes[0];
    squatter.remove_totp(PASSWORD, code).await.assert(StatusCode::NO_CONTENT, None);
    post.verify(&verifies).await.assert(StatusCode::OK, None);
    post.reset(&resets, CHOSEN).await.assert(StatusCode::OK, None);
}

/// Once the address is verified they are a user like any other.
#[tokio::test]
async fn end_a_link_once_its_reader_has_let_them() {
    let post = Post::new().await;
    let mut squatter = post.app.registered(ADA).await;
    let verifies = post.receive_one().await.token();
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let resets = post.receive_one().await.token();
    post.verify(&verifies).await.assert(StatusCode::OK, None);
    change(&mut squatter, PASSWORD, OTHER).await.assert(StatusCode::OK, None);
    assert_eq!(post.reset(&resets, CHOSEN).await.status, StatusCode::BAD_REQUEST);
}

/// It would stay for good, since the address is verified from then on.
#[tokio::test]
async fn set_up_no_second_factor_in_the_moment_of_the_reset() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut squatter = post.registered(ADA).await;
    let phone = Authenticator::begin(&mut squatter).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    store.meanwhile(Call::FindToken, async move {
        phone.confirmed(&mut squatter).await;
    });
    post.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
    assert_opens_by_password(&post).await;
}

/// Nor does one that is taken away while somebody looks whose it is, or another in its place.
#[tokio::test]
async fn set_up_no_second_factor_while_it_is_looked_whose_it_is() {
    for comes_back in [false, true] {
        let store = FaultyStore::new();
        let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
        let mut squatter = post.registered(ADA).await;
        let phone = Authenticator::enable(&mut squatter).await;
        post.receive().await;
        post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
        let link = post.receive_one().await.token();
        store.meanwhile(Call::ListAudit, async move {
            let code = &phone.recovery_codes[0];
            squatter.remove_totp(PASSWORD, code).await.assert(StatusCode::NO_CONTENT, None);
            if comes_back {
                Authenticator::enable(&mut squatter).await;
            }
        });
        post.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
        assert_opens_by_password(&post).await;
    }
}

/// The log has no index by user, and everybody waits while it is read through.
#[tokio::test]
async fn a_reset_reads_no_log_where_there_is_no_second_factor() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut squatter = post.registered(ADA).await;
    Authenticator::begin(&mut squatter).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    store.fail(Call::ListAudit, Fault::Down);
    post.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
    store.heal();
    assert_opens_by_password(&post).await;
}

/// However many use one link, or however many links there are.
#[tokio::test]
async fn have_the_log_read_by_one_reset_at_a_time() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut squatter = post.registered(ADA).await;
    Authenticator::enable(&mut squatter).await;
    post.receive().await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    let (mut second, again) = (post.app.browser(), json!({ "token": link, "newPassword": OTHER }));
    store.meanwhile(Call::ListAudit, async move {
        let refused = second.call(Method::POST, "/api/auth/password/reset", Some(again)).await;
        refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    });
    post.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
    assert_opens_by_password(&post).await;
    assert_eq!(post.reset(&link, OTHER).await.status, StatusCode::BAD_REQUEST);
}

/// Whom the operator has asked who they are has the account as it is from then on.
#[tokio::test]
async fn a_password_of_the_operators_ends_every_link() {
    let post = Post::new().await;
    post.app.registered(ADA).await;
    let verifies = post.receive_one().await.token();
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let resets = post.receive_one().await.token();
    let id = post.app.users().await[0].id;
    let account = post.app.store.find_user(id).await.expect("the store works").expect("a user");
    let given = GivenPassword { hash: account.password_hash, notice: None };
    let (change, guard) = (UserChange::Password(given), AdministrationGuard::default());
    post.app.store.change_user(id, change, guard, &post.app.nobody()).await.expect("it works");
    assert_eq!(post.reset(&resets, CHOSEN).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post.verify(&verifies).await.status, StatusCode::BAD_REQUEST);
}

/// Of each kind as many arrive as of links, and none of the links is used up by it. All is done.
#[tokio::test]
async fn fill_no_mailbox_with_what_they_do() {
    let post = Post::new().await;
    let mut squatter = post.registered(ADA).await;
    change_often(&mut squatter, 10).await;
    let mut told = subjects(&post).await;
    assert_eq!(told, [CHANGED; 3]);
    for _ in 0..5 {
        let phone = Authenticator::enable(&mut squatter).await;
        squatter.new_recovery_codes(PASSWORD).await.assert(StatusCode::OK, None);
        told.extend(subjects(&post).await);
        let code = phone.code_in(&post.app, 30);
        squatter.remove_totp(PASSWORD, &code).await.assert(StatusCode::NO_CONTENT, None);
        told.extend(subjects(&post).await);
    }
    told.sort();
    assert_eq!(told, [[ENABLED; 3], [GONE; 3], [CODES; 3], [CHANGED; 3]].concat());
    let done = post.app.audit_names().await;
    for (name, count) in [
        ("password.changed", 10),
        ("mfa.enabled", 5),
        ("recovery_codes.replaced", 5),
        ("mfa.disabled", 5),
    ] {
        assert_eq!(done.iter().filter(|done| *done == name).count(), count, "{name}");
    }

    // What the mailbox has asked for is told, and that is not the squatter's to use up.
    Authenticator::enable(&mut squatter).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    post.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
    let mut told = subjects(&post).await;
    told.sort();
    assert_eq!(told, [GONE, CHANGED]);
}

/// Some come back with time, as of every limit.
#[tokio::test]
async fn are_told_on_again_after_an_hour() {
    let post = Post::new().await;
    let mut squatter = post.registered(ADA).await;
    change_often(&mut squatter, 4).await;
    assert_eq!(subjects(&post).await, [CHANGED; 3]);
    post.app.advance(60 * 60);
    squatter.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    subjects(&post).await;
    change_often(&mut squatter, 4).await;
    assert_eq!(subjects(&post).await, [CHANGED; 3]);
}

#[tokio::test]
async fn whoever_reads_the_mailbox_is_told_of_everything() {
    let post = Post::new().await;
    let mut ada = post.app.registered(ADA).await;
    let link = post.receive_one().await.token();
    post.verify(&link).await.assert(StatusCode::OK, None);
    change_often(&mut ada, 6).await;
    assert_eq!(subjects(&post).await, [CHANGED; 6]);
}

#[tokio::test]
async fn what_is_not_done_uses_up_no_notice() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = post.registered(ADA).await;
    store.fail(Call::ChangePassword, Fault::Down);
    for _ in 0..5 {
        let refused = change(&mut ada, PASSWORD, OTHER).await;
        refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    }
    store.heal();
    change_often(&mut ada, 4).await;
    assert_eq!(subjects(&post).await, [CHANGED; 3]);
}

/// Changes the password so many times, an even number, so that it is the first one again.
async fn change_often(browser: &mut Browser, times: usize) {
    for (from, to) in [(PASSWORD, OTHER), (OTHER, PASSWORD)].into_iter().cycle().take(times) {
        change(browser, from, to).await.assert(StatusCode::OK, None);
    }
}

/// By the one that was set by mail, without a code.
async fn assert_opens_by_password(post: &Post) {
    let answer = post.app.browser().login(ADA, CHOSEN).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json().get("mfaRequired"), None);
}

async fn subjects(post: &Post) -> Vec<String> {
    post.receive().await.into_iter().map(|mail| mail.subject).collect()
}

async fn change(browser: &mut Browser, from: &str, to: &str) -> Answer {
    let body = json!({ "currentPassword": from, "newPassword": to });
    browser.post("/api/auth/password/change", Some(body)).await
}

const CHANGED: &str = "Your password was changed";
const CODES: &str = "You have new recovery codes";
const ENABLED: &str = "Signing in takes a second factor now";
const GONE: &str = "Signing in takes no second factor any more";
