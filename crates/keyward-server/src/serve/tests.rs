use std::convert::Infallible;
use std::future::pending;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyward::http::{Endless, PeerAddress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

/// A service on loopback with bounds that a test can wait for.
struct Served {
    address: SocketAddr,
    stops: mpsc::Sender<()>,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
    end: JoinHandle<End>,
}

impl Served {
    async fn start(policy: ConnectionPolicy) -> Self {
        let listener =
            bind("127.0.0.1:0".parse().expect("an address"), "--listen").await.expect("bound");
        let address = listener.address();
        let (stops, mut stopped) = mpsc::channel(2);
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let router = router_of(&entered, &leave);
        #[expect(clippy::disallowed_methods, reason = "the service runs beside its client")]
        let end =
            tokio::spawn(async move { run(listener, None, router, policy, &mut stopped).await });
        Self { address, stops, entered, leave, end }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    async fn stop(&self) {
        self.stops.send(()).await.expect("still serving");
    }
}

fn router_of(entered: &Arc<Notify>, leave: &Arc<Notify>) -> Router {
    let (entered, leave) = (Arc::clone(entered), Arc::clone(leave));
    Router::new()
        .route("/", get(|axum::Extension(PeerAddress(peer))| async move { peer.ip().to_string() }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route(
            "/wait",
            get(|| async move {
                entered.notify_one();
                leave.notified().await;
                "waited"
            }),
        )
        .route("/forever", get(|| async { pending::<&str>().await }))
        .route("/ticks", get(|| async { endless(ticks()) }))
        .route("/flood", get(|| async { endless(stream::repeat(())) }))
}

/// An answer that goes on as long as this does.
fn endless(parts: impl Stream<Item = ()> + Send + 'static) -> axum::response::Response {
    let chunks = parts.map(|()| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096])));
    let mut response = Body::from_stream(chunks).into_response();
    response.extensions_mut().insert(Endless);
    response
}

/// Something, several times within [`SOON`].
fn ticks() -> impl Stream<Item = ()> {
    stream::unfold((), |()| async {
        time::sleep(SOON / 5).await;
        Some(((), ()))
    })
}

fn patient() -> ConnectionPolicy {
    const LONG: Duration = Duration::from_secs(60);
    ConnectionPolicy {
        connections_max: 16,
        per_address_max: 16,
        shared_addresses: Vec::new(),
        handshake_timeout: LONG,
        head_timeout: LONG,
        body_timeout: LONG,
        idle_timeout: LONG,
        shutdown_timeout: LONG,
    }
}

/// Sends bytes and reads until the service closes the connection.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is an end too: the service may close with bytes of ours unread.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

const SOON: Duration = Duration::from_millis(50);

/// Longer than a busy machine keeps a task waiting.
const A_WHILE: Duration = Duration::from_secs(2);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn answers_and_tells_the_router_the_peer() {
    let served = Served::start(patient()).await;
    let answer = exchange(&mut served.connect().await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let served = Served::start(ConnectionPolicy { head_timeout: SOON, ..patient() }).await;
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let answer = exchange(&mut served.connect().await, begun).await;
        assert!(!answer.contains(" 200 "), "{begun}: {answer}");
    }
    // The wait for a next request is bounded likewise: the connection is kept, and then closed.
    let kept = GET.replace("close", "keep-alive");
    let answer = exchange(&mut served.connect().await, &kept).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_cut() {
    let served = Served::start(ConnectionPolicy { body_timeout: SOON, ..patient() }).await;
    let begun = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";
    let answer = exchange(&mut served.connect().await, begun).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let whole = begun.replace("\r\n\r\nab", "\r\nConnection: close\r\n\r\nabcd");
    let answer = exchange(&mut served.connect().await, &whole).await;
    assert!(answer.ends_with("abcd"), "{answer}");
}

#[tokio::test]
async fn a_head_beyond_32_kib_is_refused() {
    let served = Served::start(patient()).await;
    let with_header =
        |bytes: usize| GET.replace("Host", &format!("X: {}\r\nHost", "x".repeat(bytes)));
    let answer = exchange(&mut served.connect().await, &with_header(31 * 1024)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = exchange(&mut served.connect().await, &with_header(33 * 1024)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_slot() {
    let served = Served::start(ConnectionPolicy { connections_max: 1, ..patient() }).await;
    let mut first = served.connect().await;
    first.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;

    let mut second = served.connect().await;
    second.write_all(GET.as_bytes()).await.expect("sent");
    let mut byte = [0];
    time::timeout(SOON, second.read(&mut byte)).await.expect_err("no slot is free");

    served.leave.notify_one();
    assert!(exchange(&mut first, "").await.ends_with("waited"));
    assert!(exchange(&mut second, "").await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn one_address_cannot_take_every_slot() {
    let bounds = ConnectionPolicy { per_address_max: 1, ..patient() };
    let served = Served::start(bounds.clone()).await;
    let mut first = served.connect().await;
    first.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;
    assert_eq!(exchange(&mut served.connect().await, "").await, "");
    served.leave.notify_one();
    assert!(exchange(&mut first, "").await.ends_with("waited"));

    let shared_addresses = vec!["127.0.0.0/8".parse().expect("a network")];
    let served = Served::start(ConnectionPolicy { shared_addresses, ..bounds }).await;
    let _first = served.connect().await;
    assert!(exchange(&mut served.connect().await, GET).await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn idle_connections_are_closed_and_running_requests_are_not() {
    let served = Served::start(ConnectionPolicy { idle_timeout: SOON, ..patient() }).await;
    assert_eq!(exchange(&mut served.connect().await, "").await, "");

    let mut waiting = served.connect().await;
    waiting.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;
    let mut byte = [0];
    time::timeout(4 * SOON, waiting.read(&mut byte)).await.expect_err("still running");
    served.leave.notify_one();
    assert!(exchange(&mut waiting, "").await.ends_with("waited"));
}

/// Nothing bounds the wait for the first bytes of HTTP/2 but the idle timeout.
#[tokio::test]
async fn a_silent_http2_connection_is_closed() {
    let (closing, closed) = watch::channel(false);
    let connection = Connection {
        peer: "127.0.0.1:4711".parse().expect("an address"),
        router: Router::new(),
        policy: Arc::new(ConnectionPolicy { idle_timeout: SOON, ..patient() }),
        closing: closed,
    };
    let (_client, server) = tokio::io::duplex(1024);
    let served = connection.serve_http2(TokioIo::new(server));
    time::timeout(20 * SOON, served).await.expect("closed");
    drop(closing);
}

#[tokio::test]
async fn the_end_waits_for_running_requests_and_for_nothing_else() {
    let served = Served::start(patient()).await;
    let mut idle = served.connect().await;
    let mut running = served.connect().await;
    running.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;

    served.stop().await;
    assert_eq!(exchange(&mut idle, "").await, "");
    TcpStream::connect(served.address).await.expect_err("nobody listens any more");
    served.leave.notify_one();
    assert!(exchange(&mut running, "").await.ends_with("waited"));
    assert_eq!(served.end.await.expect("no panic"), End::Drained);
}

#[tokio::test]
async fn the_end_is_bounded() {
    let served = Served::start(ConnectionPolicy { shutdown_timeout: SOON, ..patient() }).await;
    let mut running = served.connect().await;
    running.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;
    served.stop().await;
    assert_eq!(served.end.await.expect("no panic"), End::Cut { connections: 1 });
}

#[tokio::test]
async fn a_second_stop_ends_at_once() {
    let served = Served::start(patient()).await;
    let mut running = served.connect().await;
    running.write_all(GET.replace("/ ", "/wait ").as_bytes()).await.expect("sent");
    served.entered.notified().await;
    served.stop().await;
    served.stop().await;
    assert_eq!(served.end.await.expect("no panic"), End::Cut { connections: 1 });
}

#[tokio::test]
async fn an_endless_answer_that_is_read_is_no_idle_connection() {
    let served = Served::start(ConnectionPolicy { idle_timeout: A_WHILE, ..patient() }).await;
    let mut reading = served.connect().await;
    reading.write_all(GET.replace("/ ", "/ticks ").as_bytes()).await.expect("sent");
    let (mut bytes, began) = ([0; 8192], time::Instant::now());
    while began.elapsed() < 2 * A_WHILE {
        assert_ne!(reading.read(&mut bytes).await.expect("more"), 0, "{:?}", began.elapsed());
    }
}

/// What it would be sent fills the buffers of the system and no more.
#[tokio::test]
async fn an_endless_answer_that_is_not_read_is_cut() {
    let policy = ConnectionPolicy { connections_max: 1, idle_timeout: SOON, ..patient() };
    let served = Served::start(policy).await;
    let mut silent = served.connect().await;
    silent.write_all(GET.replace("/ ", "/flood ").as_bytes()).await.expect("sent");
    // There is no other slot than the one that is taken from it.
    let answer = exchange(&mut served.connect().await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_end_waits_for_no_endless_answer() {
    let served = Served::start(patient()).await;
    let mut reading = served.connect().await;
    let request = GET.replace("/ ", "/ticks ").replace("close", "keep-alive");
    reading.write_all(request.as_bytes()).await.expect("sent");
    assert_ne!(reading.read(&mut [0; 64]).await.expect("begun"), 0);
    served.stop().await;
    let rest = exchange(&mut reading, "").await;
    assert!(rest.ends_with("0\r\n\r\n"), "it ends in order");
    assert_eq!(served.end.await.expect("no panic"), End::Drained);
}

/// Over HTTP/2 too: it lasts while it is read, and ends with the service.
#[tokio::test]
async fn an_endless_answer_over_http2_ends_with_the_service() {
    let (closing, closed) = watch::channel(false);
    let connection = Connection {
        peer: "127.0.0.1:4711".parse().expect("an address"),
        router: Router::new().route("/ticks", get(|| async { endless(ticks()) })),
        policy: Arc::new(ConnectionPolicy { idle_timeout: A_WHILE, ..patient() }),
        closing: closed,
    };
    let (client, server) = tokio::io::duplex(64 * 1024);
    let served = connection.serve_http2(TokioIo::new(server));
    let reading = async {
        let executor = TokioExecutor::new();
        let opened = hyper::client::conn::http2::handshake(executor, TokioIo::new(client)).await;
        let (mut sender, connection) = opened.expect("HTTP/2");
        let request = axum::http::Request::get("http://a/ticks").body(Body::empty());
        let read = async move {
            let answer = sender.send_request(request.expect("a request")).await.expect("sent");
            let mut body = answer.into_body();
            let began = time::Instant::now();
            while let Some(frame) = body.frame().await {
                frame.expect("it ends in order");
                closing.send_replace(began.elapsed() > 2 * A_WHILE);
            }
            assert!(began.elapsed() > 2 * A_WHILE, "{:?}", began.elapsed());
        };
        let (_, ()) = tokio::join!(connection, read);
    };
    let ((), ()) = tokio::join!(served, reading);
}
