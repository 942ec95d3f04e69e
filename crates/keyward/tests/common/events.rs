//! The other end of a feed of revocations.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, Response, StatusCode};
use futures_util::StreamExt as _;
use keyward_core::service_key::Scope;
use serde_json::Value;
use tower::ServiceExt as _;

use super::TestApp;

/// Where a feed is.
pub(crate) const REVOCATIONS: &str = "/api/auth/revocations";

/// An event; or a comment, which has no name, and for data its time or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// A client that follows.
pub(crate) struct Events {
    body: BodyDataStream,
    text: String,
    /// The id of the last event that had one.
    pub(crate) last_id: Option<String>,
}

impl TestApp {
    /// Asks for the feed with a fresh service key, after the feed was read.
    pub(crate) async fn follow(&self, last_id: Option<&str>) -> Events {
        self.keyward.read_revocations().await.unwrap();
        let key = self.service_key(&[Scope::Revocations]).await;
        self.follow_with(&key, last_id).await
    }

    /// Asks for the feed with this key.
    pub(crate) async fn follow_with(&self, key: &str, last_id: Option<&str>) -> Events {
        let response = self.ask_to_follow(key, last_id).await;
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        Events {
            body: response.into_body().into_data_stream(),
            text: String::new(),
            last_id: last_id.map(str::to_owned),
        }
    }

    /// The answer as it begins.
    pub(crate) async fn ask_to_follow(&self, key: &str, last_id: Option<&str>) -> Response<Body> {
        let request = Request::get(REVOCATIONS).header("authorization", format!("Bearer {key}"));
        let request = match last_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }
}

impl Events {
    /// The next event or comment; `None` where the feed has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parsed(event);
                self.text = rest.to_owned();
                self.last_id = event.id.clone().or(self.last_id.take());
                return Some(event);
            }
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The data of the revocations up to `synced`.
    pub(crate) async fn live_set(&mut self) -> Vec<Value> {
        let mut revoked = Vec::new();
        loop {
            let event = self.next().await.expect("an event");
            match event.name.as_str() {
                "revoked" => revoked.push(event.data),
                "synced" => return revoked,
                _ => {}
            }
        }
    }

    /// The next revocation.
    pub(crate) async fn revoked(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("an event");
            if event.name == "revoked" {
                return event.data;
            }
        }
    }
}

fn parsed(text: &str) -> Event {
    let mut event = Event { name: String::new(), id: None, data: Value::Null };
    for line in text.lines() {
        match line.split_once(": ").unwrap() {
            ("event", name) => event.name = name.to_owned(),
            ("id", id) => event.id = Some(id.to_owned()),
            ("data", data) => event.data = serde_json::from_str(data).unwrap(),
            ("", comment) => {
                let time = comment.strip_prefix("beat").unwrap();
                event.data = time.trim_start().parse::<i64>().map_or(Value::Null, Value::from);
            }
            _ => panic!("{text}"),
        }
    }
    event
}
