//! Whole requests, one after the other, as a browser that is signed in could send them.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::uri::Uri;
use axum::http::{HeaderName, HeaderValue, Method, Request};
use keyward::http::PeerAddress;
use keyward::policy::Policy;
use keyward::service::Tokens;

use crate::app::{Answer, App, EMAIL, PASSWORD};

/// Requests as they stand in a terminal, with a line `%%` between two of them: method and path,
/// then headers, an empty line and the body. Words in braces stand for what the browser holds: see
/// [`Site::fill`].
///
/// No answer is a failure of the service or of an unknown form, and nobody's session is touched by
/// requests that hold none of its tokens, whoever's ids they name.
pub(crate) fn request(data: &[u8]) {
    IN_BODIES.with_borrow_mut(|site| {
        play(site, || Site::new(|_| {}), data).assert_bystander_untouched();
    });
}

/// The same where access tokens travel in a cookie.
pub(crate) fn by_cookie(data: &[u8]) {
    IN_COOKIES.with_borrow_mut(|site| {
        play(site, || Site::new(Policy::deliver_by_cookie), data).assert_bystander_untouched();
    });
}

/// The same with a service key that may do everything, also to bystanders.
pub(crate) fn admin(data: &[u8]) {
    BY_SERVICE.with_borrow_mut(|site| {
        play(site, Site::with_service_key, data);
    });
}

fn play<'a>(site: &'a mut Option<Site>, start: fn() -> Site, data: &[u8]) -> &'a Site {
    let ready = site.take().filter(|site| !site.app.is_worn()).and_then(Site::again);
    let site = site.insert(ready.unwrap_or_else(start));
    site.play(data);
    site
}

/// The part of the text before the mark, and the part after it.
fn split_once<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// The text with every mark replaced.
pub(crate) fn replace(mut text: &[u8], mark: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    while let Some((before, after)) = split_once(text, mark) {
        replaced.extend_from_slice(before);
        replaced.extend_from_slice(with);
        text = after;
    }
    replaced.extend_from_slice(text);
    replaced
}

/// The request of a text; `None` where no server of HTTP would pass it on.
fn parse(text: &[u8]) -> Option<Request<Body>> {
    let (head, body) = split_once(text, b"\n\n").unwrap_or((text, b""));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, path) = split_once(lines.next()?, b" ")?;
    let mut request = Request::new(Body::from(body.to_vec()));
    request.extensions_mut().insert(PeerAddress(PROXY));
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(path).ok().filter(|uri| uri.path().starts_with('/'))?;
    // Without a body the head may end in an empty line.
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = split_once(line, b":")?;
        let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
        request.headers_mut().append(HeaderName::from_bytes(name).ok()?, value);
    }
    Some(request)
}

/// A service, a browser that is signed in, and somebody else who is.
struct Site {
    app: App,
    browser: Browser,
    bystander: Tokens,
    /// Empty where there is none.
    service_key: String,
}

impl Site {
    fn new(delivery: fn(&mut Policy)) -> Self {
        let app = App::start(|policy| {
            delivery(policy);
            policy.web.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        });
        let browser = Browser::new(&app.register(EMAIL, PASSWORD));
        let bystander = app.register("grace@example.org", "nobody but Grace knows this one");
        Self { app, browser, bystander, service_key: String::new() }
    }

    fn with_service_key() -> Self {
        let site = Self::new(|_| {});
        Self { service_key: site.app.make_service_key(), ..site }
    }

    /// The same with a new session; `None` where the account did not outlive the last input.
    fn again(self) -> Option<Self> {
        let browser = Browser::new(&self.app.log_in(EMAIL, PASSWORD).ok()??);
        Some(Self { browser, ..self })
    }

    fn play(&mut self, mut data: &[u8]) {
        for _ in 0..REQUESTS_MAX {
            let (text, rest) = split_once(data, b"\n%%\n").unwrap_or((data, b""));
            if let Some(request) = parse(&self.fill(text)) {
                let answer = self.app.send(request);
                self.browser.learn(&answer);
            }
            data = rest;
            if data.is_empty() {
                break;
            }
        }
    }

    fn assert_bystander_untouched(&self) {
        assert!(self.app.is_untouched(&self.bystander), "a bystander's session was touched");
    }

    /// The text with what the parties hold in place of the marks, and with the ids of a bystander.
    fn fill(&self, text: &[u8]) -> Vec<u8> {
        let Tokens { session, user, .. } = &self.bystander;
        let (other, other_user) = (session.id.to_string(), user.id.to_string());
        let marks: [(&str, &str); 9] = [
            ("{refresh}", &self.browser.refresh_token),
            ("{spent}", &self.browser.spent_token),
            ("{csrf}", &self.browser.csrf_token),
            ("{access}", &self.browser.access_token),
            ("{session}", &self.browser.session_id),
            ("{other}", &other),
            ("{other_user}", &other_user),
            ("{key}", &self.service_key),
            ("{password}", PASSWORD),
        ];
        marks.iter().fold(text.to_vec(), |text, (mark, with)| {
            replace(&text, mark.as_bytes(), with.as_bytes())
        })
    }
}

/// What a browser and its page hold.
pub(crate) struct Browser {
    refresh_token: String,
    /// The refresh token before.
    spent_token: String,
    csrf_token: String,
    access_token: String,
    session_id: String,
}

impl Browser {
    /// A browser that was just signed in.
    pub(crate) fn new(tokens: &Tokens) -> Self {
        Self {
            refresh_token: tokens.refresh_token.expose().to_owned(),
            spent_token: String::new(),
            csrf_token: tokens.csrf_token.clone(),
            access_token: tokens.access_token.expose().to_owned(),
            session_id: tokens.session.id.to_string(),
        }
    }

    /// A request with all that it holds.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<Body> {
        let Self { refresh_token, csrf_token, access_token, .. } = self;
        let cookies =
            format!("__Secure-refreshToken={refresh_token}; __Host-csrfToken={csrf_token}");
        Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, cookies)
            .header("x-csrf-token", csrf_token)
            .header(AUTHORIZATION, format!("Bearer {access_token}"))
            .body(Body::empty())
            .expect("a request")
    }

    /// Takes up what an answer hands out.
    pub(crate) fn learn(&mut self, answer: &Answer) {
        for line in answer.cookies() {
            let (name, rest) = line.split_once('=').expect("a cookie has a name");
            let value = rest.split(';').next().unwrap_or_default().to_owned();
            match name {
                "__Secure-refreshToken" => {
                    self.spent_token = std::mem::replace(&mut self.refresh_token, value);
                }
                "__Host-csrfToken" => self.csrf_token = value,
                "__Host-accessToken" => self.access_token = value,
                // It signs nobody in, and has a target of its own.
                "__Secure-device" => {}
                _ => panic!("no cookie of ours: {name}"),
            }
        }
        if let Some(token) = answer.json()["accessToken"].as_str() {
            self.access_token = token.to_owned();
        }
    }
}

thread_local! {
    static BY_SERVICE: RefCell<Option<Site>> = const { RefCell::new(None) };
    static IN_BODIES: RefCell<Option<Site>> = const { RefCell::new(None) };
    static IN_COOKIES: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// Requests come through a trusted proxy, so that all of their headers count.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4711);

/// Requests in one input.
const REQUESTS_MAX: usize = 8;
