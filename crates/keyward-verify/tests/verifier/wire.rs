//! A wire between a verifier and its service, on which what the service says takes time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The wire, for as long as it is held.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    delay_millis: Arc<AtomicU64>,
    _carriers: JoinSet<()>,
}

impl Wire {
    /// To the service at this address. It delays nothing yet.
    pub(crate) async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let delay_millis = Arc::new(AtomicU64::new(0));
        let mut carriers = JoinSet::new();
        carriers.spawn(accept(listener, service, Arc::clone(&delay_millis)));
        Self { address, delay_millis, _carriers: carriers }
    }

    /// Delays by this, each byte that the service says from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short delay");
        self.delay_millis.store(millis, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, service: SocketAddr, delay_millis: Arc<AtomicU64>) {
    let mut carriers = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.expect("it listens");
        let Ok(far) = TcpStream::connect(service).await else { continue };
        let delay_millis = Arc::clone(&delay_millis);
        carriers.spawn(async move { drop(carry(near, far, delay_millis).await) });
    }
}

async fn carry(near: TcpStream, far: TcpStream, delay_millis: Arc<AtomicU64>) -> io::Result<()> {
    let (mut from_near, to_near) = near.into_split();
    let (from_far, mut to_far) = far.into_split();
    let (pieces, due) = mpsc::unbounded_channel();
    // Whoever of them ends first ends the connection.
    tokio::select! {
        asked = tokio::io::copy(&mut from_near, &mut to_far) => asked.map(drop),
        heard = hear(from_far, pieces, delay_millis) => heard,
        said = say(due, to_near) => said,
    }
}

type Piece = (Instant, Vec<u8>);

async fn hear(
    mut from: OwnedReadHalf,
    pieces: mpsc::UnboundedSender<Piece>,
    delay_millis: Arc<AtomicU64>,
) -> io::Result<()> {
    loop {
        let mut piece = Vec::new();
        if from.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        let delay = Duration::from_millis(delay_millis.load(Ordering::SeqCst));
        drop(pieces.send((Instant::now() + delay, piece)));
    }
}

async fn say(mut due: mpsc::UnboundedReceiver<Piece>, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some((at, piece)) = due.recv().await {
        sleep_until(at).await;
        to.write_all(&piece).await?;
    }
    Ok(())
}
