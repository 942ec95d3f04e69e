//! No secret leaves by a side door: not into the log, not into the audit log, not into an error,
//! and not into the `Debug` of anything public.

mod common;

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PUBLIC_URL, TestApp, mounted};
use keyward::http::ROUTES;
use keyward::policy::{Delivery, Policy};
use keyward::service::{Carried, ClientInfo, NewAccount, Registered, SignIn};
use keyward::store::{SessionFilter, WhichSessions};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::password::Password;
use keyward_core::service_key::{Scope, ServiceKey};
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

const ADA: &str = "ada@example.org";
const PASSWORD: &str = "canary zimtkringel im regen";
const WRONG: &str = "canary zimtkringel im schnee";
const NEW: &str = "canary regenschirm aus zimt";
const KEY: &str = "canary-idempotency-key-0001";
const OTHER_KEY: &str = "canary-idempotency-key-0002";
const HMAC_SECRET: &[u8; 32] = b"canary-hmac-secret-of-32-bytes!!";

/// Everything that any test of this file has logged, at the most talkative level.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(BoxMakeWriter::new(move || writer.clone()))
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
        log
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("a lock")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What must not be seen, and what was seen.
#[derive(Default)]
struct Watch {
    canaries: Vec<String>,
    seen: Vec<String>,
}

impl Watch {
    fn new() -> Self {
        let mut watch = Self::default();
        for text in [PASSWORD, WRONG, NEW, KEY, OTHER_KEY] {
            watch.secret(text);
        }
        watch
    }

    fn secret(&mut self, text: &str) {
        self.canaries.push(text.to_owned());
        self.bytes(text.as_bytes());
    }

    /// The forms in which bytes are usually written.
    fn bytes(&mut self, bytes: &[u8]) {
        let list = format!("{bytes:?}");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let forms =
            [hex.to_uppercase(), STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
        self.canaries.extend(forms);
        self.canaries.push(hex);
        self.canaries.push(list.trim_matches(['[', ']']).to_owned());
    }

    /// The tokens that a browser holds.
    fn tokens(&mut self, browser: &Browser) {
        for (name, value) in &browser.cookies {
            self.canaries.push(value.clone());
            if name.contains("refresh") {
                self.refresh_token(value);
            }
        }
        if let Some(token) = &browser.access_token {
            self.canaries.push(token.clone());
            self.canaries.push(token.rsplit_once('.').expect("three parts").1.to_owned());
        }
    }

    fn refresh_token(&mut self, token: &str) {
        let text = token.strip_prefix("kwr_").expect("a refresh token");
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        // Key id, session id and generation are no secrets; then comes the secret, then the tag.
        self.bytes(&bytes[25..57]);
        self.bytes(&bytes[57..]);
        self.canaries.push(text[34..76].to_owned());
    }

    /// A service key, its secret and what the store knows of it.
    async fn service_key(&mut self, app: &TestApp, key: &str) {
        self.canaries.push(key.to_owned());
        self.bytes(&URL_SAFE_NO_PAD.decode(&key[4..]).expect("base64url"));
        let key = ServiceKey::parse(key).expect("a service key");
        self.bytes(key.hash().as_bytes());
        self.see(&key);
        self.see(&key.hash());
        self.see(&app.store.find_service_key(key.hash()).await.expect("a store"));
    }

    /// The hashes in the store.
    async fn hashes(&mut self, app: &TestApp) {
        if let Some(account) = app.store.find_user_by_email(ADA).await.expect("a store") {
            let phc = account.password_hash.as_phc();
            self.canaries.push(phc.to_owned());
            self.canaries.push(phc.rsplit_once('$').expect("a PHC string").1.to_owned());
            self.see(&account);
        }
        let now = app.keyward.now();
        let filter = SessionFilter { user_id: None, which: WhichSessions::Live, now, limit: 100 };
        for session in app.store.list_sessions(filter).await.expect("a store") {
            self.bytes(session.refresh_token_hash.as_bytes());
            self.see(&session);
        }
    }

    fn see(&mut self, value: &dyn std::fmt::Debug) {
        self.seen.push(format!("{value:?}"));
        self.seen.push(format!("{value:#?}"));
    }

    /// Errors must hold no secret; other answers hand them out.
    fn answer(&mut self, answer: &Answer) {
        if !answer.status.is_success() {
            self.seen.push(String::from_utf8_lossy(&answer.body).into_owned());
            self.see(&answer.headers);
        }
    }

    #[track_caller]
    fn check(&self, seen: &[String]) {
        assert!(self.canaries.len() > 20);
        for canary in &self.canaries {
            assert!(canary.len() >= 10, "too short to be told from chance: {canary}");
            for text in self.seen.iter().chain(seen) {
                let at = text.find(canary.as_str());
                let around = at.map(|at| text.get(at.saturating_sub(80)..at + canary.len()));
                assert_eq!(around, None, "{canary}");
            }
        }
    }
}

/// A user's life, with everything that can go wrong in it.
async fn live(app: &TestApp, watch: &mut Watch) {
    let mut ada = app.browser();
    watch.answer(&ada.register(ADA, "canary").await);
    ada.register(ADA, PASSWORD).await.assert(StatusCode::CREATED, None);
    watch.tokens(&ada);
    watch.answer(&app.browser().register(ADA, PASSWORD).await);
    watch.answer(&app.browser().login(ADA, WRONG).await);
    watch.answer(&app.browser().login("nobody@example.org", WRONG).await);
    watch.hashes(app).await;

    let mut thief = ada.clone();
    ada.refresh_with_key(KEY).await.assert(StatusCode::OK, None);
    thief.clone().refresh_with_key(KEY).await.assert(StatusCode::OK, None);
    watch.tokens(&ada);
    watch.hashes(app).await;
    ada.refresh_with_key(OTHER_KEY).await.assert(StatusCode::OK, None);
    watch.tokens(&ada);
    watch.answer(&thief.clone().refresh_with_key(KEY).await);
    watch.answer(&thief.clone().refresh_with_key("canary short").await);
    watch.answer(&thief.refresh_with_key(OTHER_KEY).await);
    watch.answer(&ada.refresh().await);

    serve(app, watch).await;
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    watch.tokens(&ada);
    prove_more(app, &mut ada, watch).await;
    go_wrong(app, &ada, watch).await;
    for (current, new) in [(WRONG, NEW), (PASSWORD, "canary"), (PASSWORD, NEW)] {
        let body = json!({ "currentPassword": current, "newPassword": new });
        watch.answer(&ada.post("/api/auth/password/change", Some(body)).await);
    }
    watch.tokens(&ada);
    watch.hashes(app).await;
    for password in [WRONG, NEW] {
        let body = Some(json!({ "password": password }));
        watch.answer(&ada.clone().call(Method::DELETE, "/api/auth/me", body).await);
    }
    watch.answer(&ada.refresh().await);
    watch.answer(&ada.post("/api/auth/logout", None).await);
}

/// A second factor, from its set-up to its removal.
async fn prove_more(app: &TestApp, ada: &mut Browser, watch: &mut Watch) {
    let answer = ada.begin_totp(PASSWORD).await;
    watch.canaries.push(answer.text("secret"));
    let begun = Authenticator::begin_with(ada, PASSWORD).await;
    let authenticator = begun.confirmed(ada).await;
    watch.canaries.extend(authenticator.recovery_codes.iter().cloned());
    let totp = app.store.find_totp(id_of(app, ADA).await).await.expect("a store");
    watch.bytes(&totp.as_ref().expect("an app").sealed);
    watch.see(&totp);
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.login(ADA, PASSWORD).await.text("mfaToken");
    watch.canaries.push(token.clone());
    watch.bytes(&URL_SAFE_NO_PAD.decode(&token[4..]).expect("base64url"));
    for code in [&authenticator.wrong_code(app), "canary", &authenticator.code(app)] {
        watch.answer(&browser.give_code(&token, code).await);
    }
    watch.tokens(&browser);
    let token = browser.login(ADA, PASSWORD).await.text("mfaToken");
    let [used, other] = [&authenticator.recovery_codes[0], &authenticator.recovery_codes[1]];
    for code in [WRONG, used, used] {
        watch.answer(&browser.give_recovery_code(&token, code).await);
    }
    for (password, code) in [(WRONG, other), (PASSWORD, used), (PASSWORD, other)] {
        watch.answer(&ada.remove_totp(password, code).await);
    }
}

async fn id_of(app: &TestApp, email: &str) -> UserId {
    let found = app.store.find_user_by_email(email).await.expect("a store");
    found.expect("an account").user.id
}

/// What another service does, and what goes wrong in it.
async fn serve(app: &TestApp, watch: &mut Watch) {
    let good = app.service_key(&[Scope::UsersWrite]).await;
    let dead = app.expiring_service_key(Scope::ALL, Some(app.keyward.now())).await;
    for key in [&good, &dead] {
        watch.service_key(app, key).await;
        let backend = app.backend(key);
        let body = json!({ "email": "bob@example.org", "password": PASSWORD });
        watch.answer(&backend.post("/api/admin/users", Some(body)).await);
        for path in [&format!("/api/admin/audit?key={key}"), &format!("/api/admin/users/{key}")] {
            for method in [Method::GET, Method::DELETE] {
                let body = json!({ key: key });
                watch.answer(&backend.call(method, path, Some(body)).await);
            }
        }
        watch.answer(&backend.get("/api/auth/me").await);
        watch.answer(&app.backend(&key[..46]).get("/api/admin/audit").await);
    }
}

/// Secrets in places where they do not belong, on every route.
async fn go_wrong(app: &TestApp, ada: &Browser, watch: &mut Watch) {
    let token = ada.refresh_token().expect("a cookie").to_owned();
    for route in ROUTES.iter().filter(|route| route.path != "/logout-all") {
        let path = mounted(route).replace("{id}", &token);
        let body = json!({ "email": [PASSWORD], "password": { "x": WRONG }, "name": NEW });
        let mut requests = vec![
            ada.request(route.method.clone(), &path, Some(body)),
            ada.request(Method::PUT, &format!("{path}?token={token}"), None),
        ];
        for (header, value) in [
            ("authorization", format!("Bearer {token}")),
            ("x-csrf-token", token.clone()),
            ("cookie", format!("__Secure-refreshToken={token}x; x={PASSWORD}")),
            ("origin", format!("https://{KEY}.example")),
            ("idempotency-key", format!("{KEY} {WRONG}")),
        ] {
            let mut request = ada.request(route.method.clone(), &path, None);
            request.headers_mut().insert(header, value.parse().expect("a value"));
            requests.push(request);
        }
        for mut request in requests {
            if route.path == "/logout" {
                request.headers_mut().remove("authorization");
                request.headers_mut().insert("origin", "https://x.example".parse().expect("one"));
            }
            watch.answer(&app.send(request).await);
        }
        let mut request = ada.request(route.method.clone(), &path, Some(Value::Null));
        *request.body_mut() =
            Body::from(format!("{{\"email\":\"{PASSWORD}\",\"password\":{WRONG}"));
        request.headers_mut().insert("origin", "https://x.example".parse().expect("one"));
        watch.answer(&app.send(request).await);
    }
}

async fn check_life(change: impl FnOnce(&mut Policy)) {
    log();
    let mut watch = Watch::new();
    let app = TestApp::with_policy(change).await;
    live(&app, &mut watch).await;
    watch.see(&app.keyward);
    watch.see(&app.router);
    watch.see(&app.store);
    let audit = app.audit().await;
    assert!(audit.len() > 20, "{audit:?}");
    watch.see(&audit);
    for key in app.store.list_keys().await.expect("a store") {
        watch.bytes(&key.sealed);
        watch.see(&key);
    }
    let text = log().text();
    assert!(text.contains("answered") && text.contains("route="), "{text}");
    watch.check(&[text]);
}

#[tokio::test]
async fn a_whole_life_leaves_no_secret_behind() {
    check_life(|_| {}).await;
}

#[tokio::test]
async fn nor_does_one_with_tokens_in_cookies() {
    check_life(|policy| policy.access_token.delivery = Delivery::Cookie).await;
}

#[test]
fn a_policy_does_not_show_its_secret() {
    let mut watch = Watch::new();
    watch.secret(std::str::from_utf8(HMAC_SECRET).expect("text"));
    let mut policy = Policy::new(PUBLIC_URL);
    policy.access_token.hmac_secret = Some(HMAC_SECRET.to_vec().into());
    watch.see(&policy);
    watch.see(&policy.access_token);
    watch.check(&[]);
    assert!(format!("{policy:?}").contains("Es256"));
}

#[tokio::test]
async fn what_the_service_hands_out_does_not_show_itself() {
    let app = TestApp::new().await;
    let mut watch = Watch::new();
    let client = ClientInfo::new([192, 0, 2, 1].into(), Some("Tests/1"), "r".to_owned());
    let password = || Password::parse(PASSWORD).expect("short enough");
    let email = Email::parse(ADA).expect("an address");
    let account = NewAccount { email: email.clone(), password: password(), name: None };
    watch.see(&account);
    let carried = Carried::default();
    let first = app.keyward.register(account, &carried, &client).await.expect("a session");
    let Registered::SignedIn(first) = first else { panic!("{first:?}") };
    let device = first.device_token.as_ref().map(|token| token.expose().to_owned());
    let carried = Carried { supersedes: None, device };
    watch.see(&carried);
    let signed_in = app.keyward.login(&email, password(), &carried, &client).await;
    let SignIn::Opened(second) = signed_in.expect("a sign-in") else { panic!("a session") };
    for tokens in [&*first, &*second] {
        watch.canaries.push(tokens.access_token.expose().to_owned());
        watch.canaries.push(tokens.csrf_token.clone());
        let device = tokens.device_token.as_ref().expect("a device that is known from now on");
        watch.canaries.push(device.expose().to_owned());
        watch.see(device);
        watch.canaries.push(tokens.refresh_token.expose().to_owned());
        watch.refresh_token(tokens.refresh_token.expose());
        watch.see(tokens);
    }
    let token = second.access_token.expose();
    watch.see(&app.keyward.authenticate(token, &client).await.expect("a caller"));
    watch.see(&password());
    watch.hashes(&app).await;
    watch.check(&[]);
}
