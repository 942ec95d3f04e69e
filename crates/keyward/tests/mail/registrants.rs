//! Whose second factor a reset takes: that of who registered with another's address, and of nobody
//! whom somebody has vouched for. Else the mailbox alone would open the account.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use keyward::store::layer::Layer;
use keyward::store::{
    AdministrationGuard, AuditFilter, AuditOrder, DisableTotpOutcome, GivenPassword,
    InsertUserOutcome, MemoryStore, NewUser, Purge, Store, StoreError, User, UserChange,
};
use keyward_core::audit::{AuditEvent, AuditKind, RecordedEvent, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use serde_json::json;

use crate::checks::faulty_store::{Call, Fault, FaultyStore};
use crate::common::second_factor::Authenticator;
use crate::common::{Backend, Browser, PASSWORD};
use crate::post::{ADA, Post};

const BOB: &str = "bob@example.org";

#[tokio::test]
async fn a_reset_takes_no_second_factor_from_whom_another_has_made() {
    for (by, roles) in [
        (RegisteredBy::Operator, &["admin"][..]),
        (RegisteredBy::Operator, &[]),
        (RegisteredBy::Admin, &["editor"]),
        (RegisteredBy::Admin, &[]),
    ] {
        let post = Post::new().await;
        let ada = made(&post, by, roles).await;
        assert!(!ada.email_verified);
        let mut browser = post.app.browser();
        browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
        Authenticator::enable(&mut browser).await;
        assert!(post.asks_for_a_code_after_a_reset(ADA).await, "{by:?} {roles:?}");
    }
}

/// Now or before: it stands in the log.
#[tokio::test]
async fn a_reset_takes_no_second_factor_from_who_has_or_had_a_role() {
    for roles in [&[&["admin"][..]][..], &[&["editor"]], &[&["admin"], &[]]] {
        let post = Post::new().await;
        let id = registered(&post).await.0;
        for given in roles {
            post.app.set_roles(id, given).await;
        }
        assert!(post.asks_for_a_code_after_a_reset(ADA).await, "{roles:?}");
    }
}

/// Other services go by claims as they go by roles.
#[tokio::test]
async fn a_reset_takes_no_second_factor_from_whom_a_service_knows() {
    let claims = json!({ "claims": { "plan": "pro" } });
    for (method, path, body) in
        [(Method::PATCH, "", claims), (Method::POST, "/sessions", json!({}))]
    {
        let post = Post::new().await;
        let id = registered(&post).await.0;
        let path = format!("/api/admin/users/{id}{path}");
        let answer = backend(&post).await.call(method, &path, Some(body)).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert!(post.asks_for_a_code_after_a_reset(ADA).await, "{path}");
    }
}

/// Who had it removed was asked who they are, and the next one is theirs.
#[tokio::test]
async fn a_reset_takes_no_second_factor_that_follows_one_the_operator_removed() {
    let post = Post::new().await;
    let (id, mut browser) = registered(&post).await;
    let removed = post.app.store.disable_totp(id, None, None, &post.app.nobody()).await;
    assert_eq!(removed, Ok(DisableTotpOutcome::Disabled));
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    Authenticator::enable(&mut browser).await;
    assert!(post.asks_for_a_code_after_a_reset(ADA).await);
}

/// Who asked for it was asked who they are.
#[tokio::test]
async fn a_reset_takes_no_second_factor_from_whom_the_operator_gave_a_password() {
    let post = Post::new().await;
    let id = registered(&post).await.0;
    let account = post.app.store.find_user(id).await.expect("the store works").expect("a user");
    let given = GivenPassword { hash: account.password_hash, notice: None };
    let (change, guard) = (UserChange::Password(given), AdministrationGuard::default());
    post.app.store.change_user(id, change, guard, &post.app.nobody()).await.expect("it works");
    assert!(post.asks_for_a_code_after_a_reset(ADA).await);
}

/// What has left the log could have said anything.
#[tokio::test]
async fn a_reset_takes_no_second_factor_where_the_registration_has_left_the_log() {
    let post = Post::new().await;
    post.app.registered(ADA).await;
    post.app.advance(1);
    let purge = Purge::Events { before: post.app.keyward.now(), recorded: true };
    post.app.store.purge(purge, 1000, &post.app.nobody()).await.expect("the store works");
    let mut browser = post.app.browser();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    Authenticator::enable(&mut browser).await;
    assert!(post.asks_for_a_code_after_a_reset(ADA).await);
}

/// The reset verifies the address, and no later one would take the factor.
#[tokio::test]
async fn a_log_that_cannot_be_read_lets_the_owner_try_again() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    registered(&post).await;
    post.receive().await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    store.fail(Call::ListAudit, Fault::Down);
    let answer = post.reset(&link, "ein anderes geheimnis").await;
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    store.heal();
    post.reset(&link, "ein anderes geheimnis").await.assert(StatusCode::OK, None);
    let answer = post.app.browser().login(ADA, "ein anderes geheimnis").await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json().get("mfaRequired"), None);
}

/// However much they did, and though they removed it themselves in between.
#[tokio::test]
async fn a_registrant_makes_no_second_factor_stay() {
    let post = Post::new().await;
    let mut browser = post.app.registered(ADA).await;
    let first = Authenticator::enable(&mut browser).await;
    let code = &first.recovery_codes[0];
    browser.remove_totp(PASSWORD, code).await.assert(StatusCode::NO_CONTENT, None);
    Authenticator::enable(&mut browser).await;
    let id = post.app.users().await[0].id;
    for number in 0..2001 {
        let name = Some(format!("Ada {number}"));
        post.app.store.set_name(id, name, &post.app.nobody()).await.expect("the store works");
    }
    assert!(!post.asks_for_a_code_after_a_reset(ADA).await);
}

/// It may be the owner's who confirms it, while somebody else resets.
#[tokio::test]
async fn a_second_factor_in_the_moment_of_the_reset_is_looked_at_like_any_other() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut browser = post.registered(ADA).await;
    let id = post.app.users().await[0].id;
    for roles in [&["editor"][..], &[]] {
        post.app.set_roles(id, roles).await;
    }
    let phone = Authenticator::begin(&mut browser).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await.token();
    store.meanwhile(Call::FindToken, async move {
        phone.confirmed(&mut browser).await;
    });
    post.reset(&link, "ein anderes geheimnis").await.assert(StatusCode::OK, None);
    let answer = post.app.browser().login(ADA, "ein anderes geheimnis").await;
    assert_eq!(answer.json()["mfaRequired"], json!(true));
}

/// In pieces, or a store that many use would answer none of them meanwhile, and then not this
/// either.
#[tokio::test]
async fn a_log_of_any_length_is_read_to_its_end() {
    for vouched in [false, true] {
        let post = Post::on_store(Arc::new(ImpatientStore(MemoryStore::new())), |_| {}).await;
        let id = registered(&post).await.0;
        if vouched {
            post.app.set_roles(id, &["editor"]).await;
            post.app.set_roles(id, &[]).await;
        }
        let event = AuditEvent::of_nobody(AuditKind::LoginRateLimited { count: 1 });
        let count = 2 * usize::try_from(AuditFilter::LOOKED_AT_MAX).expect("fits");
        let events = vec![(event, post.app.nobody()); count];
        post.app.store.record(events).await.expect("the store works");
        assert_eq!(post.asks_for_a_code_after_a_reset(ADA).await, vouched);
    }
}

/// A store that searches a long log no further than it can in a moment.
#[derive(Debug)]
struct ImpatientStore(MemoryStore);

impl Layer for ImpatientStore {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        if let (Some(_), AuditOrder::Before(end)) = (filter.user_id, filter.order) {
            let begin = filter.from_id.unwrap_or(0);
            if end - begin <= AuditFilter::LOOKED_AT_MAX {
                return self.0.list_audit(filter).await;
            }
        } else if filter.user_id.is_none() {
            return self.0.list_audit(filter).await;
        }
        Err(StoreError::Unavailable("it took too long".to_owned()))
    }
}

/// Somebody who has registered and set up a second factor.
async fn registered(post: &Post) -> (UserId, Browser) {
    let mut browser = post.app.registered(ADA).await;
    Authenticator::enable(&mut browser).await;
    (post.app.users().await[0].id, browser)
}

/// An account that its user has not made.
async fn made(post: &Post, by: RegisteredBy, roles: &[&str]) -> User {
    post.app.registered(BOB).await;
    let bob = post.app.users().await[0].id;
    let bob = post.app.store.find_user(bob).await.expect("the store works").expect("a user");
    let user = NewUser {
        id: UserId::from_bytes([9; 16]),
        email: Email::parse(ADA).expect("an address"),
        name: None,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        password_hash: bob.password_hash,
        email_verified: false,
        by,
        verification: None,
    };
    match post.app.store.insert_user(user, None, &post.app.nobody()).await {
        Ok(InsertUserOutcome::Inserted(user)) => user,
        refused => panic!("{refused:?}"),
    }
}

async fn backend(post: &Post) -> Backend {
    let scopes = [Scope::UsersWrite, Scope::SessionsWrite];
    post.app.backend(&post.app.service_key(&scopes).await)
}
