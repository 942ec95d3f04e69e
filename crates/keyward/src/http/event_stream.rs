//! Revocations as server-sent events (WHATWG HTML, section 9.2).
//!
//! Events are put together here and not by axum: a live set may hold a million of them, which are
//! some thousand chunks of text this way, instead of a million of one event each.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use keyward_core::service_key::{Scope, ServiceKeyRecord};
use keyward_core::time::Timestamp;

use crate::feed::{Follower, LiveRevocation, News};
use crate::service::Keyward;
use crate::store::{Place, RevokedSubject};

/// Marks an answer whose body goes on until somebody ends it. A server that shuts down ends such
/// bodies, and does not wait for them.
#[derive(Debug, Clone, Copy)]
pub struct Endless;

/// Who is told, and by which key.
pub(super) struct Listener {
    pub(super) keyward: Arc<Keyward>,
    pub(super) follower: Follower,
    pub(super) key: ServiceKeyRecord,
}

/// The answer that tells of revocations for as long as this node knows them and the key is good.
pub(super) fn revocations(listener: Listener) -> Response {
    let begin = beat(Some(listener.keyward.now()));
    let chunks = stream::unfold((Some(begin), listener), |(begin, mut listener)| async move {
        let chunk = match begin {
            Some(begin) => begin,
            None => listener.next().await?,
        };
        Some((Ok::<_, std::convert::Infallible>(chunk), (None, listener)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // What nginx asks for, to pass on each chunk as it comes.
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let mut response = (headers, Body::from_stream(chunks)).into_response();
    response.extensions_mut().insert(Endless);
    response
}

impl Listener {
    async fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        match self.follower.next().await? {
            News::Current => {
                // The time says that everything before it was told.
                let told_at = self.follower.is_told().then(|| self.keyward.now());
                let is_good = self.keyward.is_good(&self.key, Scope::Revocations).await;
                // Where the store cannot tell, this node is not current either.
                is_good.ok().filter(|is_good| *is_good)?;
                text = beat(told_at);
            }
            News::Revoked(revocations, place) => {
                text.reserve(EVENT_BYTES * revocations.len());
                let (last, others) = revocations.split_last()?;
                others.iter().for_each(|revocation| write_revoked(&mut text, revocation, None));
                write_revoked(&mut text, last, place);
            }
            News::Synced(place) => write_event(&mut text, "synced", Some(place), "{}"),
        }
        Some(text)
    }
}

/// A comment by the clock of this node. The times of one connection let whoever listens see how
/// long its words were on their way, whatever clock it has; the first one marks where they begin.
fn beat(at: Option<Timestamp>) -> String {
    at.map_or_else(|| ": beat\n\n".to_owned(), |at| format!(": beat {}\n\n", at.millis()))
}

/// The times are those of tokens: seconds, the end rounded up and the beginning down.
fn write_revoked(text: &mut String, revocation: &LiveRevocation, place: Option<Place>) {
    let exp = revocation.until.millis().saturating_add(999).div_euclid(1000);
    let data = match revocation.subject {
        RevokedSubject::Session(id) => format!(r#"{{"sid":"{id}","exp":{exp}}}"#),
        RevokedSubject::User(id) => {
            let at = revocation.at.secs();
            format!(r#"{{"sub":"{id}","exp":{exp},"revokedAt":{at}}}"#)
        }
    };
    write_event(text, "revoked", place, &data);
}

/// An event without an id leaves the client with the one that it has.
fn write_event(text: &mut String, name: &str, place: Option<Place>, data: &str) {
    let id = place.map(|place| format!("id: {place}\n")).unwrap_or_default();
    write!(text, "event: {name}\n{id}data: {data}\n\n").expect("a string takes any text");
}

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Longer than most.
const EVENT_BYTES: usize = 128;
