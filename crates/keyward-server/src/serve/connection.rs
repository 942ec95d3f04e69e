//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper::{Request, body};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keyward::http::{Endless, PeerAddress};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::ConnectionPolicy;
use super::deadline_body::DeadlineBody;
use super::endless_body::EndlessBody;

/// What a connection is served with.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) router: Router,
    pub(super) policy: Arc<ConnectionPolicy>,
    pub(super) closing: watch::Receiver<bool>,
}

impl Connection {
    /// Serves every request that comes, until the client, a bound or the service's end closes the
    /// connection. What goes wrong on the way is the client's affair and worth a debug line.
    pub(super) async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are small and whole; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.serve_http1(TokioIo::new(stream)).await;
        };
        match time::timeout(self.policy.handshake_timeout, tls.accept(stream)).await {
            Err(_) => tracing::debug!("a TLS handshake took too long"),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            // What was agreed on is what is spoken; the bytes are never guessed from.
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.serve_http2(TokioIo::new(stream)).await;
            }
            Ok(Ok(stream)) => self.serve_http1(TokioIo::new(stream)).await,
        }
    }

    async fn serve_http1(self, io: impl Read + Write + Unpin) {
        let activity = Arc::new(Activity::default());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.policy.head_timeout)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(HTTP1_BUFFER_BYTES)
            .serve_connection(io, self.requests(&activity));
        self.drive(connection, &activity).await;
    }

    pub(super) async fn serve_http2(self, io: impl Read + Write + Unpin) {
        let activity = Arc::new(Activity::default());
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(self.policy.head_timeout)
            .keep_alive_timeout(self.policy.head_timeout)
            .serve_connection(io, self.requests(&activity));
        self.drive(connection, &activity).await;
    }

    fn requests(&self, activity: &Arc<Activity>) -> Requests {
        Requests {
            peer: self.peer,
            router: self.router.clone(),
            body_timeout: self.policy.body_timeout,
            activity: Arc::clone(activity),
            closing: self.closing.clone(),
        }
    }

    /// Runs the connection, and closes it when the service ends or nothing happens.
    async fn drive<C>(mut self, connection: C, activity: &Activity)
    where
        C: Drainable,
        C::Output: EndOfConnection,
    {
        let mut connection = std::pin::pin!(connection);
        let mut idle = time::interval(self.policy.idle_timeout);
        idle.reset();
        let mut seen = activity.steps();
        let mut is_draining = false;
        loop {
            tokio::select! {
                end = connection.as_mut() => return end.note(),
                _ = self.closing.wait_for(|closing| *closing), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().drain();
                }
                _ = idle.tick() => {
                    let is_idle = activity.running() == 0 && activity.steps() == seen;
                    seen = activity.steps();
                    match (is_idle, is_draining) {
                        // Its client was told to go and neither reads nor leaves.
                        (true, true) => return,
                        (true, false) => {
                            is_draining = true;
                            connection.as_mut().drain();
                        }
                        (false, _) => {}
                    }
                }
            }
        }
    }
}

/// Hands each request of a connection to the router, with the peer's address and a deadline on its
/// body.
struct Requests {
    peer: SocketAddr,
    router: Router,
    body_timeout: Duration,
    activity: Arc<Activity>,
    closing: watch::Receiver<bool>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(|body| Body::new(DeadlineBody::new(body, self.body_timeout)));
        request.extensions_mut().insert(PeerAddress(self.peer));
        let running = self.activity.begin();
        let answer = self.router.clone().oneshot(request);
        let (activity, closing) = (Arc::clone(&self.activity), self.closing.clone());
        Box::pin(async move {
            let answer = answer.await?;
            drop(running);
            if answer.extensions().get::<Endless>().is_none() {
                return Ok(answer);
            }
            Ok(answer.map(|body| Body::new(EndlessBody::new(body, activity, closing))))
        })
    }
}

/// A connection that can be told to take no more requests and end after the running ones.
trait Drainable: Future {
    fn drain(self: Pin<&mut Self>);
}

impl<I, S, B> Drainable for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: body::Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B> Drainable for http2::Connection<I, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// How a connection ended.
trait EndOfConnection {
    fn note(self);
}

impl EndOfConnection for hyper::Result<()> {
    fn note(self) {
        if let Err(error) = self {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Whether anything happens on a connection: requests begun and pieces of endless answers taken so
/// far, and requests that are running.
#[derive(Debug, Default)]
pub(super) struct Activity {
    steps: AtomicU64,
    running: AtomicU64,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Running {
        self.step();
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Notes that something happened.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }
}

/// A request that is running, until this is dropped.
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The largest head of a request, as the HTTP contract has it.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Room for the largest head and what came with it.
const HTTP1_BUFFER_BYTES: usize = 2 * HEAD_BYTES_MAX;

const HTTP2_STREAMS_MAX: u32 = 100;
