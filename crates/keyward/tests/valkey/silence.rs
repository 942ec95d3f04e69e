//! A server that vanishes without a word: what was sent to it stays on the way for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::hints::Ear;
use super::server::{PASSWORD, Server, settings};

/// Nobody says that the subscription is gone, so it has to ask: after some seconds of silence.
#[tokio::test]
async fn a_subscription_that_nobody_answers_is_made_anew() {
    let server = Server::start().await;
    let line = Line::to(&server).await;
    let one = Ear::on(&server).await;
    let other = Ear::reaching(&settings(&line.url())).await;
    for ear in [&one, &other] {
        ear.hear().await;
    }
    line.hold();
    one.send();
    one.hear().await;
    // It begins anew, with the hint for what it has missed.
    timeout(PATIENCE, other.hear()).await.expect("a subscription over another connection");
    one.send();
    other.hear().await;
}

/// A port on loopback through which a server is reached.
struct Line {
    address: SocketAddr,
    hold: Arc<watch::Sender<()>>,
    _carriers: JoinSet<()>,
}

impl Line {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let hold = Arc::new(watch::Sender::new(()));
        let (port, holding) = (server.port, Arc::clone(&hold));
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, port, holding.subscribe()));
            }
        });
        Self { address, hold, _carriers: carriers }
    }

    /// Keeps every connection that there is, and carries nothing over it any more.
    fn hold(&self) {
        self.hold.send_replace(());
    }

    fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address)
    }
}

async fn carry(mut near: TcpStream, port: u16, mut held: watch::Receiver<()>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        biased;
        _ = held.changed() => std::future::pending().await,
        _ = copy_bidirectional(&mut near, &mut far) => {}
    }
}

/// Ten times what it takes.
const PATIENCE: Duration = Duration::from_secs(60);
