//! The accept loop: from a socket to the router.
//!
//! Whoever connects is a stranger, so everything here has a bound: how many connections there are,
//! how long a handshake, a head and a body may take, how large a head may be, how long nothing may
//! happen, and how long the end may take.

mod claim;
mod connection;
mod deadline_body;
mod endless_body;
pub(crate) mod ops;
mod shares;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use keyward::policy::Policy;
use keyward::service::Keyward;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::TlsAcceptor;

use crate::config::Configuration;
use crate::failure::Failure;
use connection::Connection;
use shares::Shares;

pub(crate) use claim::Claim;
pub(crate) use tls::tls_from;

/// A bound socket that accepts nothing yet.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Where it listens; the port is a real one.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds an address, which the operator can change by `option`.
pub(crate) async fn bind(address: SocketAddr, option: &str) -> Result<Listener, Failure> {
    let bound = async {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    };
    bound.await.map_err(|error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; take",
            io::ErrorKind::AddrNotAvailable => "no interface here has this address; take",
            _ => "stop what listens there or take",
        };
        Failure::new(format!(
            "Cannot listen on {address} ({error}); {advice} another address with {option}."
        ))
    })
}

/// The service's routes.
pub(crate) fn router(keyward: Arc<Keyward>) -> Result<Router, Failure> {
    keyward::http::router(keyward).map_err(|_| unkept_cookies())
}

/// The description of the routes.
pub(crate) fn description(policy: &Policy) -> Result<String, Failure> {
    keyward::http::openapi(policy).map_err(|_| unkept_cookies())
}

fn unkept_cookies() -> Failure {
    Failure::new("No browser would keep cookies of these names; mend the section [cookies].")
}

/// The bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionPolicy {
    /// How many connections are served at once; the next ones wait in the system's queue.
    pub(crate) connections_max: usize,
    /// How many of them one address may hold; one more is closed at once.
    pub(crate) per_address_max: usize,
    /// Addresses that many clients share, and that hold any number: proxies, and this machine.
    pub(crate) shared_addresses: Vec<IpNet>,
    /// How long a TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// How long the head of a request may take, the wait for it on a kept connection included.
    pub(crate) head_timeout: Duration,
    /// How long the body of a request may take. Where the router has a deadline of its own, this is
    /// a later one: it closes the connection of whoever is past both, and answers nobody.
    pub(crate) body_timeout: Duration,
    /// After how long without a request an HTTP/2 connection, or one whose client does not read,
    /// is closed: at least once and at most twice this.
    pub(crate) idle_timeout: Duration,
    /// How long running requests may take to end once the service is told to stop.
    pub(crate) shutdown_timeout: Duration,
}

impl ConnectionPolicy {
    /// The bounds of a configured service.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let connections_max = configuration.server.connections_max;
        let loopback = ["127.0.0.0/8", "::1/128"].map(|text| text.parse::<IpNet>());
        let proxies = configuration.policy.web.trusted_proxies.iter().copied();
        Self {
            connections_max,
            per_address_max: connections_max.div_ceil(4),
            shared_addresses: loopback.into_iter().flatten().chain(proxies).collect(),
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: configuration.policy.web.request_timeout + Duration::from_secs(1),
            idle_timeout: Duration::from_secs(30),
            shutdown_timeout: configuration.server.shutdown_timeout,
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Every request was answered.
    Drained,
    /// Some connections were cut off.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// Serves until the first message of `stops`, then lets running requests end until the shutdown
/// timeout or the second message.
pub(crate) async fn run(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    router: Router,
    policy: ConnectionPolicy,
    stops: &mut mpsc::Receiver<()>,
) -> End {
    let slots = Arc::new(Semaphore::new(policy.connections_max));
    let shares = Shares::new(policy.per_address_max, &policy.shared_addresses);
    let (closing, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let policy = Arc::new(policy);
    loop {
        let (stream, peer, slot) = tokio::select! {
            _ = stops.recv() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener.socket, &slots) => accepted,
        };
        let Some(share) = shares.take(peer.ip()) else {
            tracing::debug!(peer = %peer.ip(), "an address holds too many connections");
            continue;
        };
        let connection = Connection {
            peer,
            router: router.clone(),
            policy: Arc::clone(&policy),
            closing: closing.subscribe(),
        };
        let tls = tls.clone();
        connections.spawn(async move {
            connection.serve(stream, tls).await;
            drop((share, slot));
        });
    }
    // Whoever connects from here on is refused by the system instead of being kept waiting.
    drop(listener);
    closing.send_replace(true);
    drain(connections, policy.shutdown_timeout, stops).await
}

async fn drain(
    mut connections: JoinSet<()>,
    timeout: Duration,
    stops: &mut mpsc::Receiver<()>,
) -> End {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all_ended => return End::Drained,
        () = time::sleep(timeout) => {}
        _ = stops.recv() => {}
    }
    match connections.len() {
        0 => End::Drained,
        connections => End::Cut { connections },
    }
}

/// The next connection, once there is a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Most likely no file descriptor is free. Trying at once would spin until one is.
                tracing::error!(%error, "cannot accept connections; trying again soon");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about a client that went away, not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
