//! Every value that steers the service, as plain data. The server reads its configuration once and
//! turns it into these; an app that embeds Keyward fills them in.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use keyward_core::access_token::Algorithm;
use keyward_core::keys::{KeyLifePolicy, Lifetime};
use keyward_core::limits::Quota;
use keyward_core::password::PasswordPolicy;
use keyward_core::rotation::RotationPolicy;
use zeroize::Zeroizing;

/// All of it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where the service is, and which pages may speak to it.
    pub web: WebPolicy,
    /// Access tokens.
    pub access_token: AccessTokenPolicy,
    /// Refresh tokens and the life of sessions.
    pub rotation: RotationPolicy,
    /// Cookies.
    pub cookies: CookiePolicy,
    /// Which new passwords are accepted.
    pub password: PasswordPolicy,
    /// A file of leaked passwords, none of which is accepted as a new one.
    pub breached_list: Option<PathBuf>,
    /// How passwords are hashed.
    pub hashing: HashingPolicy,
    /// Limits on trying.
    pub limits: LimitPolicy,
    /// Accounts.
    pub accounts: AccountPolicy,
    /// Where the links in mails lead.
    pub mail: MailPolicy,
    /// The keys that sign and tag.
    pub keys: KeyPolicy,
    /// The audit log.
    pub audit: AuditPolicy,
}

impl Policy {
    /// The defaults for a service that browsers reach at `public_url`, such as
    /// `https://auth.example.org` (no trailing slash).
    pub fn new(public_url: &str) -> Self {
        Self {
            web: WebPolicy {
                public_url: public_url.to_owned(),
                base_path: "/api/auth".to_owned(),
                allowed_origins: AllowedOrigins::Listed(Vec::new()),
                own_origins: vec![public_url.to_owned()],
                trusted_proxies: Vec::new(),
                request_timeout: Duration::from_secs(15),
            },
            access_token: AccessTokenPolicy {
                algorithm: Algorithm::Es256,
                ttl: Duration::from_secs(15 * 60),
                issuer: public_url.to_owned(),
                audience: public_url.to_owned(),
                client_id: "keyward".to_owned(),
                delivery: Delivery::Body,
                hmac_secret: None,
            },
            rotation: RotationPolicy::default(),
            cookies: CookiePolicy::default(),
            password: PasswordPolicy::default(),
            breached_list: None,
            hashing: HashingPolicy::default(),
            limits: LimitPolicy::default(),
            accounts: AccountPolicy {
                registration: Registration::Open,
                require_verified_email: false,
                reauthentication_window: Duration::from_secs(15 * 60),
                sessions_max: 100,
            },
            mail: MailPolicy::new(public_url),
            keys: KeyPolicy::default(),
            audit: AuditPolicy::default(),
        }
    }

    /// What decides about the life of keys, gathered from where it is configured.
    pub fn key_life(&self) -> KeyLifePolicy {
        let AccessTokenPolicy { algorithm, hmac_secret, .. } = &self.access_token;
        let is_configured = *algorithm == Algorithm::Hs256 && hmac_secret.is_some();
        let lifetime = |configured: Duration, allowed| Lifetime {
            configured,
            longest: configured.max(allowed),
        };
        let absolute_ttl = self.rotation.absolute_ttl;
        KeyLifePolicy {
            algorithm: (!is_configured).then_some(*algorithm),
            access_token: lifetime(self.access_token.ttl, AccessTokenPolicy::TTL_MAX),
            session: lifetime(absolute_ttl, RotationPolicy::ABSOLUTE_TTL_MAX),
            rotate_every: self.keys.rotate_every,
            overlap: self.keys.overlap,
        }
    }

    /// Delivers access tokens by cookie, and lets a retry count for 60 seconds only: an app on the
    /// way derives the key of a retry, and would prove it for a thief of the browser's cookies too.
    pub fn deliver_by_cookie(&mut self) {
        self.access_token.delivery = Delivery::Cookie;
        self.rotation.retry_window = Duration::from_secs(60);
    }
}

/// Where the service is, and which pages may speak to it.
#[derive(Debug, Clone)]
pub struct WebPolicy {
    /// Scheme, host and port as browsers see them, without a trailing slash.
    pub public_url: String,
    /// The path of the API, `/api/auth` by default; also the path of the refresh cookie. The admin
    /// API is beside it: [`WebPolicy::admin_path`].
    pub base_path: String,
    /// The origins of other sites whose pages may call the service with cookies.
    pub allowed_origins: AllowedOrigins,
    /// The service's own origins: that of `public_url`, and in development its other names.
    pub own_origins: Vec<String>,
    /// The proxies whose `Forwarded` and `X-Forwarded-For` headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a request may take before it is answered 503.
    pub request_timeout: Duration,
}

impl WebPolicy {
    /// The path of the admin API: `admin` in place of the last segment of the base path, so
    /// `/api/admin` by default. Below a base path that ends in `admin` itself.
    pub fn admin_path(&self) -> String {
        match self.base_path.rsplit_once('/') {
            Some((_, "admin")) => format!("{}/admin", self.base_path),
            Some((parent, _)) => format!("{parent}/admin"),
            None => "/admin".to_owned(),
        }
    }

    /// The host of the public URL, by which an authenticator app names the service.
    pub fn host(&self) -> &str {
        let rest = self.public_url.split_once("://").map_or(&*self.public_url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// Whether `address` belongs to a trusted proxy.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// Which origins besides the service's own are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Exactly these, each as a browser sends it: scheme, host, and port where it is not the
    /// scheme's own.
    Listed(Vec<String>),
    /// Any `http` or `https` origin on loopback, at any port. For development.
    AnyLoopback,
}

/// What access tokens say and how they travel.
#[derive(Debug, Clone)]
pub struct AccessTokenPolicy {
    /// What new tokens are signed with. Default ES256.
    pub algorithm: Algorithm,
    /// How long a token lives. Default 15 minutes, at most 60.
    pub ttl: Duration,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// The `client_id` claim.
    pub client_id: String,
    /// How the token reaches the client.
    pub delivery: Delivery,
    /// The key for HS256, at least 32 bytes; made and kept in the store where absent.
    pub hmac_secret: Option<Zeroizing<Vec<u8>>>,
}

impl AccessTokenPolicy {
    /// The longest life of a token that is allowed.
    pub const TTL_MAX: Duration = Duration::from_secs(60 * 60);
}

/// How access tokens reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In the JSON answer; the client keeps it in memory.
    Body,
    /// In an HttpOnly cookie; the JSON answer holds no token.
    Cookie,
}

/// Attributes and names of the cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePolicy {
    /// The `Secure` attribute, and with it the `__Host-` and `__Secure-` prefixes.
    pub secure: bool,
    /// Which requests from other sites carry the cookies.
    pub same_site: SameSitePolicy,
    /// The `Domain` attribute; turns `__Host-` into `__Secure-`.
    pub domain: Option<String>,
    /// Base name of the refresh cookie.
    pub refresh_name: String,
    /// Base name of the access cookie.
    pub access_name: String,
    /// Base name of the CSRF cookie.
    pub csrf_name: String,
    /// Base name of the device cookie.
    pub device_name: String,
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self {
            secure: true,
            same_site: SameSitePolicy::Strict,
            domain: None,
            refresh_name: "refreshToken".to_owned(),
            access_name: "accessToken".to_owned(),
            csrf_name: "csrfToken".to_owned(),
            device_name: "device".to_owned(),
        }
    }
}

impl CookiePolicy {
    /// Whether no two cookies have one name.
    pub fn has_distinct_names(&self) -> bool {
        let mut names = [&self.refresh_name, &self.access_name, &self.csrf_name, &self.device_name];
        names.sort_unstable();
        names.is_sorted_by(|a, b| a < b)
    }
}

/// Which requests from other sites carry the cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSitePolicy {
    /// Refresh and CSRF cookies `Strict`, the access cookie `Lax`: a server-rendered app must know
    /// its user on a link from outside.
    Strict,
    /// All of them `Lax`.
    Lax,
    /// All of them `None`; needs `Secure`.
    None,
}

/// How passwords are hashed: Argon2id (RFC 9106) on threads of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashingPolicy {
    /// How many hashes run at once, each on its own thread. Default: the number of cores.
    pub concurrency_max: usize,
    /// How many requests may wait for a thread; the next one is answered 503.
    pub queue_max: usize,
    /// Memory of one hash in KiB, at most [`HashingPolicy::MEMORY_KIB_MAX`]. Default 19 MiB.
    pub memory_kib: u32,
    /// Passes over the memory, at most [`HashingPolicy::PASSES_MAX`]. Default 2.
    pub passes: u32,
    /// Lanes, at most [`HashingPolicy::LANES_MAX`]. Default 1.
    pub lanes: u32,
}

impl HashingPolicy {
    /// The most memory that one hash may take, in KiB: one hash must not exhaust the machine. This
    /// and the bounds below hold for stored hashes too.
    pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
    /// The most passes that one hash may take.
    pub const PASSES_MAX: u32 = 16;
    /// The most lanes that one hash may have.
    pub const LANES_MAX: u32 = 16;
}

impl Default for HashingPolicy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            concurrency_max: cores,
            // About four seconds of work: whoever waits longer has given up.
            queue_max: cores * 64 * 4,
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
        }
    }
}

/// Limits on trying; `None` turns one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Failed sign-ins per account and address. Default 5 per 15 minutes.
    pub login_account: Option<Quota>,
    /// Failed sign-ins per account, from wherever strangers try. Default 100 per hour.
    pub login_account_total: Option<Quota>,
    /// Failed sign-ins per address. Default 100 per 15 minutes.
    pub login_address: Option<Quota>,
    /// Failed sign-ins per account and known device, in place of the others. Default 5 per 15
    /// minutes.
    pub login_device: Option<Quota>,
    /// Failed sign-ins per range of addresses. Default 1000 per 15 minutes.
    pub login_range: Option<Quota>,
    /// Mails that strangers can cause, per account and kind, notices to an address that is not
    /// verified among them. Default 3 per hour.
    pub mail_account: Option<Quota>,
    /// Mails that strangers ask for, per address that they ask from. Default 20 per hour.
    pub mail_address: Option<Quota>,
    /// Wrong codes for an account's second factor. Default 20 per hour.
    pub mfa_account: Option<Quota>,
    /// How many codes one sign-in may try, and for how long after its password. Default 5 per 10
    /// minutes; where it is off, any number in that time.
    pub mfa_challenge: Option<Quota>,
    /// Registrations per address. Default 20 per hour.
    pub register_address: Option<Quota>,
    /// Refreshes per session. Default 60 per minute.
    pub refresh_session: Option<Quota>,
    /// Failed refreshes per address. Default 100 per 15 minutes.
    pub refresh_address: Option<Quota>,
    /// Service keys that there are not, per address. Default 100 per 15 minutes.
    pub service_key_address: Option<Quota>,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            login_account: Quota::new(5, 15 * MINUTE),
            login_account_total: Quota::new(100, 60 * MINUTE),
            login_address: Quota::new(100, 15 * MINUTE),
            login_device: Quota::new(5, 15 * MINUTE),
            login_range: Quota::new(1000, 15 * MINUTE),
            mail_account: Quota::new(3, 60 * MINUTE),
            mail_address: Quota::new(20, 60 * MINUTE),
            mfa_account: Quota::new(20, 60 * MINUTE),
            mfa_challenge: Quota::new(5, 10 * MINUTE),
            register_address: Quota::new(20, 60 * MINUTE),
            refresh_session: Quota::new(60, MINUTE),
            refresh_address: Quota::new(100, 15 * MINUTE),
            service_key_address: Quota::new(100, 15 * MINUTE),
        }
    }
}

/// Accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPolicy {
    /// Who may make an account.
    pub registration: Registration,
    /// Whether signing in takes an address that was verified. Whoever registers is then answered as
    /// under [`Registration::Verified`].
    pub require_verified_email: bool,
    /// For how long after proving who they are a user may do what is most sensitive, such as
    /// changing other accounts. Default 15 minutes.
    pub reauthentication_window: Duration,
    /// Live sessions per user; one more ends the one longest unused. Default 100.
    pub sessions_max: u32,
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anyone.
    Open,
    /// Only the operator.
    Closed,
    /// Anyone, but by mail: the answer tells nobody whether the address has an account.
    Verified,
}

impl AccountPolicy {
    /// Whether somebody who registers is answered by mail alone.
    pub fn registers_by_mail(&self) -> bool {
        match self.registration {
            Registration::Open => self.require_verified_email,
            Registration::Verified => true,
            Registration::Closed => false,
        }
    }

    /// Whether whoever knows the password is told that the address has to be verified first. Not
    /// under [`Registration::Verified`]: somebody who registers with an address, and signs in,
    /// would learn by it whether the address had an account.
    pub fn tells_of_unverified(&self) -> bool {
        match self.registration {
            Registration::Closed | Registration::Open => true,
            Registration::Verified => false,
        }
    }
}

/// Where the links in mails lead. The token comes after a `#`, so that no server and no log is told
/// of it: the page has to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailPolicy {
    /// The page that sends the token of a verification to `email/verify`. Default
    /// `PUBLIC_URL/verify-email`.
    pub verify_url: String,
    /// The page that asks for a new password. Default `PUBLIC_URL/reset-password`.
    pub reset_url: String,
}

impl MailPolicy {
    fn new(public_url: &str) -> Self {
        Self {
            verify_url: format!("{public_url}/verify-email"),
            reset_url: format!("{public_url}/reset-password"),
        }
    }
}

/// The keys that sign access tokens and tag refresh and CSRF tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// How long a key signs before the next one does; `None` where keys are rotated by hand only.
    /// Default 90 days.
    pub rotate_every: Option<Duration>,
    /// How long before it signs a key of the schedule is published, for verifiers that keep the key
    /// set. Default 1 hour.
    pub overlap: Duration,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        Self { rotate_every: Some(90 * 24 * HOUR), overlap: HOUR }
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPolicy {
    /// How long an event stays; `None` for ever. Events leave by whole months, so that some stay a
    /// month longer. Default 365 days.
    pub retention: Option<Duration>,
}

impl AuditPolicy {
    /// The shortest retention. PostgreSQL refuses to delete what is younger than 29 days: clocks
    /// need not agree to the millisecond.
    pub const RETENTION_MIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
}

impl Default for AuditPolicy {
    fn default() -> Self {
        Self { retention: Some(Duration::from_secs(365 * 24 * 60 * 60)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_that_of_the_public_url() {
        for (url, host) in [
            ("https://auth.example.org", "auth.example.org"),
            ("http://localhost:8080", "localhost"),
            ("https://[::1]:8443", "[::1]"),
            ("https://[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(Policy::new(url).web.host(), host);
        }
    }

    #[test]
    fn the_admin_api_is_beside_the_base_path() {
        let mut web = Policy::new("https://auth.example.org").web;
        for (base_path, admin_path) in [
            ("/api/auth", "/api/admin"),
            ("/auth", "/admin"),
            ("/a/b/c", "/a/b/admin"),
            ("/", "/admin"),
            ("", "/admin"),
            ("/api/admin", "/api/admin/admin"),
            ("/admin", "/admin/admin"),
        ] {
            base_path.clone_into(&mut web.base_path);
            assert_eq!(web.admin_path(), admin_path);
        }
    }
}
