//! A small service that publishes keys and revocations as Keyward does, over real HTTP, and fails
//! in each way that it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use keyward_verify::{ServiceKey, SessionId, Source};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::issuer::{Signer, key_set};

/// The service, for as long as it is held.
pub(crate) struct Publisher {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Shared>,
    server: JoinHandle<()>,
}

pub(crate) struct Shared {
    keys: Mutex<Vec<u8>>,
    pub(crate) key_fetches: AtomicUsize,
    pub(crate) is_down: AtomicBool,
    feed: Mutex<Feed>,
}

struct Feed {
    /// Rises with each restart; cursors of another epoch mean nothing.
    epoch: u32,
    events: Vec<String>,
    /// What the next connections are told, whatever they ask.
    odd_answers: Vec<String>,
    /// What every other connection is told instead, while there is some.
    garbage: Option<String>,
    /// Whether connections begin with the time.
    tells_time: bool,
    cursors: Vec<Option<String>>,
    readers: broadcast::Sender<Said>,
}

#[derive(Clone)]
enum Said {
    Text(String),
    Cut,
}

impl Publisher {
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        let state = Arc::new(Shared {
            keys: Mutex::new(key_set(signers)),
            key_fetches: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            feed: Mutex::new(Feed {
                epoch: 0,
                events: Vec::new(),
                odd_answers: Vec::new(),
                garbage: None,
                tells_time: false,
                cursors: Vec::new(),
                readers: broadcast::Sender::new(4096),
            }),
        });
        let app = Router::new()
            .route("/.well-known/jwks.json", get(keys))
            .route("/api/auth/revocations", get(revocations))
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = async move { axum::serve(listener, app).await.expect("it serves") };
        #[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
        let server = tokio::spawn(server);
        Self { address, state, server }
    }

    pub(crate) fn source(&self) -> Source {
        let key = ServiceKey::issue(&[7; 32]);
        let source = Source::at(&format!("http://{}", self.address)).expect("a good origin");
        source.service_key(&key).cool_down(Duration::from_millis(300))
    }

    pub(crate) fn publish_keys(&self, set: Vec<u8>) {
        *self.state.keys.lock().expect("no panic") = set;
    }

    pub(crate) fn fetches(&self) -> usize {
        self.state.key_fetches.load(Ordering::SeqCst)
    }

    /// Answers 503 to whatever comes, or no longer.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Revokes a session, for everybody who reads and who will.
    pub(crate) fn revoke(&self, session: SessionId, exp: i64) {
        self.publish(json!({ "sid": session.to_string(), "exp": exp }).to_string());
    }

    pub(crate) fn publish(&self, data: String) {
        let mut feed = self.feed();
        let text = event(&data, &feed.cursor(feed.events.len() + 1));
        feed.events.push(data);
        drop(feed.readers.send(Said::Text(text)));
    }

    /// Says this to whoever reads now.
    pub(crate) fn say(&self, text: impl Into<String>) {
        drop(self.feed().readers.send(Said::Text(text.into())));
    }

    /// Tells the time, now and as each connection begins.
    pub(crate) fn beat(&self) {
        self.feed().tells_time = true;
        self.say(beat());
    }

    /// Cuts every connection to the feed.
    pub(crate) fn cut(&self) {
        drop(self.feed().readers.send(Said::Cut));
    }

    /// Comes back with other cursors.
    pub(crate) fn restart(&self) {
        self.feed().epoch += 1;
        self.cut();
    }

    /// Tells the next reader this, and nothing after it.
    pub(crate) fn answer_once(&self, text: impl Into<String>) {
        self.feed().odd_answers.push(text.into());
    }

    /// Tells whoever reads now this, and whoever comes nothing else, until there is none.
    pub(crate) fn set_garbage(&self, garbage: Option<&str>) {
        self.feed().garbage = garbage.map(str::to_owned);
        garbage.into_iter().for_each(|garbage| self.say(garbage));
    }

    /// The `Last-Event-ID` of every connection so far.
    pub(crate) fn cursors(&self) -> Vec<Option<String>> {
        self.feed().cursors.clone()
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.state.feed.lock().expect("no panic")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Feed {
    fn cursor(&self, position: usize) -> String {
        format!("{}.{position}", self.epoch)
    }

    /// What a reader with this cursor has not seen: everything, where the cursor says nothing.
    fn after(&self, cursor: Option<&str>) -> String {
        let position = cursor.and_then(|cursor| {
            let (epoch, position) = cursor.split_once('.')?;
            (epoch.parse() == Ok(self.epoch)).then(|| position.parse().ok())?
        });
        let missed = self.events.iter().enumerate().skip(position.unwrap_or(0));
        let missed: String =
            missed.map(|(index, data)| event(data, &self.cursor(index + 1))).collect();
        let end = self.cursor(self.events.len());
        let begin = if self.tells_time { beat() } else { String::new() };
        format!("{begin}{missed}event: synced\nid: {end}\ndata: {{}}\n\n")
    }
}

fn beat() -> String {
    format!(": beat {}\n\n", crate::system_now().millis())
}

fn event(data: &str, cursor: &str) -> String {
    format!("event: revoked\nid: {cursor}\ndata: {data}\n\n")
}

async fn keys(State(state): State<Arc<Shared>>) -> Response {
    state.key_fetches.fetch_add(1, Ordering::SeqCst);
    if state.is_down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let set = state.keys.lock().expect("no panic").clone();
    ([(header::CACHE_CONTROL, "public, max-age=300")], set).into_response()
}

async fn revocations(State(state): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let key = ServiceKey::issue(&[7; 32]);
    let expected = format!("Bearer {}", key.expose());
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != &expected) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if state.is_down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let cursor = headers.get("last-event-id").map(|value| value.to_str().expect("text").to_owned());
    let mut feed = state.feed.lock().expect("no panic");
    let odd = feed.odd_answers.pop().or_else(|| feed.garbage.clone());
    let first = odd.map(|text| (text, None));
    let (first, reader) =
        first.unwrap_or_else(|| (feed.after(cursor.as_deref()), Some(feed.readers.subscribe())));
    feed.cursors.push(cursor);
    let begin = (Some(first), reader);
    let pieces = stream::unfold(begin, |(first, mut reader)| async move {
        let text = match first {
            Some(text) => text,
            None => match reader.as_mut()?.recv().await {
                Ok(Said::Text(text)) => text,
                Ok(Said::Cut) | Err(_) => return None,
            },
        };
        Some((Ok::<_, std::io::Error>(Bytes::from(text)), (None, reader)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}

/// Waits until this is so. Only a test that fails takes long.
#[track_caller]
pub(crate) fn eventually(what: &'static str, holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..4000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{place}: not even after long: {what}");
    }
}
