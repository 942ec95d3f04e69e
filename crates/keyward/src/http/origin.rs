//! Step (1) of the CSRF check: which page sent the request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::ApiError;
use crate::policy::{AllowedOrigins, WebPolicy};

/// Lets a request pass that comes from a page of the service's own origin or of a listed one, or
/// from no browser.
///
/// Browsers do not let a page choose these three headers, and always send `Origin` with a request
/// that changes state; a request with none of them can only come from a client that has no cookies
/// of somebody else.
///
/// # Errors
///
/// [`ApiError::OriginNotAllowed`].
pub(super) fn check_origin(headers: &HeaderMap, policy: &WebPolicy) -> Result<(), ApiError> {
    let fetch_site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let mut origins = headers.get_all(ORIGIN).iter();
    let allowed = match (origins.next(), headers.get(REFERER)) {
        // A second one would be read by something else on the way, perhaps.
        (Some(_), _) if origins.next().is_some() => false,
        (Some(origin), _) => judge(origin.to_str().ok(), fetch_site, policy),
        (None, Some(referer)) => {
            let origin = referer.to_str().ok().and_then(origin_of);
            // That a listed page may call from another site is shown by `Origin` alone.
            fetch_site != Some(CROSS_SITE) && judge(origin, fetch_site, policy)
        }
        // A page may suppress its `Referer`, and a GET to its own origin then carries no more.
        (None, None) => fetch_site.is_none_or(|site| site == SAME_ORIGIN),
    };
    if allowed { Ok(()) } else { Err(ApiError::OriginNotAllowed) }
}

/// Whether pages of `origin` are listed: they may call with cookies from another site.
pub(super) fn is_listed(origin: &str, policy: &WebPolicy) -> bool {
    match &policy.allowed_origins {
        AllowedOrigins::Listed(listed) => listed.iter().any(|listed| listed == origin),
        AllowedOrigins::AnyLoopback => is_loopback(origin),
    }
}

fn judge(origin: Option<&str>, fetch_site: Option<&[u8]>, policy: &WebPolicy) -> bool {
    let Some(origin) = origin else { return false };
    if is_listed(origin, policy) {
        return true;
    }
    fetch_site != Some(CROSS_SITE) && policy.own_origins.iter().any(|own| own == origin)
}

/// The origin of an absolute URL, as written. Browsers send no user information in a `Referer`, so
/// one that holds any is refused for not being listed.
fn origin_of(url: &str) -> Option<&str> {
    let authority = url.find("://")? + 3;
    let length = url[authority..].find(['/', '?', '#']).unwrap_or(url.len() - authority);
    Some(&url[..authority + length])
}

/// Whether the origin is on this machine, at any port.
fn is_loopback(origin: &str) -> bool {
    let Some(authority) =
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port.to_string() == text);
    if !port.is_none_or(is_port) {
        return false;
    }
    let address: Option<IpAddr> = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CROSS_SITE: &[u8] = b"cross-site";
const SAME_ORIGIN: &[u8] = b"same-origin";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    const OWN: &str = "https://auth.example.org";
    const LISTED: &str = "https://app.example.net";

    fn policy() -> WebPolicy {
        let allowed_origins = AllowedOrigins::Listed(vec![LISTED.to_owned()]);
        WebPolicy { allowed_origins, ..Policy::new(OWN).web }
    }

    fn check(passes: bool, lines: &[(&'static str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        let expected = if passes { Ok(()) } else { Err(ApiError::OriginNotAllowed) };
        assert_eq!(check_origin(&headers, &policy()), expected, "{lines:?}");
    }

    #[test]
    fn the_origin_decides() {
        check(true, &[]);
        check(true, &[("origin", OWN)]);
        check(true, &[("origin", LISTED)]);
        for foreign in [
            "null",
            "",
            "https://evil.example",
            "https://auth.example.org.evil.example",
            "https://auth.example.org:8443",
            "http://auth.example.org",
            "HTTPS://AUTH.EXAMPLE.ORG",
            "https://auth.example.org/",
            "https://auth.example.org, https://evil.example",
        ] {
            check(false, &[("origin", foreign)]);
            check(false, &[("origin", foreign), ("referer", "https://auth.example.org/")]);
            check(false, &[("origin", foreign), ("sec-fetch-site", "same-origin")]);
        }
        check(false, &[("origin", OWN), ("origin", OWN)]);
        check(false, &[("origin", OWN), ("origin", "https://evil.example")]);
    }

    #[test]
    fn without_an_origin_the_referer_decides() {
        check(true, &[("referer", OWN)]);
        check(true, &[("referer", "https://auth.example.org/account?tab=1#top")]);
        check(true, &[("referer", "https://app.example.net/")]);
        for foreign in [
            "",
            "about:blank",
            "/relative",
            "https://evil.example/https://auth.example.org/",
            "https://auth.example.org@evil.example/",
            "https://auth.example.org.evil.example/",
            "https://auth.example.org\\.evil.example/",
            "http://auth.example.org/",
        ] {
            check(false, &[("referer", foreign)]);
        }
    }

    #[test]
    fn another_site_must_be_listed_by_its_origin() {
        check(true, &[("origin", LISTED), ("sec-fetch-site", "cross-site")]);
        check(false, &[("origin", OWN), ("sec-fetch-site", "cross-site")]);
        check(false, &[("referer", "https://app.example.net/"), ("sec-fetch-site", "cross-site")]);
        check(true, &[("referer", "https://app.example.net/"), ("sec-fetch-site", "same-site")]);
        check(true, &[("origin", OWN), ("sec-fetch-site", "same-origin")]);
        check(true, &[("sec-fetch-site", "same-origin")]);
        for site in ["cross-site", "same-site", "none", "", "same-origin, cross-site"] {
            check(false, &[("sec-fetch-site", site)]);
        }
    }

    #[test]
    fn in_development_any_loopback_origin_is_listed() {
        let policy =
            WebPolicy { allowed_origins: AllowedOrigins::AnyLoopback, ..Policy::new(OWN).web };
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://localhost:5173",
            "http://127.0.0.1:3000",
            "http://127.8.9.10",
            "http://[::1]",
            "http://[::1]:3000",
        ] {
            assert!(is_listed(origin, &policy), "{origin}");
        }
        for origin in [
            "null",
            "ftp://localhost",
            "http://localhost.evil.example",
            "http://evil.example:80",
            "http://localhost:99999",
            "http://localhost:080",
            "http://localhost:",
            "http://localhost:+1",
            "http://localhost:80@evil.example",
            "http://evil@localhost",
            "http://127.0.0.1.evil.example",
            "http://[::2]",
            "http://[::1]evil",
            "http://::1",
            "http://localhost/",
            "http://128.0.0.1",
        ] {
            assert!(!is_listed(origin, &policy), "{origin}");
        }
    }
}
