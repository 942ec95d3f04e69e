//! A whole Keyward in a test: the real service on a real store, with a clock that the test moves
//! and entropy from a seed. Requests go through the router as they would from a socket.

#![expect(dead_code, reason = "each test file uses its own part of this")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

pub(crate) mod conformance;
pub(crate) mod second_factor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};

use conformance::Description;
use http_body_util::BodyExt as _;
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::http::Route;
use keyward::mail::Mailing;
use keyward::policy::{HashingPolicy, Policy};
use keyward::service::{Keyward, Parts};
use keyward::shared::SharedState;
use keyward::store::{
    AdministrationGuard, AuditFilter, AuditOrder, ChangeUserOutcome, MemoryStore, Store, User,
    UserChange, UserFilter,
};
use keyward_core::audit::{AuditContext, RecordedEvent};
use keyward_core::email::Email;
use keyward_core::id::{ServiceKeyId, UserId};
use keyward_core::keys::MasterKey;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::session::Device;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The origin of the service under test.
pub(crate) const PUBLIC_URL: &str = "https://auth.example.org";

/// A password that the policy accepts.
pub(crate) const PASSWORD: &str = "zimtkringel im regen";

/// The service under test.
#[derive(Debug, Clone)]
pub(crate) struct TestApp {
    pub(crate) router: Router,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keyward: Arc<Keyward>,
    /// What every answer has to fit, but for a test that damages what answers are made of.
    pub(crate) description: Option<Arc<Description>>,
}

impl TestApp {
    /// With the default policy and a memory store.
    pub(crate) async fn new() -> Self {
        Self::with_policy(|_| {}).await
    }

    /// With access tokens in cookies.
    pub(crate) async fn with_cookie_delivery() -> Self {
        Self::with_policy(Policy::deliver_by_cookie).await
    }

    /// With a changed policy and a memory store.
    pub(crate) async fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        Self::on_store(Arc::new(MemoryStore::new()), change).await
    }

    /// With a changed policy on this store.
    pub(crate) async fn on_store(store: Arc<dyn Store>, change: impl FnOnce(&mut Policy)) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
        Self::start(store, clock, Arc::new(SeededEntropy::new(42)), change).await
    }

    /// With clock and entropy that outlive it, so that it can be started again over its store.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        entropy: Arc<SeededEntropy>,
        change: impl FnOnce(&mut Policy),
    ) -> Self {
        Self::start_sharing(store, clock, entropy, None, change).await
    }

    /// As [`TestApp::start`], a node of several that share state.
    pub(crate) async fn start_sharing(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        entropy: Arc<SeededEntropy>,
        shared: Option<Arc<dyn SharedState>>,
        change: impl FnOnce(&mut Policy),
    ) -> Self {
        Self::start_mailing(store, clock, entropy, shared, |_| None, change).await
    }

    /// As [`TestApp::start_sharing`], with mail.
    pub(crate) async fn start_mailing(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        entropy: Arc<SeededEntropy>,
        shared: Option<Arc<dyn SharedState>>,
        mailing: impl FnOnce(&Policy) -> Option<Mailing>,
        change: impl FnOnce(&mut Policy),
    ) -> Self {
        let mut policy = Policy::new(PUBLIC_URL);
        // The cheapest that Argon2 allows: these tests are not about the cost of a guess.
        policy.hashing =
            HashingPolicy { memory_kib: 8, passes: 1, lanes: 1, ..HashingPolicy::default() };
        change(&mut policy);
        let parts = Parts {
            mailing: mailing(&policy),
            policy,
            store: Arc::clone(&store),
            master_key: MasterKey::new(&[7; 32]),
            clock: Arc::clone(&clock) as _,
            entropy,
            shared,
        };
        let keyward = Arc::new(Keyward::start(parts).await.unwrap());
        let router = keyward::http::router(Arc::clone(&keyward)).unwrap();
        let description = Some(Description::of(keyward.policy()));
        Self { router, clock, store, keyward, description }
    }

    /// A browser that has not been here before.
    pub(crate) fn browser(&self) -> Browser {
        Browser { app: self.clone(), cookies: BTreeMap::new(), access_token: None }
    }

    /// A browser whose user has just registered.
    pub(crate) async fn registered(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.register(email, PASSWORD).await;
        answer.assert(StatusCode::CREATED, None);
        browser
    }

    /// A browser whose user has just registered and is an administrator.
    pub(crate) async fn admin(&self, email: &str) -> Browser {
        let browser = self.registered(email).await;
        let email = Email::parse(email).unwrap();
        let id = self.store.find_user_by_email(email.key()).await.unwrap().unwrap().user.id;
        self.set_roles(id, &["admin"]).await;
        browser
    }

    /// Every account, in the order in which they were made.
    pub(crate) async fn users(&self) -> Vec<User> {
        self.store.list_users(UserFilter::every(None, 1000)).await.unwrap()
    }

    /// Gives a user these roles, as the command line does.
    pub(crate) async fn set_roles(&self, id: UserId, roles: &[&str]) -> User {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.change_user(id, UserChange::Roles(roles)).await
    }

    /// Disables a user, or enables them again, as the command line does.
    pub(crate) async fn set_disabled(&self, id: UserId, disabled: bool) -> User {
        let change = if disabled { UserChange::Disable } else { UserChange::Enable };
        self.change_user(id, change).await
    }

    /// Changes a user as somebody whom nothing holds back.
    pub(crate) async fn change_user(&self, id: UserId, change: UserChange) -> User {
        let guard = AdministrationGuard::default();
        match self.store.change_user(id, change, guard, &self.nobody()).await.unwrap() {
            ChangeUserOutcome::Changed(user) => user,
            refused => panic!("{refused:?}"),
        }
    }

    /// A service key with these scopes, as the command line makes one.
    pub(crate) async fn service_key(&self, scopes: &[Scope]) -> String {
        self.expiring_service_key(scopes, None).await
    }

    /// A service key that is refused from `expires_at` on.
    pub(crate) async fn expiring_service_key(
        &self,
        scopes: &[Scope],
        expires_at: Option<Timestamp>,
    ) -> String {
        let number = u8::try_from(self.store.list_service_keys().await.unwrap().len()).unwrap();
        let key = ServiceKey::issue(&[number + 1; 32]);
        let record = ServiceKeyRecord {
            id: ServiceKeyId::from_bytes([number + 1; 16]),
            name: format!("key {number}"),
            hash: key.hash(),
            scopes: scopes.iter().copied().collect(),
            created_at: self.keyward.now(),
            expires_at,
            revoked_at: None,
        };
        self.store.insert_service_key(record, &self.nobody()).await.unwrap();
        key.expose().to_owned()
    }

    /// The backend of another service, which calls with this key: no cookies, no origin.
    pub(crate) fn backend(&self, key: &str) -> Backend {
        Backend { app: self.clone(), key: key.to_owned() }
    }

    /// What audit events say of the command line.
    pub(crate) fn nobody(&self) -> AuditContext {
        let (at, device) = (self.keyward.now(), Device::default());
        AuditContext { at, device, request_id: None, actor: None }
    }

    /// Sends a request as it is. Its answer is one that is described.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        if let Some(description) = &self.description {
            description.check(&method, &path, &answer);
        }
        answer
    }

    /// The whole audit log, oldest first, with what waits to be written.
    pub(crate) async fn audit(&self) -> Vec<RecordedEvent> {
        self.keyward.flush().await;
        let filter =
            AuditFilter { order: AuditOrder::After(0), limit: 10_000, ..AuditFilter::default() };
        self.store.list_audit(filter).await.unwrap()
    }

    /// The names in the audit log, oldest first.
    pub(crate) async fn audit_names(&self) -> Vec<String> {
        self.audit().await.into_iter().map(|event| event.name).collect()
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

/// The backend of another service, with its key.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) app: TestApp,
    pub(crate) key: String,
}

impl Backend {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        let request = match body {
            Some(body) => {
                request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
            }
            None => request.body(Body::empty()),
        };
        self.app.send(request.unwrap()).await
    }
}

/// Where a route is, under the default policy.
pub(crate) fn mounted(route: &Route) -> String {
    route.mounted_at(&Policy::new(PUBLIC_URL).web)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    /// A member of the body as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    /// Status and error code; and for errors, that they have the form of the contract.
    #[track_caller]
    pub(crate) fn assert(&self, status: StatusCode, code: Option<&str>) {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, code), "{body}");
        if code.is_some() {
            self.assert_error_form();
        }
    }

    /// That this is an error as every error looks.
    #[track_caller]
    pub(crate) fn assert_error_form(&self) {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|text| text.ends_with('.')), "{body}");
        assert!(body["code"].is_string(), "{body}");
        assert_eq!(body["requestId"], json!(self.header("x-request-id")), "{body}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Every `Set-Cookie` line.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// A browser with its cookie jar, and a page that keeps the access token in memory.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) app: TestApp,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) access_token: Option<String>,
}

impl Browser {
    pub(crate) async fn register(&mut self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/register", Some(body)).await
    }

    pub(crate) async fn login(&mut self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/login", Some(body)).await
    }

    pub(crate) async fn refresh(&mut self) -> Answer {
        self.post("/api/auth/refresh", None).await
    }

    /// A refresh under an Idempotency-Key.
    pub(crate) async fn refresh_with_key(&mut self, key: &str) -> Answer {
        let mut request = self.request(Method::POST, "/api/auth/refresh", None);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        self.send(request).await
    }

    pub(crate) async fn me(&mut self) -> Answer {
        self.get("/api/auth/me").await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Option<Value>) -> Answer {
        self.call(Method::POST, path, body).await
    }

    /// A request as the page would make it, and what the browser keeps of the answer.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path, body);
        self.send(request).await
    }

    /// A request with cookies, CSRF header, access token and origin, not yet sent.
    pub(crate) fn request(&self, method: Method, path: &str, body: Option<Value>) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path).header("origin", PUBLIC_URL);
        if !self.cookies.is_empty() {
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some(token) = self.csrf_token() {
            request = request.header("x-csrf-token", token);
        }
        if let Some(token) = &self.access_token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        match body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
            None => request.body(Body::empty()).unwrap(),
        }
    }

    /// Sends a request and keeps cookies and access token of the answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Answer {
        let answer = self.app.send(request).await;
        for line in answer.set_cookies() {
            let (name, rest) = line.split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                let value = rest.split(';').next().unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(token) = answer.json()["accessToken"].as_str() {
            self.access_token = Some(token.to_owned());
        }
        answer
    }

    /// That nothing in the jar is of a sign-in: the device cookie stays behind.
    #[track_caller]
    pub(crate) fn assert_signed_out(&self) {
        let left: Vec<_> = self.cookies.keys().filter(|name| *name != "__Secure-device").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    pub(crate) fn refresh_token(&self) -> Option<&str> {
        self.cookies.get("__Secure-refreshToken").map(String::as_str)
    }

    pub(crate) fn csrf_token(&self) -> Option<&str> {
        self.cookies.get("__Host-csrfToken").map(String::as_str)
    }
}
