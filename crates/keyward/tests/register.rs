//! `POST /register`: what it answers, what it refuses, what it leaves behind.

mod common;

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Answer, PASSWORD, PUBLIC_URL, TestApp};
use keyward::policy::{AllowedOrigins, Registration};
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const PATH: &str = "/api/auth/register";

/// The members of an object, in alphabetical order.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// One part of a JWT.
fn jwt_part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

async fn register(app: &TestApp, body: Value) -> Answer {
    app.browser().post(PATH, Some(body)).await
}

/// That registering with this member set to `value` is refused, and which field is named.
async fn refuses(app: &TestApp, field: &str, value: Value) {
    let mut body = json!({ "email": ADA, "password": PASSWORD });
    body[field] = value;
    let answer = register(app, body.clone()).await;
    answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert_eq!(members(&answer.json()["fields"]), [field], "{body}");
    assert!(answer.set_cookies().is_empty());
    assert!(app.users().await.is_empty(), "{body}");
}

async fn accepts(app: &TestApp, email: &str, password: &str) {
    let answer = register(app, json!({ "email": email, "password": password })).await;
    answer.assert(StatusCode::CREATED, None);
    let mut browser = app.browser();
    browser.login(email, password).await.assert(StatusCode::OK, None);
}

/// An app whose registrations nobody counts.
async fn unlimited() -> TestApp {
    TestApp::with_policy(|policy| policy.limits.register_address = None).await
}

#[tokio::test]
async fn answers_user_tokens_and_cookies() {
    let app = TestApp::new().await;
    let body = json!({ "email": "Ada@Example.org", "password": PASSWORD, "name": "Ada" });
    let answer = register(&app, body).await;
    answer.assert(StatusCode::CREATED, None);

    let body = answer.json();
    assert_eq!(members(&body), ["accessToken", "csrfToken", "expiresIn", "tokenType", "user"]);
    assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("Bearer"), &json!(900)));
    let id = app.users().await[0].id;
    assert_eq!(
        body["user"],
        json!({
            "id": id.to_string(),
            "email": "Ada@Example.org",
            "name": "Ada",
            "roles": [],
            "emailVerified": false,
            "mfaEnabled": false,
            "createdAt": "2026-09-21T14:13:20.000Z",
        })
    );
    let csrf = format!(
        "__Host-csrfToken={}; Path=/; Secure; SameSite=Strict; Priority=High; Max-Age=604800",
        answer.text("csrfToken")
    );
    let [refresh, csrf_line, device] = answer.set_cookies()[..] else { panic!("{answer:?}") };
    assert_eq!(csrf_line, csrf);
    assert!(device.starts_with("__Secure-device="));
    assert!(device.ends_with(
        "; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; Priority=High; Max-Age=15552000"
    ));
    assert!(refresh.starts_with("__Secure-refreshToken=kwr_"));
    assert!(refresh.ends_with(
        "; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; Priority=High; Max-Age=604800"
    ));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_access_token_says_who_and_which_session() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let me = ada.me().await.json();
    let token = ada.access_token.clone().expect("an access token");
    let header = jwt_part(&token, 0);
    assert_eq!(members(&header), ["alg", "kid", "typ"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));

    let mut claims = jwt_part(&token, 1);
    assert!(claims["jti"].take().as_str().is_some_and(|jti| jti.len() >= 16));
    let now = 1_790_000_000;
    let expected = json!({
        "iss": PUBLIC_URL,
        "aud": PUBLIC_URL,
        "sub": me["user"]["id"],
        "client_id": "keyward",
        "sid": me["session"]["id"],
        "jti": null,
        "iat": now,
        "exp": now + 900,
        "auth_time": now,
        "amr": ["pwd"],
        "roles": [],
        "email": ADA,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn in_cookie_delivery_the_body_holds_no_token() {
    let app = TestApp::with_cookie_delivery().await;
    let answer = register(&app, json!({ "email": ADA, "password": PASSWORD })).await;
    answer.assert(StatusCode::CREATED, None);
    let body = answer.json();
    assert!(body["accessToken"].is_null(), "{body}");
    assert!(body["user"].is_object() && body["csrfToken"].is_string(), "{body}");
    let cookies = answer.set_cookies();
    let access = cookies.iter().find(|line| line.starts_with("__Host-accessToken="));
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax; Priority=High; Max-Age=900";
    assert!(access.is_some_and(|line| line.ends_with(attributes)), "{cookies:?}");
}

#[tokio::test]
async fn is_recorded_with_its_session_and_request() {
    let app = TestApp::new().await;
    let browser = app.browser();
    let body = json!({ "email": ADA, "password": PASSWORD });
    let mut request = browser.request(Method::POST, PATH, Some(body));
    request.headers_mut().insert("user-agent", "Tests/1".parse().expect("a value"));
    let answer = app.send(request).await;
    answer.assert(StatusCode::CREATED, None);

    let events = app.audit().await;
    let told: Vec<_> = events.iter().map(|event| (&event.name[..], &event.detail[..])).collect();
    assert_eq!(told, [("user.registered", r#"{"by":"user"}"#), ("session.created", "{}")]);
    for event in &events {
        assert_eq!(event.request_id.as_deref(), answer.header("x-request-id"));
        assert_eq!(event.device.user_agent.as_deref(), Some("Tests/1"));
        assert!(event.device.ip.is_some() && event.user_id.is_some());
    }
    assert!(events[1].session_id.is_some());
}

#[tokio::test]
async fn an_address_is_taken_in_any_case_and_normal_form() {
    let app = TestApp::new().await;
    accepts(&app, "zo\u{eb}.Ada@example.org", PASSWORD).await;
    let before = app.audit().await;
    for email in
        ["zo\u{eb}.Ada@example.org", "ZO\u{cb}.ADA@EXAMPLE.ORG", "zoe\u{308}.ada@example.org"]
    {
        let answer = register(&app, json!({ "email": email, "password": PASSWORD })).await;
        answer.assert(StatusCode::CONFLICT, Some("EMAIL_TAKEN"));
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(app.audit().await, before);
}

#[tokio::test]
async fn of_parallel_registrations_of_one_address_one_succeeds() {
    let app = TestApp::new().await;
    let tries = (0..10).map(|_| register(&app, json!({ "email": ADA, "password": PASSWORD })));
    let answers = futures_util::future::join_all(tries).await;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(StatusCode::CREATED), with(StatusCode::CONFLICT)), (1, 9));
    assert_eq!(app.audit_names().await, ["user.registered", "session.created"]);
}

#[tokio::test]
async fn nobody_gives_themselves_what_only_others_may_give() {
    let app = TestApp::new().await;
    for (field, value) in [
        ("roles", json!(["admin"])),
        ("role", json!("admin")),
        ("isAdmin", json!(true)),
        ("emailVerified", json!(true)),
        ("email_verified", json!(true)),
        ("mfaEnabled", json!(false)),
        ("id", json!("00000000-0000-7000-8000-000000000000")),
        ("claims", json!({ "plan": "gold" })),
        ("createdAt", json!("2020-01-01T00:00:00.000Z")),
        ("disabledAt", Value::Null),
        ("passwordHash", json!("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAA")),
        ("__proto__", json!({ "roles": ["admin"] })),
        ("Email", json!("eve@example.org")),
    ] {
        refuses(&app, field, value).await;
    }
    assert!(app.audit_names().await.is_empty());
}

#[tokio::test]
async fn refuses_passwords_that_are_short_or_guessed_first() {
    let app = unlimited().await;
    for password in [
        "",
        "q7#kzPw",
        "\u{1f980}\u{1f40d}\u{1f980}\u{1f419}\u{1f980}\u{1f991}\u{1f980}",
        // Four characters, however they are typed.
        "e\u{301}o\u{301}a\u{301}u\u{301}",
        "password",
        "Password1",
        "12345678",
        "qwertyuiop",
        "aaaaaaaaaaaa",
        ADA,
        "ADA@EXAMPLE.ORG",
        "a\0 zimtkringel im regen",
    ] {
        refuses(&app, "password", json!(password)).await;
    }
    refuses(&app, "password", json!("x7 ".repeat(342))).await;
}

#[tokio::test]
async fn the_account_s_own_name_is_no_password() {
    let app = TestApp::new().await;
    let body = json!({ "email": ADA, "password": "wilhelmine", "name": "Wilhelmine" });
    let answer = register(&app, body).await;
    answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert_eq!(members(&answer.json()["fields"]), ["password"]);
}

#[tokio::test]
async fn accepts_passwords_of_any_unicode_and_length() {
    let app = unlimited().await;
    let long = |text: &str, chars: usize| text.chars().cycle().take(chars).collect::<String>();
    for (number, password) in [
        "9v.Kq2!x".to_owned(),
        "ἄνδρα μοι ἔννεπε".to_owned(),
        " zimtkringel im regen ".to_owned(),
        long("zimtkringel im regen, und dann kuchen. ", 128),
        long("zimtkringel im regen, und dann kuchen. ", 256),
        long("\u{1f980}\u{1f40d}x\u{1f419}y\u{1f991}", 256),
        long("zimtkringel im regen, und dann kuchen. ", 1024),
    ]
    .iter()
    .enumerate()
    {
        accepts(&app, &format!("user{number}@example.org"), password).await;
    }
}

#[tokio::test]
async fn a_password_is_the_same_composed_and_decomposed() {
    let app = TestApp::new().await;
    let body = json!({ "email": ADA, "password": "caf\u{e9} noisette d'\u{e9}t\u{e9}" });
    register(&app, body).await.assert(StatusCode::CREATED, None);
    let mut browser = app.browser();
    let decomposed = "cafe\u{301} noisette d'e\u{301}te\u{301}";
    browser.login(ADA, decomposed).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn refuses_what_cannot_be_an_address() {
    let app = unlimited().await;
    for email in [
        "",
        " ",
        "ada",
        "@",
        "ada@",
        "@example.org",
        "a b@example.org",
        "ada@example.org ",
        " ada@example.org",
        "ada@@example.org",
        "ada@exa mple.org",
        "ada@example..org",
        "ada\r\nBcc: eve@example.org",
        "ada\0@example.org",
        "ada@example.org\0",
        "<ada@example.org>",
        "ada@example.org,eve@example.org",
        "ada\u{202e}@example.org",
        "ada\u{200b}@example.org",
        "ada\u{2060}@example.org",
    ] {
        refuses(&app, "email", json!(email)).await;
    }
    refuses(&app, "email", json!(format!("{}@example.org", "a".repeat(300)))).await;
}

#[tokio::test]
async fn a_name_is_short_and_without_tricks() {
    let app = unlimited().await;
    let long = "n".repeat(101);
    for name in ["", "  ", "a\nb", "a\0b", "\u{1b}[2J", "a\u{202e}b", &long] {
        refuses(&app, "name", json!(name)).await;
    }
    let longest = "\u{1f980}".repeat(100);
    for (number, name) in [json!(null), json!("n"), json!(longest)].iter().enumerate() {
        let email = format!("user{number}@example.org");
        let body = json!({ "email": email, "password": PASSWORD, "name": name });
        let answer = register(&app, body).await;
        answer.assert(StatusCode::CREATED, None);
        assert_eq!(answer.json()["user"]["name"], *name);
    }
}

#[tokio::test]
async fn a_page_of_another_site_registers_nobody() {
    let app = TestApp::with_policy(|policy| {
        let listed = vec!["https://app.example.net".to_owned()];
        policy.web.allowed_origins = AllowedOrigins::Listed(listed);
    })
    .await;
    let check = async |number: u32, passes: bool, headers: &[(&'static str, &str)]| {
        let email = format!("user{number}@example.org");
        let body = json!({ "email": email, "password": PASSWORD });
        let mut request = app.browser().request(Method::POST, PATH, Some(body));
        request.headers_mut().remove("origin");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let answer = app.send(request).await;
        let expected = if passes {
            (StatusCode::CREATED, None)
        } else {
            (StatusCode::FORBIDDEN, Some("ORIGIN_NOT_ALLOWED"))
        };
        answer.assert(expected.0, expected.1);
        assert_eq!(answer.set_cookies().is_empty(), !passes, "{headers:?}");
    };
    check(1, false, &[("origin", "https://evil.example")]).await;
    check(2, false, &[("origin", "null")]).await;
    check(3, false, &[("referer", "https://evil.example/page")]).await;
    check(4, false, &[("sec-fetch-site", "cross-site")]).await;
    check(5, false, &[("origin", PUBLIC_URL), ("sec-fetch-site", "cross-site")]).await;
    check(6, true, &[("origin", "https://app.example.net"), ("sec-fetch-site", "cross-site")])
        .await;
    check(7, true, &[("origin", PUBLIC_URL), ("sec-fetch-site", "same-origin")]).await;
    check(8, true, &[("referer", "https://auth.example.org/sign-up")]).await;
    check(9, true, &[]).await;
    assert_eq!(app.users().await.len(), 4);
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "csrf.rejected").count(), 5);
}

#[tokio::test]
async fn leaves_the_session_that_the_browser_carried() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let spent = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    // The refresh cookie of this one is spent; whoever holds it leaves the session all the same.
    let mut newcomer = spent;
    newcomer.register("eve@example.org", PASSWORD).await.assert(StatusCode::CREATED, None);

    let told = browser.refresh().await;
    told.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    assert_eq!(told.text("reason"), "superseded");
    newcomer.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_refused_registration_leaves_the_carried_session_alone() {
    let app = TestApp::new().await;
    app.registered("eve@example.org").await;
    let mut browser = app.registered(ADA).await;
    let taken = browser.register("eve@example.org", PASSWORD).await;
    taken.assert(StatusCode::CONFLICT, Some("EMAIL_TAKEN"));
    browser.register("new@example.org", "short").await.assert_error_form();
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn closed_registration_makes_nobody() {
    let app = TestApp::with_policy(|policy| {
        policy.accounts.registration = Registration::Closed;
    })
    .await;
    let answer = register(&app, json!({ "email": ADA, "password": PASSWORD })).await;
    answer.assert(StatusCode::FORBIDDEN, Some("INSUFFICIENT_PERMISSIONS"));
    assert!(answer.set_cookies().is_empty());
    assert!(app.users().await.is_empty());
    assert!(app.audit_names().await.is_empty());
}
