//! One axum route with and without the layer before it, over loopback on kept connections.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use axum::Router;
use axum::routing::get;
use keyward_bench_peers::Issuer;
use keyward_verify::{Algorithm, VerifyLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cpu::{median, thread_nanos};

/// Requests per CPU-second of the server, with the layer as a share of those without.
pub(crate) fn compare() -> io::Result<()> {
    let issuer = Issuer::new(Algorithm::Es256);
    let verifier = Arc::new(issuer.verifier(10_000, 1));
    let tokens: Vec<String> = (0..CONNECTIONS).map(|number| issuer.token(number)).collect();
    let bare = serve(routes());
    let behind = serve(routes().layer(VerifyLayer::new(verifier)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut bare_costs, mut behind_costs, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = runtime.block_on(cost(bare, &tokens))?;
        let behind = runtime.block_on(cost(behind, &tokens))?;
        // The first round sees the tokens for the first time.
        if round > 0 {
            bare_costs.push(bare);
            behind_costs.push(behind);
            shares.push(bare / behind);
        }
    }
    let (bare, behind) = (median(bare_costs) / 1e3, median(behind_costs) / 1e3);
    let mut out = io::stdout();
    writeln!(out, "axum route, bare                        {bare:8.2} µs")?;
    writeln!(out, "axum route behind the layer             {behind:8.2} µs")?;
    writeln!(out, "behind the layer / bare, requests       {:8.2}", median(shares))
}

fn routes() -> Router {
    let cpu = async || thread_nanos().to_string();
    Router::new().route("/", get(async || r#"{"status":"ok"}"#)).route("/cpu", get(cpu))
}

/// A server on a thread of its own.
fn serve(app: Router) -> SocketAddr {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            send.send(listener.local_addr()?).map_err(io::Error::other)?;
            axum::serve(listener, app).await
        })
    });
    receive.recv().expect("the server says where it is")
}

/// CPU time of the server's thread for each request, in nanoseconds.
async fn cost(address: SocketAddr, tokens: &[String]) -> io::Result<f64> {
    let mut connections = Vec::new();
    for token in tokens {
        let request = |path| {
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push((stream, request("/"), request("/cpu")));
    }
    let began = ask_cpu(&mut connections[0]).await?;
    for _ in 0..REQUESTS {
        for (stream, request, _) in &mut connections {
            stream.write_all(request.as_bytes()).await?;
        }
        for (stream, _, _) in &mut connections {
            answer(stream).await?;
        }
    }
    let ended = ask_cpu(&mut connections[0]).await?;
    Ok((ended - began) as f64 / (REQUESTS * CONNECTIONS) as f64)
}

async fn ask_cpu((stream, _, request): &mut (TcpStream, String, String)) -> io::Result<u64> {
    stream.write_all(request.as_bytes()).await?;
    let text = answer(stream).await?;
    let number = text.rsplit("\r\n").next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// One short answer of status 200, which comes in one piece.
async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let length = stream.read(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    if text.starts_with("HTTP/1.1 200") { Ok(text) } else { Err(io::Error::other(text)) }
}

const ROUNDS: usize = 7;
const CONNECTIONS: u64 = 16;
const REQUESTS: u64 = 1000;
