//! The layer and the extractors, through a real router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use axum::routing::get;
use http_body_util::BodyExt as _;
use keyward_verify::{
    Algorithm, Caller, RequireRole, RequireStepUp, Revocation, RevokedSubject, Role, StepUp,
    Verifier, VerifyLayer, VerifyPolicy,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::issuer::{SESSION, Signer, fresh_claims, fresh_claims_with, key_set, policy};
use crate::publisher::{Publisher, eventually};
use crate::{attacks, system_now};

#[tokio::test]
async fn a_good_token_reaches_the_route() {
    let app = App::new(policy());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = app.call("/me", &[&format!("{scheme} {}", app.token(&fresh_claims()))]).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ada@example.org"));
    }
}

#[tokio::test]
async fn every_refusal_has_the_form_of_the_service() {
    let app = App::new(policy());
    let good = format!("Bearer {}", app.token(&fresh_claims()));
    let mut expired = fresh_claims_with("exp", json!(system_now().secs() - 5));
    expired["iat"] = json!(system_now().secs() - 905);
    let expired = format!("Bearer {}", app.token(&expired));
    let revoked = app.token(&fresh_claims_with("sid", json!(SESSION.replace('2', "3"))));
    app.revoke(&SESSION.replace('2', "3"));
    let revoked = format!("Bearer {revoked}");
    let invalid = Some(r#"Bearer error="invalid_token""#);
    let cases: [(&[&str], u16, &str, Option<&str>); 10] = [
        (&[], 401, "NO_TOKEN", Some("Bearer")),
        (&["Basic YTpi"], 401, "NO_TOKEN", Some("Bearer")),
        (&["Bearer"], 401, "NO_TOKEN", Some("Bearer")),
        (&["Bearer "], 401, "INVALID_TOKEN", invalid),
        (&["Bearer e30.e30.e30"], 401, "INVALID_TOKEN", invalid),
        (&[&good.replace("Bearer ", "Bearer  ")], 401, "INVALID_TOKEN", invalid),
        (&[&format!("{good}, {good}")], 401, "INVALID_TOKEN", invalid),
        (&[&expired], 401, "TOKEN_EXPIRED", invalid),
        (&[&revoked], 401, "TOKEN_REVOKED", invalid),
        (&[&good, &good], 400, "INVALID_REQUEST", None),
    ];
    for (authorization, status, code, challenge) in cases {
        let answer = app.call("/me", authorization).await;
        answer.check(status, code, challenge);
        assert_eq!(answer.json.get("fields").is_some(), status == 400, "{code}");
    }
}

#[tokio::test]
async fn a_token_elsewhere_is_no_token() {
    let app = App::new(policy());
    let token = app.token(&fresh_claims());
    let request = Request::get(format!("/me?access_token={token}"))
        .header(header::COOKIE, format!("__Host-accessToken={token}; accessToken={token}"));
    let request = request.body(Body::from(format!("access_token={token}"))).expect("a request");
    app.send(request).await.check(401, "NO_TOKEN", Some("Bearer"));
}

#[tokio::test]
async fn every_attack_is_answered_alike() {
    let (es256, eddsa) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let app = App::of(policy(), &[&es256, &eddsa]);
    // What is not ASCII is no token in a header.
    let attacks = attacks::all(&es256, &eddsa, "127.0.0.1:1").into_iter();
    for (name, token) in attacks.filter(|(_, token)| token.is_ascii()) {
        let value = format!("Bearer {token}");
        let request = Request::get("/me").header(header::AUTHORIZATION, value);
        let request = request.header("x-request-id", "one-id").body(Body::empty());
        let answer = app.send(request.expect("a request")).await;
        // Of a key that is not known nobody can say without fetching, which nobody does here.
        if answer.status != 503 {
            assert_eq!(answer.text, INVALID_TOKEN, "{name}");
        }
    }
}

#[tokio::test]
async fn while_nobody_knows_it_is_no_fault_of_the_token() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = Verifier::new(policy());
    verifier.take_up_keys(&key_set(&[&signer]), system_now()).expect("a good set");
    let app = App { signer, verifier: Arc::new(verifier) };
    let answer = app.call("/me", &[&format!("Bearer {}", app.token(&fresh_claims()))]).await;
    answer.check(503, "STORE_UNAVAILABLE", None);
    assert_eq!(answer.json["retryAfter"], 2);
    assert_eq!(answer.headers[header::RETRY_AFTER], "2");
}

#[tokio::test]
async fn roles_are_required_by_the_signature_of_a_route() {
    let app = App::new(policy());
    let answer = app.call("/admin", &[&app.bearer("roles", json!(["user", "admins"]))]).await;
    let challenge = r#"Bearer error="insufficient_scope""#;
    answer.check(403, "INSUFFICIENT_PERMISSIONS", Some(challenge));
    let answer = app.call("/admin", &[&app.bearer("roles", json!(["user", "admin"]))]).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "ada@example.org"));
}

#[tokio::test]
async fn a_sensitive_act_needs_a_recent_and_strong_sign_in() {
    let app = App::new(policy());
    let now = system_now().secs();
    for (auth_time, amr, status) in [
        (now, json!(["pwd", "otp"]), 200),
        (now - 290, json!(["otp", "pwd"]), 200),
        (now - 320, json!(["pwd", "otp"]), 403),
        (now, json!(["pwd"]), 403),
        (now, json!([]), 403),
    ] {
        let mut claims = fresh_claims_with("auth_time", json!(auth_time));
        claims["amr"] = amr;
        let answer = app.call("/pay", &[&format!("Bearer {}", app.token(&claims))]).await;
        assert_eq!(answer.status, status, "{claims}");
        if status == 403 {
            answer.check(403, "REAUTHENTICATION_REQUIRED", None);
        }
    }
}

#[tokio::test]
async fn a_route_without_the_layer_is_closed() {
    let request = Request::get("/me").header(header::AUTHORIZATION, "Bearer x");
    let request = request.body(Body::empty()).expect("a request");
    let answer = Answer::of(routes().oneshot(request).await.expect("infallible")).await;
    answer.check(500, "INTERNAL", None);
}

#[tokio::test]
async fn an_id_is_given_or_taken_over() {
    let app = App::new(policy());
    for (given, is_taken) in [("abc-1.2_3", true), ("a b", false), ("", false), ("<x>", false)] {
        let request = Request::get("/me").header("x-request-id", given).body(Body::empty());
        let answer = app.send(request.expect("a request")).await;
        answer.check(401, "NO_TOKEN", Some("Bearer"));
        assert_eq!(answer.headers["x-request-id"] == given, is_taken, "{given}");
    }
}

#[tokio::test]
async fn a_route_waits_for_the_key_of_a_good_token() {
    let (before, after) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let publisher = Publisher::start(&[&before]).await;
    let app = App { signer: after, verifier: Arc::new(Verifier::new(policy())) };
    let source = publisher.source();
    let story = async {
        let status = || app.verifier.status(system_now());
        let is_current = || status().keys_age.is_some() && status().staleness.is_some();
        eventually("it is current", is_current).await;
        publisher.publish_keys(key_set(&[&app.signer]));
        let answer = app.call("/me", &[&format!("Bearer {}", app.token(&fresh_claims()))]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    tokio::select! {
        () = story => {}
        never = app.verifier.run(&source) => match never {},
    }
}

/// Routes behind the layer, and a key whose tokens they accept.
struct App {
    signer: Signer,
    verifier: Arc<Verifier>,
}

impl App {
    fn new(policy: VerifyPolicy) -> Self {
        let signer = Signer::new(Algorithm::EdDsa);
        let verifier = Self::of(policy, &[&signer]).verifier;
        Self { signer, verifier }
    }

    fn of(policy: VerifyPolicy, signers: &[&Signer]) -> Self {
        let verifier = Verifier::new(policy);
        verifier.take_up_keys(&key_set(signers), system_now()).expect("a good set");
        verifier.revocations().hear(system_now());
        Self { signer: Signer::new(Algorithm::EdDsa), verifier: Arc::new(verifier) }
    }

    fn token(&self, claims: &Value) -> String {
        self.signer.sign(claims)
    }

    fn bearer(&self, name: &str, value: Value) -> String {
        format!("Bearer {}", self.token(&fresh_claims_with(name, value)))
    }

    fn revoke(&self, session: &str) {
        let subject = RevokedSubject::Session(session.parse().expect("an id"));
        let now = system_now();
        let revocation = Revocation { subject, exp: now.secs() + 900 };
        self.verifier.revocations().take_in(revocation, now).expect("there is room");
    }

    async fn call(&self, path: &str, authorization: &[&str]) -> Answer {
        let mut request = Request::get(path);
        for value in authorization {
            request = request.header(header::AUTHORIZATION, *value);
        }
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let app = routes().layer(VerifyLayer::new(Arc::clone(&self.verifier)));
        Answer::of(app.oneshot(request).await.expect("infallible")).await
    }
}

fn routes() -> Router {
    Router::new()
        .route("/me", get(async |caller: Caller| caller.email.clone()))
        .route("/admin", get(async |admin: RequireRole<Admin>| admin.caller.email.clone()))
        .route("/pay", get(async |payer: RequireStepUp<Payment>| payer.caller.email.clone()))
}

struct Admin;

impl Role for Admin {
    const NAME: &str = "admin";
}

struct Payment;

impl StepUp for Payment {
    const MAX_AGE: Duration = Duration::from_secs(300);
    const AMR: &[&str] = &["pwd", "otp"];
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    text: String,
    json: Value,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).expect("UTF-8"),
            json: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    #[track_caller]
    fn check(&self, status: u16, code: &str, challenge: Option<&str>) {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)));
        assert!(self.json["error"].as_str().is_some_and(|sentence| sentence.ends_with('.')));
        assert_eq!(self.json["requestId"], self.headers["x-request-id"].to_str().expect("text"));
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        let header = self.headers.get(header::WWW_AUTHENTICATE);
        assert_eq!(header.map(|value| value.to_str().expect("text")), challenge);
    }
}

const INVALID_TOKEN: &str = concat!(
    r#"{"error":"The access token or service key is not valid.","code":"INVALID_TOKEN","#,
    r#""requestId":"one-id"}"#
);
