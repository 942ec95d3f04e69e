//! `GET /keys` and `POST /keys/rotate` of the admin API.

mod checks;
mod common;

use axum::http::StatusCode;
use checks::count_events;
use common::TestApp;
use keyward::policy::Policy;
use keyward_core::access_token::Algorithm;
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const KEYS: &str = "/api/admin/keys";
const ROTATE: &str = "/api/admin/keys/rotate";

#[tokio::test]
async fn keys_are_listed_by_page_and_without_their_secrets() {
    let app = TestApp::new().await;
    let backend = app.backend(&app.service_key(&[Scope::KeysWrite]).await);
    let answer = backend.get(KEYS).await;
    answer.assert(StatusCode::OK, None);
    let all = answer.json();
    let keys = all["keys"].as_array().expect("a list");
    let purposes: Vec<_> = keys.iter().map(|key| key["purpose"].as_str()).collect();
    let expected = ["access_token", "csrf", "refresh_token", "second_factor"];
    assert_eq!(purposes, expected.map(Some));
    let mut members: Vec<_> = keys[0].as_object().expect("a key").keys().cloned().collect();
    members.sort_unstable();
    let expected = [
        "activatesAt",
        "algorithm",
        "compromisedAt",
        "createdAt",
        "goneAt",
        "id",
        "purpose",
        "state",
    ];
    assert_eq!((members, &all["nextCursor"]), (expected.map(str::to_owned).into(), &Value::Null));

    let first = backend.get(&format!("{KEYS}?limit=2")).await.json();
    let next = first["nextCursor"].as_str().expect("there is more");
    let second = backend.get(&format!("{KEYS}?limit=2&cursor={next}")).await.json();
    assert_eq!((&first["keys"][1], &second["keys"][0]), (&keys[1], &keys[2]));
    assert_eq!(second["nextCursor"], Value::Null);
    for query in ["limit=0", "limit=101", "cursor=x", "cursor=-1", "other=1"] {
        let refused = backend.get(&format!("{KEYS}?{query}")).await;
        refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    }
    let beyond = backend.get(&format!("{KEYS}?cursor=99")).await.json();
    assert_eq!(beyond, json!({ "keys": [], "nextCursor": null }));
}

#[tokio::test]
async fn a_new_key_signs_at_once_and_nobody_is_signed_out() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = kid(ada.access_token.as_deref().expect("a token"));
    let backend = app.backend(&app.service_key(&[Scope::KeysWrite]).await);
    app.advance(1);
    let answer = backend.post(ROTATE, Some(json!({}))).await;
    answer.assert(StatusCode::OK, None);
    let key = answer.json()["key"].clone();
    assert_eq!((&key["purpose"], &key["state"]), (&json!("access_token"), &json!("active")));
    ada.me().await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
    let after = kid(ada.access_token.as_deref().expect("a token"));
    assert_ne!(after, before);
    assert_eq!(json!(after), key["id"]);
    assert!(app.keyward.jwks().contains(&before) && app.keyward.jwks().contains(&after));
    assert_eq!(count_events(&app, "key.rotated").await, 1);
}

#[tokio::test]
async fn each_purpose_has_keys_of_its_own() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let backend = app.backend(&app.service_key(&[Scope::KeysWrite]).await);
    for purpose in ["csrf", "refresh_token"] {
        let answer = backend.post(ROTATE, Some(json!({ "purpose": purpose }))).await;
        answer.assert(StatusCode::OK, None);
        assert_eq!(answer.json()["key"]["purpose"], purpose);
    }
    ada.refresh().await.assert(StatusCode::OK, None);
    for purpose in [json!("master"), json!(""), json!(1)] {
        let refused = backend.post(ROTATE, Some(json!({ "purpose": purpose }))).await;
        refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    }
}

#[tokio::test]
async fn a_configured_key_is_changed_where_it_is_configured() {
    let app = TestApp::with_policy(|policy: &mut Policy| {
        policy.access_token.algorithm = Algorithm::Hs256;
        policy.access_token.hmac_secret = Some(vec![7; 32].into());
    })
    .await;
    let backend = app.backend(&app.service_key(&[Scope::KeysWrite]).await);
    let refused = backend.post(ROTATE, Some(json!({}))).await;
    refused.assert(StatusCode::CONFLICT, Some("CONFLICT"));
    backend.post(ROTATE, Some(json!({ "purpose": "csrf" }))).await.assert(StatusCode::OK, None);
}

/// The `kid` of a token's header.
fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}
