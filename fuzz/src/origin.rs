//! `Origin`, `Referer` and `Sec-Fetch-Site`: which page sent a request.

use axum::body::Body;
use axum::http::uri::Uri;
use axum::http::{HeaderValue, Request, StatusCode};
use keyward::policy::AllowedOrigins;

use crate::app::{App, PUBLIC_URL};
use crate::input::header_lines;

/// The lines of the input are headers. Nothing passes but the service's own pages, listed ones, and
/// what comes from no page.
pub(crate) fn origin(data: &[u8]) {
    let mut headers: [Vec<HeaderValue>; 3] = [vec![], vec![], vec![]];
    for (name, value) in header_lines(data) {
        let Some(at) = NAMES.iter().position(|known| known.as_bytes() == name) else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers[at].push(value);
    }
    APPS.with(|[listing, open]| {
        check(listing, &headers, &|origin| origin == LISTED);
        check(open, &headers, &is_on_loopback);
    });
}

/// Sends the headers along with a sign-in that would next be refused for having no body.
fn check(app: &App, headers: &[Vec<HeaderValue>; 3], is_listed: &dyn Fn(&str) -> bool) {
    let mut request = Request::post("/api/auth/login").body(Body::empty()).expect("a request");
    for (name, values) in NAMES.into_iter().zip(headers) {
        for value in values {
            request.headers_mut().append(name, value.clone());
        }
    }
    let answer = app.send(request);
    let passes = answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
    assert!(passes || answer.code() == "ORIGIN_NOT_ALLOWED", "{}", answer.json());

    let [origins, referers, sites] = headers;
    let is_cross_site = sites.first().is_some_and(|site| site == "cross-site");
    let may_pass = match (&**origins, &**referers) {
        ([origin], _) => origin
            .to_str()
            .is_ok_and(|origin| is_listed(origin) || (origin == PUBLIC_URL && !is_cross_site)),
        ([], [referer, ..]) => {
            !is_cross_site
                && referer.to_str().is_ok_and(|referer| {
                    let page = page_origin(referer);
                    page.is_some_and(|origin| is_listed(origin) || origin == PUBLIC_URL)
                })
        }
        ([], []) => sites.first().is_none_or(|site| site == "same-origin"),
        _ => false,
    };
    assert_eq!(passes, may_pass, "{origins:?} {referers:?} {sites:?}");
}

/// What stands before the path of an absolute URL.
fn page_origin(url: &str) -> Option<&str> {
    let after_scheme = url.find("://")? + "://".len();
    let length = url[after_scheme..].split(['/', '?', '#']).next()?.len();
    url.get(..after_scheme + length)
}

/// Whether the whole text is the origin of a page on this machine, as a parser of URLs reads it.
fn is_on_loopback(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let host = authority.host();
    let is_local = host == "localhost"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok())
            .is_some_and(|address| address.is_loopback());
    // The parser of URLs passes over what stands between a bracket and a port.
    let node = match authority.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    is_local && matches!(scheme, "http" | "https") && format!("{scheme}://{node}") == origin
}

thread_local! {
    static APPS: [App; 2] = [
        AllowedOrigins::Listed(vec![LISTED.to_owned()]),
        AllowedOrigins::AnyLoopback,
    ]
    .map(|origins| App::start(|policy| policy.web.allowed_origins = origins));
}

const LISTED: &str = "https://app.example.net";
const NAMES: [&str; 3] = ["origin", "referer", "sec-fetch-site"];
