//! The four cookies: reading them strictly, setting and clearing them with fixed attributes.

use std::fmt;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use keyward_core::device_token::{DEVICE_TTL, DeviceToken};

use super::ApiError;
use crate::policy::{CookiePolicy, SameSitePolicy};

/// The cookies of the service as one request carries them: what is in them is not yet looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cookies<'a> {
    /// The refresh token.
    pub(super) refresh: Option<&'a str>,
    /// The access token.
    pub(super) access: Option<&'a str>,
    /// The CSRF token.
    pub(super) csrf: Option<&'a str>,
    /// The device token.
    pub(super) device: Option<&'a str>,
}

impl fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies")
    }
}

/// The names of the cookies and the constant parts of the lines that set and clear them.
#[derive(Debug, Clone)]
pub(super) struct CookieNames {
    refresh: CookieLine,
    access: CookieLine,
    csrf: CookieLine,
    device: CookieLine,
}

impl CookieNames {
    /// Names and attributes by policy. `base_path` is the path of refresh and device cookie.
    ///
    /// # Errors
    ///
    /// Where a name, the domain or the path holds what no cookie may, or two names are the same.
    pub(super) fn new(policy: &CookiePolicy, base_path: &str) -> Result<Self, InvalidCookiePolicy> {
        let (strict, access_same_site) = match policy.same_site {
            // The access cookie must come along on a link from outside.
            SameSitePolicy::Strict => ("Strict", "Lax"),
            SameSitePolicy::Lax => ("Lax", "Lax"),
            SameSitePolicy::None => ("None", "None"),
        };
        let (script_may_read, script_may_not) = ("", "; HttpOnly");
        let line = |name: &str, path: &str, http_only: &str, same_site: &str| {
            CookieLine::new(policy, name, path, http_only, same_site)
        };
        if !policy.has_distinct_names() {
            return Err(InvalidCookiePolicy);
        }
        Ok(Self {
            refresh: line(&policy.refresh_name, base_path, script_may_not, strict)?,
            access: line(&policy.access_name, "/", script_may_not, access_same_site)?,
            csrf: line(&policy.csrf_name, "/", script_may_read, strict)?,
            device: line(&policy.device_name, base_path, script_may_not, strict)?,
        })
    }

    /// The name of the cookie with the access token, prefix included; so below.
    pub(super) fn access_name(&self) -> &str {
        &self.access.name
    }

    /// Of that with the CSRF token.
    pub(super) fn csrf_name(&self) -> &str {
        &self.csrf.name
    }

    /// Of that with the refresh token.
    pub(super) fn refresh_name(&self) -> &str {
        &self.refresh.name
    }

    /// Finds the cookies of the service among those of the request.
    ///
    /// Names match exactly, case included: browsers protect the `__Host-` prefix in any case, so a
    /// look-alike is somebody else's. Quotes mean nothing here, and so cannot swallow a separator.
    ///
    /// # Errors
    ///
    /// [`ApiError::InvalidRequest`] where one of them comes twice: a sibling host may have tossed
    /// one, and nothing tells which (RFC 6265, section 8.6). A device cookie that comes twice is
    /// none: it outlives every other by far, and must not keep anybody from signing in.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Result<Cookies<'a>, ApiError> {
        let mut cookies = Cookies::default();
        for line in headers.get_all(COOKIE) {
            for pair in line.as_bytes().split(|byte| *byte == b';') {
                let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
                let name = pair[..equals].trim_ascii();
                let Some(slot) = self.slot(&mut cookies, name) else { continue };
                // What is no text is no token either; it still counts as this cookie.
                let value = std::str::from_utf8(pair[equals + 1..].trim_ascii()).unwrap_or("");
                if slot.replace(value).is_some() {
                    if name != self.device.name.as_bytes() {
                        return Err(came_twice(name));
                    }
                    *slot = Some("");
                }
            }
        }
        Ok(cookies)
    }

    /// Sets the refresh cookie. `max_age` is the session's remaining life.
    pub(super) fn set_refresh(&self, token: &str, max_age: Duration) -> HeaderValue {
        self.refresh.set(token, max_age)
    }

    /// Sets the access cookie. `max_age` is the token's remaining life.
    pub(super) fn set_access(&self, token: &str, max_age: Duration) -> HeaderValue {
        self.access.set(token, max_age)
    }

    /// Sets the CSRF cookie. `max_age` is the session's remaining life.
    pub(super) fn set_csrf(&self, token: &str, max_age: Duration) -> HeaderValue {
        self.csrf.set(token, max_age)
    }

    /// Sets the device cookie, for as long as the device is known.
    pub(super) fn set_device(&self, token: &DeviceToken) -> HeaderValue {
        self.device.set(token.expose(), DEVICE_TTL)
    }

    /// Clears the refresh cookie.
    pub(super) fn clear_refresh(&self) -> HeaderValue {
        self.refresh.clear.clone()
    }

    /// Clears the access cookie.
    pub(super) fn clear_access(&self) -> HeaderValue {
        self.access.clear.clone()
    }

    /// Clears the CSRF cookie.
    pub(super) fn clear_csrf(&self) -> HeaderValue {
        self.csrf.clear.clone()
    }

    /// Clears the device cookie.
    pub(super) fn clear_device(&self) -> HeaderValue {
        self.device.clear.clone()
    }

    fn slot<'c, 'a>(
        &self,
        cookies: &'c mut Cookies<'a>,
        name: &[u8],
    ) -> Option<&'c mut Option<&'a str>> {
        if name == self.refresh.name.as_bytes() {
            Some(&mut cookies.refresh)
        } else if name == self.access.name.as_bytes() {
            Some(&mut cookies.access)
        } else if name == self.csrf.name.as_bytes() {
            Some(&mut cookies.csrf)
        } else if name == self.device.name.as_bytes() {
            Some(&mut cookies.device)
        } else {
            None
        }
    }
}

/// Says which of our cookies it is, and neither value: one of them may be somebody's.
fn came_twice(name: &[u8]) -> ApiError {
    let name = String::from_utf8_lossy(name);
    let message = format!("`{name}` came twice: delete this site's cookies and sign in.");
    ApiError::invalid_field("Cookie", message)
}

/// A name, the domain or the path holds what no cookie may, or two names are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCookiePolicy;

impl fmt::Display for InvalidCookiePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the cookies need four different names of letters, digits, -, _ and ., \
             and a domain and a path without separators",
        )
    }
}

impl std::error::Error for InvalidCookiePolicy {}

/// One cookie: `name=` value `; attributes; Max-Age=` seconds.
#[derive(Debug, Clone)]
struct CookieLine {
    name: String,
    attributes: String,
    clear: HeaderValue,
}

impl CookieLine {
    fn new(
        policy: &CookiePolicy,
        base_name: &str,
        path: &str,
        http_only: &str,
        same_site: &str,
    ) -> Result<Self, InvalidCookiePolicy> {
        // A browser refuses `__Host-` with a domain, or with a path other than `/`.
        let prefix = match (policy.secure, path == "/" && policy.domain.is_none()) {
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
            (false, _) => "",
        };
        let name_fits =
            |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
        let part_fits = |part: &str| part.bytes().all(|b| b.is_ascii_graphic() && b != b';');
        let domain = policy.domain.as_deref().unwrap_or_default();
        if base_name.is_empty()
            || !base_name.bytes().all(name_fits)
            || !part_fits(path)
            || !part_fits(domain)
        {
            return Err(InvalidCookiePolicy);
        }
        let name = format!("{prefix}{base_name}");
        let secure = if policy.secure { "; Secure" } else { "" };
        let domain = if domain.is_empty() { String::new() } else { format!("; Domain={domain}") };
        let attributes = format!(
            "; Path={path}{domain}{secure}{http_only}; SameSite={same_site}; Priority=High; \
             Max-Age="
        );
        let clear = HeaderValue::try_from(format!("{name}={attributes}0"));
        Ok(Self { name, attributes, clear: clear.map_err(|_| InvalidCookiePolicy)? })
    }

    fn set(&self, value: &str, max_age: Duration) -> HeaderValue {
        let Self { name, attributes, .. } = self;
        let mut value =
            HeaderValue::try_from(format!("{name}={value}{attributes}{}", max_age.as_secs()))
                .expect("tokens are base64url and dots, and the rest was checked when it was made");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(policy: &CookiePolicy) -> CookieNames {
        CookieNames::new(policy, "/api/auth").expect("a good policy")
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).expect("a header value"));
        }
        headers
    }

    #[test]
    fn sets_what_the_contract_says() {
        let names = names(&CookiePolicy::default());
        let age = Duration::from_millis(90_999);
        assert_eq!(
            names.set_refresh("kwr_x", age),
            "__Secure-refreshToken=kwr_x; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; \
             Priority=High; Max-Age=90"
        );
        assert_eq!(
            names.set_access("a.b.c", age),
            "__Host-accessToken=a.b.c; Path=/; Secure; HttpOnly; SameSite=Lax; Priority=High; \
             Max-Age=90"
        );
        assert_eq!(
            names.set_csrf("c", age),
            "__Host-csrfToken=c; Path=/; Secure; SameSite=Strict; Priority=High; Max-Age=90"
        );
        assert!(names.set_refresh("kwr_x", age).is_sensitive());
        assert_eq!(
            names.clear_device(),
            "__Secure-device=; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; Priority=High; \
             Max-Age=0"
        );
    }

    #[test]
    fn clears_with_the_same_name_and_attributes() {
        let policy = CookiePolicy { domain: Some("example.org".to_owned()), ..Default::default() };
        let names = names(&policy);
        assert_eq!(names.clear_refresh(), names.set_refresh("", Duration::ZERO));
        assert_eq!(names.clear_access(), names.set_access("", Duration::ZERO));
        assert_eq!(names.clear_csrf(), names.set_csrf("", Duration::ZERO));
        assert_eq!(
            names.clear_csrf(),
            "__Secure-csrfToken=; Path=/; Domain=example.org; Secure; SameSite=Strict; \
             Priority=High; Max-Age=0"
        );
    }

    #[test]
    fn same_site_follows_the_policy() {
        for (same_site, refresh, access) in [
            (SameSitePolicy::Strict, "SameSite=Strict", "SameSite=Lax"),
            (SameSitePolicy::Lax, "SameSite=Lax", "SameSite=Lax"),
            (SameSitePolicy::None, "SameSite=None", "SameSite=None"),
        ] {
            let names = names(&CookiePolicy { same_site, ..Default::default() });
            let has = |line: HeaderValue, part| line.to_str().expect("text").contains(part);
            assert!(has(names.clear_refresh(), refresh), "{same_site:?}");
            assert!(has(names.clear_csrf(), refresh), "{same_site:?}");
            assert!(has(names.clear_access(), access), "{same_site:?}");
        }
    }

    #[test]
    fn without_secure_there_is_no_prefix() {
        let names = names(&CookiePolicy { secure: false, ..Default::default() });
        assert_eq!(
            names.clear_access(),
            "accessToken=; Path=/; HttpOnly; SameSite=Lax; Priority=High; Max-Age=0"
        );
    }

    #[test]
    fn finds_exact_names_among_anything() {
        let names = names(&CookiePolicy::default());
        let lines: [&[u8]; 2] = [
            b"theme=\xc3\xa9; $Version=1; junk; =; __secure-refreshToken=a; a=\"; \
              __Host-csrfToken=c;",
            b" __Secure-refreshToken=kwr_1 ;__host-accessToken=b;refreshToken=d; b=\"",
        ];
        let headers = headers(&lines);
        let expected = Cookies { refresh: Some("kwr_1"), csrf: Some("c"), ..Cookies::default() };
        assert!(names.read(&headers) == Ok(expected));
        assert!(names.read(&HeaderMap::new()) == Ok(Cookies::default()));
    }

    #[test]
    fn quotes_and_junk_stay_in_the_value() {
        let names = names(&CookiePolicy::default());
        for value in ["\"kwr_1\"", "", "a=b", "é"] {
            let headers = headers(&[format!("__Host-csrfToken={value}").as_bytes()]);
            assert!(names.read(&headers).expect("one cookie").csrf == Some(value), "{value:?}");
        }
        let headers = headers(&[b"__Host-csrfToken=\xff"]);
        assert!(names.read(&headers).expect("one cookie").csrf == Some(""));
    }

    #[test]
    fn refuses_two_of_one_name() {
        let names = names(&CookiePolicy::default());
        for name in ["__Secure-refreshToken", "__Host-accessToken", "__Host-csrfToken"] {
            let (one, two) = (format!("{name}=1"), format!("{name}=1; x=y; {name}=1"));
            let told = format!("`{name}` came twice: delete this site's cookies and sign in.");
            for lines in [vec![two.as_bytes()], vec![one.as_bytes(), one.as_bytes()]] {
                let refused = names.read(&headers(&lines)).expect_err("two of them");
                // All of it: no value is in there.
                assert_eq!(refused, ApiError::invalid_field("Cookie", told.clone()));
            }
        }
    }

    #[test]
    fn a_device_cookie_that_comes_twice_is_none_and_refuses_nothing() {
        let names = names(&CookiePolicy::default());
        for count in 2..5 {
            let line = "__Secure-device=d; ".repeat(count) + "__Host-csrfToken=c";
            let headers = headers(&[line.as_bytes()]);
            let expected = Cookies { csrf: Some("c"), device: Some(""), ..Cookies::default() };
            assert!(names.read(&headers) == Ok(expected), "{count}");
        }
    }

    #[test]
    fn refuses_policies_that_no_cookie_can_carry() {
        let with = |change: fn(&mut CookiePolicy)| {
            let mut policy = CookiePolicy::default();
            change(&mut policy);
            CookieNames::new(&policy, "/api/auth").expect_err("a bad policy");
        };
        with(|policy| policy.refresh_name = "a b".to_owned());
        with(|policy| policy.refresh_name = String::new());
        with(|policy| policy.access_name = "a=b".to_owned());
        with(|policy| policy.csrf_name = "accessToken".to_owned());
        with(|policy| policy.device_name = "refreshToken".to_owned());
        with(|policy| policy.domain = Some("example.org; Path=/x".to_owned()));
        CookieNames::new(&CookiePolicy::default(), "/a;b").expect_err("a bad path");
    }
}
