//! Finding and changing accounts over the admin API: `GET /users`, `PATCH /users/{id}`,
//! `PUT /users/{id}/roles`, `POST /users/{id}/disable` and `POST /users/{id}/enable`.

mod checks;
mod common;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request, StatusCode};
use checks::{assert_harmless, assert_touches_no_cookie, details};
use common::{Answer, Backend, Browser, PASSWORD, TestApp};
use futures_util::future::join;
use keyward::store::SqliteStore;
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const USERS: &str = "/api/admin/users";
const NOBODY: &str = "01990000-0000-7000-8000-000000000000";

async fn writer(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::UsersRead, Scope::UsersWrite]).await)
}

async fn user_id(browser: &Browser) -> UserId {
    checks::stored(browser).await.user.id
}

async fn patch(writer: &Backend, id: impl std::fmt::Display, body: Value) -> Answer {
    writer.call(Method::PATCH, &format!("{USERS}/{id}"), Some(body)).await
}

async fn set_roles(writer: &Backend, id: impl std::fmt::Display, roles: &[&str]) -> Answer {
    let body = json!({ "roles": roles });
    writer.call(Method::PUT, &format!("{USERS}/{id}/roles"), Some(body)).await
}

/// What an administrator's page asks for.
async fn by_page(admin: &mut Browser, method: Method, path: &str, body: Option<Value>) -> Answer {
    admin.call(method, &format!("{USERS}/{path}"), body).await
}

/// The addresses that the list has.
async fn listed(backend: &Backend, query: &str) -> (Vec<String>, Value) {
    let answer = backend.get(&format!("{USERS}{query}")).await;
    answer.assert(StatusCode::OK, None);
    let body = answer.json();
    let emails = body["users"].as_array().expect("a list").iter();
    let emails = emails.map(|user| user["email"].as_str().expect("an address").to_owned());
    (emails.collect(), body["nextCursor"].clone())
}

#[tokio::test]
async fn accounts_are_listed_in_the_order_in_which_they_were_made() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    for email in ["c@x.org", "a@x.org", "b@x.org"] {
        app.advance(1);
        writer.post(USERS, Some(json!({ "email": email }))).await.assert(StatusCode::CREATED, None);
    }
    let (all, next) = listed(&writer, "").await;
    assert_eq!(
        (all, next),
        (["c@x.org", "a@x.org", "b@x.org"].map(str::to_owned).to_vec(), Value::Null)
    );
    let (first, next) = listed(&writer, "?limit=2").await;
    assert_eq!(first, ["c@x.org", "a@x.org"]);
    let next = next.as_str().expect("a cursor").to_owned();
    let (rest, next) = listed(&writer, &format!("?limit=2&cursor={next}")).await;
    assert_eq!((rest, next), (vec!["b@x.org".to_owned()], Value::Null));
    let answer = writer.get(USERS).await;
    let user = answer.json()["users"][0].clone();
    let one = writer.get(&format!("{USERS}/{}", user["id"].as_str().expect("an id"))).await;
    assert_eq!(one.json()["user"], user);
}

#[tokio::test]
async fn accounts_are_found_by_address_role_and_state() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    for email in ["Zoe+1@x.org", "ada@x.org", "adam@x.org", "eve@x.org"] {
        let roles = if email.starts_with("ad") { json!(["editor"]) } else { json!([]) };
        let answer = writer.post(USERS, Some(json!({ "email": email, "roles": roles }))).await;
        answer.assert(StatusCode::CREATED, None);
        if email == "adam@x.org" {
            let id = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
            let disabled = writer.post(&format!("{USERS}/{id}/disable"), None).await;
            disabled.assert(StatusCode::OK, None);
        }
    }
    for (query, expected) in [
        ("?email=AD", &["ada@x.org", "adam@x.org"][..]),
        ("?email=ada%40x.org", &["ada@x.org"]),
        ("?email=zoe%2B1@", &["Zoe+1@x.org"]),
        ("?email=nobody", &[]),
        ("?role=editor&disabled=false", &["ada@x.org"]),
        ("?disabled=true", &["adam@x.org"]),
        ("?email=a&disabled=true&role=editor", &["adam@x.org"]),
        ("?role=admin", &[]),
    ] {
        assert_eq!(listed(&writer, query).await.0, expected, "{query}");
    }
    let (first, next) = listed(&writer, "?email=ad&limit=1").await;
    assert_eq!(first, ["ada@x.org"]);
    let query = format!("?email=ad&limit=1&cursor={}", next.as_str().expect("a cursor"));
    assert_eq!(listed(&writer, &query).await, (vec!["adam@x.org".to_owned()], Value::Null));
}

#[tokio::test]
async fn a_query_that_means_nothing_is_refused() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    for (field, query) in [
        ("limit", "limit=0"),
        ("limit", "limit=101"),
        ("cursor", "cursor=x"),
        ("cursor", "email=a&cursor=!"),
        ("cursor", &format!("email=a&cursor={NOBODY}")),
        ("email", "email="),
        ("email", "email=a%20b"),
        ("role", "role=two%20words"),
        ("disabled", "disabled=yes"),
        ("name", "name=Ada"),
    ] {
        let answer = writer.get(&format!("{USERS}?{query}")).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"][field].is_string(), "{query}: {}", answer.json());
    }
}

/// Another address is doubted, what is not named stays, and nobody is signed out.
#[tokio::test]
async fn a_record_is_changed() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let mut ada = app.registered(ADA).await;
    let id = user_id(&ada).await;
    let body = json!({ "name": "Ada", "emailVerified": true, "claims": { "plan": "pro" } });
    let answer = patch(&writer, id, body).await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    let answer = patch(&writer, id, json!({ "email": "Countess@example.org" })).await;
    let user = answer.json()["user"].clone();
    assert_eq!(
        (&user["email"], &user["emailVerified"]),
        (&json!("Countess@example.org"), &json!(false))
    );
    assert_eq!((&user["name"], &user["claims"]), (&json!("Ada"), &json!({ "plan": "pro" })));
    assert_eq!(
        patch(&writer, id, json!({ "name": null })).await.json()["user"]["name"],
        Value::Null
    );
    patch(&writer, id, json!({})).await.assert(StatusCode::OK, None);

    ada.me().await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
    let claims = checks::claims(ada.access_token.as_deref().expect("a token"));
    assert_eq!(
        (&claims["plan"], &claims["email"]),
        (&json!("pro"), &json!("Countess@example.org"))
    );
    let old = app.browser().login(ADA, PASSWORD).await;
    assert_harmless(&old, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
    app.browser().login("countess@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    let updated = details(&app, "user.updated").await;
    let fields: Vec<&Value> = updated.iter().map(|detail| &detail["fields"]).collect();
    assert_eq!(
        json!(fields),
        json!([["claims", "emailVerified", "name"], ["email", "emailVerified"], ["name"]])
    );
    assert!(updated.iter().all(|detail| detail["actor"]["serviceKeyId"].is_string()));
}

#[tokio::test]
async fn a_change_that_must_not_be_is_refused() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let ada = app.registered(ADA).await;
    app.registered(BOB).await;
    let id = user_id(&ada).await;
    let long = "x".repeat(800);
    for (field, value) in [
        ("email", json!("nobody")),
        ("name", json!("")),
        ("emailVerified", json!("yes")),
        ("claims", json!([])),
        ("claims", json!({ "sub": "someone" })),
        ("claims", json!({ "roles": ["admin"] })),
        ("claims", json!({ "cnf": {} })),
        ("claims", json!({ "long": long })),
        ("roles", json!(["admin"])),
        ("disabled", json!(true)),
        ("password", json!(PASSWORD)),
        ("id", json!(NOBODY)),
    ] {
        let answer = patch(&writer, id, json!({ field: value })).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"][field].is_string(), "{field}: {}", answer.json());
    }
    let taken = patch(&writer, id, json!({ "email": "BOB@example.org" })).await;
    assert_harmless(&taken, StatusCode::CONFLICT, "EMAIL_TAKEN");
    let nobody = patch(&writer, NOBODY, json!({ "name": "Ada" })).await;
    assert_harmless(&nobody, StatusCode::NOT_FOUND, "NOT_FOUND");
    assert_eq!(details(&app, "user.updated").await, [json!(null); 0]);
}

/// With all that a user can have, a token still fits the cookie that it may travel in.
#[tokio::test]
async fn the_largest_record_fits_a_token() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let email = format!("{}@{}.org", "a".repeat(64), ["b".repeat(60), "c".repeat(60)].join("."));
    let mut ada = app.registered(&email).await;
    let id = user_id(&ada).await;
    let roles: Vec<String> = (0..16).map(|number| format!("{number:064}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    set_roles(&writer, id, &roles).await.assert(StatusCode::OK, None);
    let claims = json!({ "x": "y".repeat(768 - 8) });
    patch(&writer, id, json!({ "claims": claims })).await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
    assert!(ada.access_token.as_deref().is_some_and(|token| token.len() < 4096));
    ada.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn roles_are_set_all_at_once() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let ada = app.registered(ADA).await;
    let id = user_id(&ada).await;
    let answer = set_roles(&writer, id, &["editor", "author", "editor"]).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json()["user"]["roles"], json!(["author", "editor"]));
    let answer = set_roles(&writer, id, &[]).await;
    assert_eq!(answer.json()["user"]["roles"], json!([]));
    let nobody = set_roles(&writer, NOBODY, &["editor"]).await;
    assert_harmless(&nobody, StatusCode::NOT_FOUND, "NOT_FOUND");
    let changed = details(&app, "user.roles_changed").await;
    assert_eq!(changed[0]["after"], json!(["author", "editor"]));
    assert_eq!(changed.len(), 2);
}

/// At once, on every device; and nothing comes back with the account.
#[tokio::test]
async fn who_is_disabled_is_signed_out() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let mut ada = app.registered(ADA).await;
    let path = format!("{USERS}/{}", user_id(&ada).await);
    let answer = writer.post(&format!("{path}/disable"), None).await;
    assert!(answer.json()["user"]["disabledAt"].is_string());
    ada.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    checks::assert_revoked(&ada.clone().refresh().await, "user_disabled");
    let refused = app.browser().login(ADA, PASSWORD).await;
    assert_harmless(&refused, StatusCode::FORBIDDEN, "ACCOUNT_DISABLED");
    let again = writer.post(&format!("{path}/disable"), None).await;
    assert_eq!(again.json(), answer.json());

    let enabled = writer.post(&format!("{path}/enable"), None).await;
    assert_eq!(enabled.json()["user"]["disabledAt"], Value::Null);
    checks::assert_revoked(&ada.refresh().await, "user_disabled");
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    for act in ["disable", "enable"] {
        let nobody = writer.post(&format!("{USERS}/{NOBODY}/{act}"), None).await;
        assert_harmless(&nobody, StatusCode::NOT_FOUND, "NOT_FOUND");
        assert_eq!(details(&app, &format!("user.{act}d")).await.len(), 1);
    }
}

/// Neither makes one, nor changes one, nor keeps one out; an administrator does all of it.
#[tokio::test]
async fn a_service_key_reaches_no_administrator() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let mut ada = app.admin(ADA).await;
    let bob = app.registered(BOB).await;
    let (ada_id, bob_id) = (user_id(&ada).await, user_id(&bob).await);
    for answer in [
        set_roles(&writer, bob_id, &["admin"]).await,
        set_roles(&writer, ada_id, &[]).await,
        patch(&writer, ada_id, json!({ "email": "eve@example.org" })).await,
        writer.post(&format!("{USERS}/{ada_id}/disable"), None).await,
        writer.post(&format!("{USERS}/{ada_id}/enable"), None).await,
    ] {
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
    let body = Some(json!({ "roles": ["admin"] }));
    let given = by_page(&mut ada, Method::PUT, &format!("{bob_id}/roles"), body).await;
    given.assert(StatusCode::OK, None);
    let disabled = by_page(&mut ada, Method::POST, &format!("{bob_id}/disable"), None).await;
    disabled.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    let id = user_id(&ada).await;
    for (method, path, body) in [
        (Method::PUT, format!("{id}/roles"), Some(json!({ "roles": ["editor"] }))),
        (Method::POST, format!("{id}/disable"), None),
        (Method::DELETE, id.to_string(), None),
    ] {
        let answer = by_page(&mut ada, method, &path, body).await;
        assert_harmless(&answer, StatusCode::CONFLICT, "CONFLICT");
    }
    ada.me().await.assert(StatusCode::OK, None);
}

/// What would be lost in silence is refused: the first of two members of one name, and the end of a
/// number that 64 bits do not hold.
#[tokio::test]
async fn claims_are_kept_as_they_were_given_or_refused() {
    let app = TestApp::new().await;
    let key = app.service_key(&[Scope::UsersWrite]).await;
    let id = user_id(&app.registered(ADA).await).await;
    let refused = [
        (r#"{"a":1,"a":1}"#, "twice"),
        (r#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#, "twice"),
        (r#"{"a":123456789012345678901234567890}"#, "64 bits"),
        (r#"{"a":{"b":[-9223372036854775809]}}"#, "64 bits"),
        (r#"{"a":1e30}"#, "write it as text"),
    ];
    let kept = concat!(
        r#"{"a":18446744073709551615,"b":-9223372036854775808,"#,
        r#""c":[123.45678901234567],"d":{"e":null}}"#
    );
    let set = async |claims: &str| {
        let request = Request::patch(format!("{USERS}/{id}"))
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(format!(r#"{{"claims":{claims}}}"#)));
        app.send(request.expect("a request")).await
    };
    set(kept).await.assert(StatusCode::OK, None);
    for (claims, why) in refused {
        let answer = set(claims).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        let said = answer.json()["fields"]["claims"].to_string();
        assert!(said.contains(why), "{claims}: {said}");
    }
    let user = app.users().await.remove(0);
    assert_eq!(Value::Object(user.claims).to_string(), kept);
}

#[tokio::test]
async fn two_administrators_who_take_each_others_role_at_once_leave_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    let app = TestApp::on_store(Arc::new(store.expect("a store")), |_| {}).await;
    let (mut ada, mut bob) = (app.admin(ADA).await, app.admin(BOB).await);
    let (ada_id, bob_id) = (user_id(&ada).await, user_id(&bob).await);
    let none = || Some(json!({ "roles": [] }));
    let answers = join(
        by_page(&mut ada, Method::PUT, &format!("{bob_id}/roles"), none()),
        by_page(&mut bob, Method::PUT, &format!("{ada_id}/roles"), none()),
    )
    .await;
    let done = [&answers.0, &answers.1].into_iter().filter(|a| a.status == StatusCode::OK);
    assert_eq!(done.count(), 1, "{answers:?}");
}

/// Bounded as everything that strangers cause, and with who tried.
#[tokio::test]
async fn who_is_refused_is_noted() {
    let app = TestApp::new().await;
    let reader = app.backend(&app.service_key(&[Scope::UsersRead]).await);
    let mut ada = app.registered(ADA).await;
    let id = user_id(&ada).await;
    for _ in 0..6 {
        let answer = by_page(&mut ada, Method::GET, "", None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let answer = ada.get(USERS).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
        let answer = set_roles(&reader, id, &["editor"]).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
    let denied = details(&app, "permission.denied").await;
    assert_eq!(denied[0], json!({ "count": 1, "actor": { "userId": id.to_string() } }));
    assert!(denied[1]["actor"]["serviceKeyId"].is_string());
    assert_eq!(denied[10..], [json!({ "count": 2 })]);
}
