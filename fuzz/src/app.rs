//! A running service, and what every answer of it must look like.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::policy::{HashingPolicy, LimitPolicy, Policy};
use keyward::service::{
    Carried, ClientInfo, Failure, Keyward, NewAccount, Parts, Registered, SignIn, Tokens,
};
use keyward::store::{MemoryStore, Store as _};
use keyward_core::access_token::Algorithm;
use keyward_core::audit::AuditContext;
use keyward_core::email::Email;
use keyward_core::id::ServiceKeyId;
use keyward_core::keys::MasterKey;
use keyward_core::password::Password;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::session::Device;
use keyward_core::time::Timestamp;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// The real service in memory. Its clock stands still and its randomness repeats, so that an input
/// does the same each time.
pub(crate) struct App {
    runtime: Runtime,
    router: Router,
    keyward: Arc<Keyward>,
    store: Arc<MemoryStore>,
    requests: Cell<u32>,
}

impl App {
    /// Starts it with a changed policy. Hashes are cheap and limits are off: neither is what is
    /// looked at, and both would stop most inputs.
    pub(crate) fn start(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::new(PUBLIC_URL);
        policy.access_token.algorithm = Algorithm::Hs256;
        policy.limits = LimitPolicy {
            login_account: None,
            login_account_total: None,
            login_address: None,
            login_device: None,
            login_range: None,
            mail_account: None,
            mail_address: None,
            mfa_account: None,
            mfa_challenge: None,
            register_address: None,
            refresh_session: None,
            refresh_address: None,
            service_key_address: None,
        };
        change(&mut policy);
        Self::with_policy(policy)
    }

    /// Starts it with this policy, but for the cost of hashes.
    pub(crate) fn with_policy(mut policy: Policy) -> Self {
        let cheap = HashingPolicy { concurrency_max: 1, ..HashingPolicy::default() };
        policy.hashing = HashingPolicy { memory_kib: 8, passes: 1, lanes: 1, ..cheap };
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let store = Arc::new(MemoryStore::new());
        let parts = Parts {
            policy,
            store: Arc::clone(&store) as _,
            master_key: MasterKey::new(&[7; 32]),
            clock: Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000))),
            entropy: Arc::new(SeededEntropy::new(42)),
            shared: None,
            mailing: None,
        };
        let keyward = runtime.block_on(Keyward::start(parts)).expect("the policy is one to start");
        let keyward = Arc::new(keyward);
        let router =
            keyward::http::router(Arc::clone(&keyward)).expect("cookies that browsers keep");
        Self { runtime, router, keyward, store, requests: Cell::new(0) }
    }

    /// Makes an account.
    pub(crate) fn register(&self, email: &str, password: &str) -> Tokens {
        let (email, password) = credentials(email, password);
        let account = NewAccount { email, password, name: None };
        let (carried, client) = (Carried::default(), client());
        let registered = self.keyward.register(account, &carried, &client);
        match self.runtime.block_on(registered).expect("the account can be made") {
            Registered::SignedIn(tokens) => *tokens,
            Registered::ByMail => panic!("the default policy signs in whoever registers"),
        }
    }

    /// Makes a service key that may do everything.
    pub(crate) fn make_service_key(&self) -> String {
        let key = ServiceKey::issue(&[9; 32]);
        let record = ServiceKeyRecord {
            id: ServiceKeyId::from_bytes([9; 16]),
            name: "fuzz".to_owned(),
            hash: key.hash(),
            scopes: Scope::ALL.iter().copied().collect(),
            created_at: self.keyward.now(),
            expires_at: None,
            revoked_at: None,
        };
        let context = AuditContext {
            at: record.created_at,
            device: Device::default(),
            request_id: None,
            actor: None,
        };
        let inserted = self.store.insert_service_key(record, &context);
        self.runtime.block_on(inserted).expect("memory takes it");
        key.expose().to_owned()
    }

    /// Opens a session; fails where the account is gone or has another password, and `None` where
    /// it asks for a code.
    pub(crate) fn log_in(&self, email: &str, password: &str) -> Result<Option<Tokens>, Failure> {
        let (email, password) = credentials(email, password);
        let (carried, client) = (Carried::default(), client());
        let signed_in = self.keyward.login(&email, password, &carried, &client);
        Ok(match self.runtime.block_on(signed_in)? {
            SignIn::Opened(tokens) => Some(*tokens),
            SignIn::Challenged(_) => None,
        })
    }

    /// Whether the session lives and its token was never exchanged.
    pub(crate) fn is_untouched(&self, tokens: &Tokens) -> bool {
        let found = self.runtime.block_on(self.keyward.csrf_token(&tokens.refresh_token));
        found.is_ok_and(|(_, session)| session.generation == 0)
    }

    /// Whether the access token opens its session.
    pub(crate) fn accepts(&self, tokens: &Tokens) -> bool {
        let client = client();
        let authenticated = self.keyward.authenticate(tokens.access_token.expose(), &client);
        self.runtime.block_on(authenticated).is_ok()
    }

    /// Whether it has served so much that another one should take over: sessions and events stay in
    /// its memory.
    pub(crate) fn is_worn(&self) -> bool {
        self.requests.get() > REQUESTS_MAX
    }

    /// Sends a request through the router. The answer has the form that every answer has.
    ///
    /// # Panics
    ///
    /// Where it has not.
    pub(crate) fn send(&self, request: Request<Body>) -> Answer {
        self.requests.update(|count| count + 1);
        let has_body = request.method() != Method::HEAD;
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("infallible");
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("a short body");
            let answer = Answer { status: parts.status, headers: parts.headers, body };
            answer.check(has_body);
            answer
        })
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where there is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The error code; empty where this is no error.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Every `Set-Cookie` line.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().expect("cookies are ASCII"))
    }

    fn check(&self, has_body: bool) {
        let status = self.status;
        assert!(!status.is_server_error(), "{status}: {}", self.json());
        for (name, value) in ALWAYS {
            assert_eq!(self.headers.get(*name), Some(&HeaderValue::from_static(value)), "{name}");
        }
        let varies = self.headers.get_all(VARY).iter().any(|value| value == "Origin");
        assert!(varies && self.request_id().is_some_and(is_plain), "{:?}", self.headers);
        if status.is_client_error() && has_body {
            self.check_error();
        }
        if ["NO_REFRESH_TOKEN", "CSRF_FAILED", "ORIGIN_NOT_ALLOWED", "REFRESH_RACE"]
            .contains(&&*self.code())
        {
            assert_eq!(self.cookies().next(), None, "{} touches cookies", self.code());
        }
    }

    fn check_error(&self) {
        let body = self.json();
        let told = (self.status.as_u16(), body["code"].as_str().unwrap_or_default());
        assert!(ERRORS.contains(&told), "{body}");
        assert!(body["error"].as_str().is_some_and(|error| error.ends_with('.')), "{body}");
        assert_eq!(body["requestId"].as_str(), self.request_id());
        let header = |name| self.headers.get(name).map(HeaderValue::as_bytes);
        assert_eq!(header(CONTENT_TYPE), Some(b"application/json".as_slice()));
        assert_eq!(header(CACHE_CONTROL), Some(b"no-store".as_slice()));
    }

    fn request_id(&self) -> Option<&str> {
        self.headers.get(REQUEST_ID)?.to_str().ok()
    }
}

/// What may stand in a line of a log.
fn is_plain(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(is_plain)
}

fn credentials(email: &str, password: &str) -> (Email, Password) {
    let password = Password::parse(password).expect("a password");
    (Email::parse(email).expect("an address"), password)
}

fn client() -> ClientInfo {
    ClientInfo::new(IpAddr::V4(Ipv4Addr::LOCALHOST), None, "fuzz".to_owned())
}

/// The origin of the service.
pub(crate) const PUBLIC_URL: &str = "https://auth.example.org";

/// An account that is signed in.
pub(crate) const EMAIL: &str = "ada@example.org";

/// The password of that account.
pub(crate) const PASSWORD: &str = "zimtkringel im regen";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const REQUESTS_MAX: u32 = 1000;

/// Far more than any answer holds.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What every answer carries.
const ALWAYS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("strict-transport-security", "max-age=31536000"),
];

/// Every refusal that a request alone can bring about, limits being off.
const ERRORS: &[(u16, &str)] = &[
    (400, "INVALID_REQUEST"),
    (401, "INVALID_CREDENTIALS"),
    (401, "INVALID_REFRESH_TOKEN"),
    (401, "INVALID_TOKEN"),
    (401, "NO_REFRESH_TOKEN"),
    (401, "NO_TOKEN"),
    (401, "REFRESH_TOKEN_REUSED"),
    (401, "SESSION_REVOKED"),
    (401, "TOKEN_REVOKED"),
    (403, "CSRF_FAILED"),
    (403, "INSUFFICIENT_PERMISSIONS"),
    (403, "ORIGIN_NOT_ALLOWED"),
    (404, "NOT_FOUND"),
    (405, "METHOD_NOT_ALLOWED"),
    (409, "CONFLICT"),
    (409, "EMAIL_TAKEN"),
    (409, "REFRESH_RACE"),
    (413, "PAYLOAD_TOO_LARGE"),
    (415, "UNSUPPORTED_MEDIA_TYPE"),
];
