//! `GET /audit` of the admin API.

mod checks;
mod common;

use std::time::Duration;

use axum::http::StatusCode;
use checks::{assert_harmless, assert_touches_no_cookie};
use common::{Answer, Backend, TestApp};
use keyward::clock::Clock as _;
use keyward::hashing;
use keyward::store::{ImportedUser, NewUser};
use keyward_core::audit::{AuditEvent, AuditKind, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use serde_json::{Map, Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

async fn reader(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::AuditRead]).await)
}

async fn audit(reader: &Backend, query: &str) -> Answer {
    let answer = reader.get(&format!("/api/admin/audit{query}")).await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    answer
}

/// The types of the events that the query lists.
async fn types(reader: &Backend, query: &str) -> Vec<String> {
    let events = audit(reader, query).await.json()["events"].clone();
    let types = events.as_array().expect("a list").iter().map(|event| event["type"].clone());
    types.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn an_event_is_told_as_the_contract_says() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let mut ada = app.registered(ADA).await;
    app.advance(1);
    let refreshed = ada.refresh().await;
    let answer = audit(&reader, "?limit=1").await.json();
    let event = &answer["events"][0];
    let expected = json!({
        "id": event["id"],
        "at": "2026-09-21T14:13:21.000Z",
        "type": "session.refreshed",
        "userId": checks::stored(&ada).await.user.id.to_string(),
        "sessionId": checks::session_id(&ada).to_string(),
        "ip": event["ip"],
        "userAgent": null,
        "requestId": refreshed.header("x-request-id"),
        "detail": { "generation": 1 },
    });
    assert_eq!(event, &expected);
    assert!(event["id"].is_i64() && event["ip"].is_string(), "{event}");
}

/// What concerns nobody names nobody.
#[tokio::test]
async fn an_event_about_nobody_has_no_ids() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let event = audit(&reader, "").await.json()["events"][0].clone();
    assert_eq!(event["type"], "service_key.created");
    assert_eq!(event["detail"]["scopes"], json!(["audit:read"]));
    assert!(event.get("userId").is_none() && event.get("sessionId").is_none(), "{event}");
}

#[tokio::test]
async fn each_filter_narrows_the_list() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let ada = app.registered(ADA).await;
    app.advance(60);
    let mut bob = app.registered(BOB).await;
    app.advance(60);
    bob.refresh().await.assert(StatusCode::OK, None);

    let (of_ada, of_bob) = (checks::stored(&ada).await, checks::stored(&bob).await);
    let registered = ["session.created", "user.registered"];
    let all = [&["session.refreshed"][..], &registered, &registered, &["service_key.created"]];
    assert_eq!(types(&reader, "").await, all.concat());
    assert_eq!(types(&reader, &format!("?userId={}", of_ada.user.id)).await, registered);
    let session = format!("?sessionId={}", of_bob.session.id);
    assert_eq!(types(&reader, &session).await, ["session.refreshed", "session.created"]);
    assert_eq!(types(&reader, "?type=session.refreshed").await, ["session.refreshed"]);
    let since = types(&reader, "?since=2026-09-21T14:14:20Z").await;
    assert_eq!(since, ["session.refreshed", "session.created", "user.registered"]);
    let until = types(&reader, "?until=2026-09-21T14:14:20.000Z").await;
    assert_eq!(until, ["session.created", "user.registered", "service_key.created"]);
    let offset = types(&reader, "?since=2026-09-21T16:15:20%2B02:00").await;
    assert_eq!(offset, ["session.refreshed"]);
    let both = format!("?userId={}&type=user.registered&limit=100", of_bob.user.id);
    assert_eq!(types(&reader, &both).await, ["user.registered"]);
    let none = format!("?userId={}&sessionId={}", of_ada.user.id, of_bob.session.id);
    assert_eq!(types(&reader, &none).await, [""; 0]);
}

#[tokio::test]
async fn the_cursor_leads_through_the_whole_list() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let mut ada = app.registered(ADA).await;
    for _ in 0..4 {
        ada.refresh().await.assert(StatusCode::OK, None);
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let answer = audit(&reader, &query).await.json();
        let events = answer["events"].as_array().expect("a list").clone();
        seen.extend(events.iter().map(|event| event["id"].as_i64().expect("a number")));
        // What happens meanwhile is newer than the list, and moves nothing in it.
        ada.refresh().await.assert(StatusCode::OK, None);
        let Some(cursor) = answer["nextCursor"].as_str() else {
            assert_eq!(answer["nextCursor"], Value::Null);
            break;
        };
        assert_eq!(events.len(), 3);
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_list_that_ends_with_its_page_has_no_cursor() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    app.registered(ADA).await;
    let answer = audit(&reader, "?limit=3").await.json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(answer["nextCursor"], Value::Null);
}

#[tokio::test]
async fn a_list_has_fifty_entries_unless_asked() {
    let app = TestApp::with_policy(|policy| policy.limits.refresh_session = None).await;
    let reader = reader(&app).await;
    let mut ada = app.registered(ADA).await;
    for _ in 0..100 {
        ada.refresh().await.assert(StatusCode::OK, None);
    }
    for (query, length) in [("", 50), ("?limit=100", 100), ("?limit=1", 1)] {
        assert_eq!(types(&reader, query).await.len(), length, "{query}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_wrong_is_named() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=1%00", "cursor"),
        ("userId=me", "userId"),
        ("userId=", "userId"),
        ("sessionId=%ff", "sessionId"),
        ("type=nonsense", "type"),
        ("type=", "type"),
        ("type=session.refreshed,session.created", "type"),
        ("since=yesterday", "since"),
        ("since=1790000000", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("user_id=x", "user_id"),
        ("access_token=x", "access_token"),
        ("limit=1&limit=1", "limit"),
        ("type[]=user.deleted", "type[]"),
        ("limit=1&%6Cimit=2", "limit"),
    ] {
        let answer = reader.get(&format!("/api/admin/audit?{query}")).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        let fields = answer.json()["fields"].clone();
        assert!(fields[field].as_str().is_some_and(|why| why.ends_with('.')), "{query}: {fields}");
    }
    let many: String = (0..5000).map(|number| format!("k{number}=1&")).collect();
    let answer = reader.get(&format!("/api/admin/audit?{many}")).await;
    assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
}

#[tokio::test]
async fn an_empty_query_is_none() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    for query in ["?", "?&", "?&&"] {
        assert_eq!(types(&reader, query).await, ["service_key.created"]);
    }
}

/// One request looks at a hundred thousand events at most, and says where the search goes on.
#[tokio::test]
async fn a_search_costs_a_request_no_more_than_a_part_of_the_log() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let ada = app.registered(ADA).await;
    let noise = AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 });
    for _ in 0..15 {
        let events = vec![(noise.clone(), app.nobody()); 10_000];
        app.store.record(events).await.expect("the store works");
    }
    let query = format!("?userId={}", checks::stored(&ada).await.user.id);
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = audit(&reader, &format!("{query}{cursor}")).await.json();
        pages.push(page["events"].as_array().expect("a list").len());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [0, 2]);
}

/// It may be of another system, and tell a time after what its user has done.
#[tokio::test]
async fn an_id_of_the_future_hides_no_events() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let day = Duration::from_secs(24 * 60 * 60);
    let id = UserId::new(app.clock.now().plus(10 * day), [7; 10]);
    let user = NewUser {
        id,
        email: Email::parse(ADA).expect("an address"),
        name: None,
        roles: Vec::new(),
        password_hash: hashing::no_password(&app.keyward.policy().hashing),
        email_verified: false,
        by: RegisteredBy::Operator,
        verification: None,
    };
    let user = ImportedUser { user, claims: Map::new(), created_at: app.clock.now() };
    app.store.insert_users(vec![user], &app.nobody()).await.expect("the store works");
    let noise = AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 });
    app.store.record(vec![(noise, app.nobody())]).await.expect("the store works");
    for _ in 0..3 {
        assert_eq!(types(&reader, &format!("?userId={id}")).await, ["user.registered"]);
        app.advance(6 * 24 * 60 * 60);
    }
}

/// However much came after it.
#[tokio::test]
async fn a_span_of_time_is_found_at_once() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    app.registered(ADA).await;
    app.advance(60 * 60);
    let noise = AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 });
    let events = vec![(noise, app.nobody()); 150_000];
    app.store.record(events).await.expect("the store works");
    let query = "?type=user.registered&until=2026-09-21T14:30:00Z";
    assert_eq!(types(&reader, query).await, ["user.registered"]);
    let query = "?type=user.registered&since=2026-09-21T15:00:00Z";
    let page = audit(&reader, query).await.json();
    assert_eq!(page["events"], json!([]));
    let later = format!("{query}&cursor={}", page["nextCursor"].as_str().expect("a cursor"));
    assert_eq!(audit(&reader, &later).await.json()["nextCursor"], Value::Null);
}
