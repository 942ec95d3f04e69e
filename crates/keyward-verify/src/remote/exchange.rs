//! One request over one connection. No redirect is followed, no cookie kept, nothing spawned.

use std::fmt;
use std::pin::Pin;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, USER_AGENT};
use hyper::{Request, StatusCode, client};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::source::Source;

/// An answer that has begun.
pub(super) struct Exchange {
    headers: HeaderMap,
    body: Incoming,
    /// Moves the bytes; to be polled while the body is read.
    connection: Option<Connection>,
}

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Exchange {
    /// Sends a `GET` and waits for a 200. `cursor` is for the feed alone: with it goes the service
    /// key.
    pub(super) async fn get(
        source: &Source,
        path: &str,
        cursor: Option<Option<&str>>,
    ) -> Result<Self, Trouble> {
        let io = connect(source).await?;
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(io)).await.map_err(Trouble::of)?;
        let mut connection: Connection = Box::pin(async move {
            // Why it ended is told by the body, or by the missing answer.
            drop(connection.await);
        });
        let request = request(source, path, cursor)?;
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer.map_err(Trouble::of)?,
            () = &mut connection => return Err(Trouble::of("the connection was closed")),
        };
        if answer.status() != StatusCode::OK {
            return Err(Trouble::refusal(answer.status()));
        }
        let (head, body) = answer.into_parts();
        Ok(Self { headers: head.headers, body, connection: Some(connection) })
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = match &mut self.connection {
                Some(connection) => tokio::select! {
                    frame = self.body.frame() => frame,
                    () = connection => {
                        self.connection = None;
                        continue;
                    }
                },
                None => self.body.frame().await,
            };
            let Some(frame) = frame else { return Ok(None) };
            // Trailers say nothing here.
            if let Ok(piece) = frame.map_err(Trouble::of)?.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// All of the body, where it is not longer than this.
    pub(super) async fn body(&mut self, bytes_max: usize) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > bytes_max {
                return Err(Trouble::of("the answer is too long"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn request(
    source: &Source,
    path: &str,
    cursor: Option<Option<&str>>,
) -> Result<Request<Empty<Bytes>>, Trouble> {
    let mut request = Request::get(path)
        .header(HOST, &source.authority)
        .header(USER_AGENT, concat!("keyward-verify/", env!("CARGO_PKG_VERSION")))
        // Between us and the service nobody may answer from memory.
        .header(CACHE_CONTROL, "no-cache");
    if let Some(cursor) = cursor {
        request = request.header(ACCEPT, "text/event-stream");
        if let Some(key) = &source.authorization {
            request = request.header(AUTHORIZATION, key);
        }
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
    }
    request.body(Empty::new()).map_err(Trouble::of)
}

async fn connect(source: &Source) -> Result<Box<dyn Io>, Trouble> {
    let stream = TcpStream::connect((source.host.as_str(), source.port)).await;
    let stream = stream.map_err(Trouble::of)?;
    let Some((connector, name)) = &source.tls else { return Ok(Box::new(stream)) };
    let stream = connector.connect(name.clone(), stream).await.map_err(Trouble::of)?;
    Ok(Box::new(stream))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why nothing was learned.
#[derive(Debug)]
pub(super) struct Trouble {
    why: String,
    /// The service did not understand the question.
    pub(super) is_bad_request: bool,
}

impl Trouble {
    pub(super) fn of(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), is_bad_request: false }
    }

    pub(super) fn silence() -> Self {
        Self::of("the service says nothing")
    }

    fn refusal(status: StatusCode) -> Self {
        let remedy = match status {
            StatusCode::UNAUTHORIZED => "the service key is unknown, expired or revoked",
            StatusCode::FORBIDDEN => "the service key lacks the scope `revocations`",
            StatusCode::NOT_FOUND => "is Source::base_path the service's server.base_path?",
            _ => "see the service's log",
        };
        Self {
            why: format!("the service answered {}: {remedy}", status.as_u16()),
            is_bad_request: status == StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
