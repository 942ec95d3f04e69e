//! `Forwarded` and `X-Forwarded-For`: whom a proxy speaks for.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use keyward::http::PeerAddress;

use crate::app::{App, EMAIL, PASSWORD};
use crate::input::{first_line, header_lines};
use crate::request::Browser;

/// The first line is the peer's address, the others are headers. Only a trusted proxy is believed,
/// and what it did not write itself changes nothing.
pub(crate) fn client_address(data: &[u8]) {
    let (line, rest) = first_line(data);
    let peer = std::str::from_utf8(line).ok().and_then(|peer| peer.parse().ok());
    let peer: IpAddr = peer.unwrap_or(IpAddr::from([10, 0, 0, 1]));
    let mut headers = Vec::new();
    for (name, value) in header_lines(rest) {
        let Some(name) = NAMES.into_iter().find(|known| known.as_bytes() == name) else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.push((name, value));
    }
    SITE.with_borrow_mut(|site| {
        let ready = site.take().filter(|site| !site.app.is_worn());
        check(site.insert(ready.unwrap_or_else(Site::new)), peer.to_canonical(), &headers);
    });
}

fn check(site: &mut Site, peer: IpAddr, headers: &[(&'static str, HeaderValue)]) {
    let client = site.client(peer, headers);
    assert_eq!(client, client.to_canonical(), "one client has two addresses");
    if !is_trusted(peer) || headers.is_empty() {
        assert_eq!(client, peer, "anyone can claim to be another");
        return;
    }
    assert!(client == peer || headers.iter().any(|(_, line)| names(line, client)), "made up");
    if !is_trusted(client) {
        // The client may have sent anything before its proxy appended to it.
        let mut forged = headers.to_vec();
        for (name, node) in [(NAMES[0], "for=192.0.2.66"), (NAMES[1], "192.0.2.66")] {
            if headers.iter().any(|(present, _)| *present == name) {
                forged.insert(0, (name, HeaderValue::from_static(node)));
            }
        }
        assert_eq!(site.client(peer, &forged), client, "what a client sends moves it");
    }
}

/// Whether a line names this address, in any form.
fn names(line: &HeaderValue, address: IpAddr) -> bool {
    let text = line.to_str().unwrap_or_default();
    text.split([',', ';', '=']).any(|word| {
        let word = word.trim().trim_matches('"').trim();
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        let without_port = || word.parse::<SocketAddr>().ok().map(|socket| socket.ip());
        let parsed = bare.parse::<IpAddr>().ok().or_else(without_port);
        parsed.is_some_and(|parsed| parsed.to_canonical() == address)
    })
}

/// The networks of the service's policy.
fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    }
}

/// A service behind proxies, and a browser that is signed in.
struct Site {
    app: App,
    browser: Browser,
}

impl Site {
    fn new() -> Self {
        let app = App::start(|policy| {
            let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
            policy.web.trusted_proxies = trusted.into();
        });
        let browser = Browser::new(&app.register(EMAIL, PASSWORD));
        Self { app, browser }
    }

    /// Whom the service takes for the sender: a refresh notes the address, and `/me` tells it.
    fn client(&mut self, peer: IpAddr, headers: &[(&'static str, HeaderValue)]) -> IpAddr {
        let mut refresh = self.browser.request(Method::POST, "/api/auth/refresh");
        refresh.extensions_mut().insert(PeerAddress(SocketAddr::new(peer, 4711)));
        for (name, value) in headers {
            refresh.headers_mut().append(*name, value.clone());
        }
        self.send(refresh);
        let me = self.browser.request(Method::GET, "/api/auth/me");
        let me = self.send(me);
        let address = me["session"]["ip"].as_str().and_then(|text| text.parse().ok());
        address.expect("an address")
    }

    fn send(&mut self, request: Request<Body>) -> serde_json::Value {
        let answer = self.app.send(request);
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        self.browser.learn(&answer);
        answer.json()
    }
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

const NAMES: [&str; 2] = ["forwarded", "x-forwarded-for"];
