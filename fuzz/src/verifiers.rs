//! What verifiers and their service tell each other: the feed of revocations, places in it, and
//! the form that asks about one token.

use std::cell::RefCell;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use keyward::store::Place;
use keyward_verify::{Feed, Timestamp, Verifier, VerifyPolicy};

use crate::app::{App, EMAIL, PASSWORD, PUBLIC_URL};
use crate::input::Input;
use crate::request::replace;

/// Wherever the network cuts a feed into pieces, it says the same; and what it leaves to be sent
/// back is fit for a header.
pub(crate) fn feed(data: &[u8]) {
    let mut input = Input::new(data);
    let size = 1 + input.choice(255);
    let text = input.rest();
    let whole = read(text.chunks(text.len().max(1)));
    assert_eq!(whole, read(text.chunks(size)), "{size} bytes at a time");
    assert_eq!(whole, read(text.chunks(1)), "byte by byte");
    if let Some(cursor) = whole.cursor {
        assert!((1..=256).contains(&cursor.len()));
        assert!(cursor.bytes().all(|byte| byte.is_ascii_graphic()), "{cursor:?}");
        assert!(whole.is_current, "a cursor before everything was told");
    }
}

/// What a verifier has learned from a feed.
#[derive(Debug, PartialEq, Eq)]
struct Learned {
    is_garbled: bool,
    is_current: bool,
    revocations: usize,
    cursor: Option<String>,
}

fn read<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Learned {
    let now = Timestamp::from_secs(1_790_000_000);
    let verifier = Verifier::new(VerifyPolicy::new(PUBLIC_URL, PUBLIC_URL));
    let mut feed = Feed::default();
    let mut connected = feed.connect(now);
    let revocations = verifier.revocations();
    let is_garbled = pieces.any(|piece| connected.read(piece, now, revocations).is_err());
    Learned {
        is_garbled,
        is_current: revocations.staleness(now).is_some(),
        revocations: revocations.len(),
        cursor: feed.cursor().map(str::to_owned),
    }
}

/// A place has one text.
pub(crate) fn place(data: &[u8]) {
    let mut input = Input::new(data);
    let number = |input: &mut Input<'_>| u64::from_be_bytes(input.array());
    let place = Place { history: number(&mut input), position: number(&mut input) };
    assert_eq!(place.to_string().parse(), Ok(place));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(place) = text.parse::<Place>() {
        assert_eq!(place.to_string(), text);
    }
}

/// A form asks about one token, and only about the one that it names is anything told. The mark
/// `{token}` stands for a good one.
pub(crate) fn introspect(data: &[u8]) {
    SITE.with_borrow_mut(|site| {
        let ready = site.take().filter(|site| !site.app.is_worn());
        let Site { app, token, service_key } = site.insert(ready.unwrap_or_else(Site::new));
        let form = replace(data, b"{token}", token.as_bytes());
        let asked: Vec<_> = parameters(&form).filter(|(name, _)| name == "token").collect();
        let request = Request::post("/api/auth/introspect")
            .header(AUTHORIZATION, format!("Bearer {service_key}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.clone()));
        let answer = app.send(request.expect("a request"));
        let expected = match &asked[..] {
            _ if form.len() > FORM_BYTES_MAX => StatusCode::PAYLOAD_TOO_LARGE,
            [_] => StatusCode::OK,
            _ => StatusCode::BAD_REQUEST,
        };
        assert_eq!(answer.status, expected);
        if let ([(_, asked)], StatusCode::OK) = (&asked[..], expected) {
            assert_eq!(answer.json()["active"], asked == token, "{asked}");
        }
    });
}

/// The names and values of a form (URL standard, section 5.1).
fn parameters(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    let pairs = form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=').map(unescaped);
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    })
}

fn unescaped(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(16 * high + low).expect("two digits"));
                at += 2;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A service, a good access token, and a key that may ask about it.
struct Site {
    app: App,
    token: String,
    service_key: String,
}

impl Site {
    fn new() -> Self {
        let app = App::start(|_| {});
        let token = app.register(EMAIL, PASSWORD).access_token.expose().to_owned();
        let service_key = app.make_service_key();
        Self { app, token, service_key }
    }
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// What any body may have.
const FORM_BYTES_MAX: usize = 64 * 1024;
