//! The `Cookie` header.

use axum::body::Body;
use axum::http::header::COOKIE;
use axum::http::{HeaderValue, Request};
use keyward::service::Tokens;

use crate::app::{App, EMAIL, PASSWORD};
use crate::request::replace;

/// Each line of the input is one `Cookie` header; `{refresh}` stands for a good token. The answer
/// is the one for the cookies of these names, wherever they stand: two of one name are refused.
pub(crate) fn cookies(data: &[u8]) {
    APP.with(|(app, tokens)| check(app, tokens, data));
}

fn check(app: &App, tokens: &Tokens, data: &[u8]) {
    let good = tokens.refresh_token.expose().as_bytes();
    let text = replace(data, b"{refresh}", good);
    let mut request = Request::get("/api/auth/csrf").body(Body::empty()).expect("a request");
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        request.headers_mut().append(COOKIE, value);
    }
    let [refresh, access, csrf] =
        ["__Secure-refreshToken", "__Host-accessToken", "__Host-csrfToken"].map(|name| {
            let pairs = text.split(|byte| matches!(byte, b'\n' | b';'));
            let named = |pair| value_of(pair, name.as_bytes());
            pairs.filter_map(named).collect::<Vec<_>>()
        });
    let answer = app.send(request);
    let expected = match *refresh {
        _ if [&refresh, &access, &csrf].iter().any(|values| values.len() > 1) => "INVALID_REQUEST",
        [] => "NO_REFRESH_TOKEN",
        [token] if token == good => "",
        _ => "INVALID_REFRESH_TOKEN",
    };
    assert_eq!(answer.code(), expected);
    if expected.is_empty() {
        assert_eq!(answer.json()["csrfToken"], tokens.csrf_token);
        let set = format!("__Host-csrfToken={}; ", tokens.csrf_token);
        assert!(answer.cookies().all(|line| line.starts_with(&set)), "not what was asked for");
    }
}

/// The value of a pair of this name.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name)?;
    rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
}

thread_local! {
    static APP: (App, Tokens) = {
        let app = App::start(|_| {});
        let tokens = app.register(EMAIL, PASSWORD);
        (app, tokens)
    };
}
