//! The line to the server, which a test can hold or cut.

use std::net::SocketAddr;

use keyward::store::PostgresSettings;
use keyward::store::postgres::fresh::FreshDatabase;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to whatever is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It arrives.
    Open,
    /// It stays on the way: a server that was stopped, or a network that drops everything.
    Held,
    /// Every connection ends, and none is made.
    Cut,
}

/// A port on loopback through which a server is reached.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    state: watch::Sender<State>,
    _carriers: JoinSet<()>,
}

impl Line {
    /// A line to this server, open.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, states) = watch::channel(State::Open);
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, server.clone(), states.clone()));
            }
        });
        Self { address, state, _carriers: carriers }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// The database with the service's rights, through this line.
    pub(crate) fn settings(&self, database: &FreshDatabase) -> PostgresSettings {
        settings(&through(&database.service_url(), &self.address.to_string()))
    }
}

/// The settings of a URL.
pub(crate) fn settings(url: &str) -> PostgresSettings {
    PostgresSettings::parse(url, std::path::Path::new(".")).expect("a URL")
}

/// Host and port of a URL.
pub(crate) fn place(url: &str) -> &str {
    let (_, rest) = url.rsplit_once('@').expect("a role");
    rest.split('/').next().expect("a host")
}

/// The URL with another host and port.
pub(crate) fn through(url: &str, address: &str) -> String {
    url.replace(&format!("@{}/", place(url)), &format!("@{address}/"))
}

async fn carry(mut near: TcpStream, server: String, mut states: watch::Receiver<State>) {
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    loop {
        let state = *states.borrow_and_update();
        match state {
            State::Cut => return,
            State::Held => {
                if states.changed().await.is_err() {
                    return;
                }
            }
            State::Open => tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => return,
                _ = states.changed() => {}
            },
        }
    }
}
