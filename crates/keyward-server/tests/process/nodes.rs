//! Several nodes of one service, behind a balancer that remembers nobody.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::client::{Client, Tokens};
use crate::place::{BINARY, Place, Running};

/// The nodes, each in a folder of its own.
pub(crate) struct Nodes {
    slots: Vec<Slot>,
    environment: Vec<(&'static str, String)>,
    turn: AtomicUsize,
}

/// Room for one node. It is empty while the node is down.
struct Slot {
    place: Place,
    binary: PathBuf,
    running: Mutex<Option<Running>>,
}

impl Nodes {
    /// One node, with SQLite.
    pub(crate) fn on_sqlite() -> Self {
        Self::start(vec![BINARY.into()], &[])
    }

    /// Two nodes on the PostgreSQL database of this URL, which says who signs in.
    #[cfg(feature = "postgres")]
    pub(crate) fn on_postgres(url: &str) -> Self {
        Self::of_two_versions(url, BINARY.into())
    }

    /// As [`Nodes::on_postgres`], the second one by another version's binary.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_two_versions(url: &str, other: PathBuf) -> Self {
        Self::start(vec![BINARY.into(), other], &[("KEYWARD_STORE__URL", url.to_owned())])
    }

    /// One node for each binary. They share the key that the first one makes.
    fn start(binaries: Vec<PathBuf>, environment: &[(&'static str, String)]) -> Self {
        let slot = |binary| Slot { place: Place::new(), binary, running: Mutex::new(None) };
        let nodes = Self {
            slots: binaries.into_iter().map(slot).collect(),
            environment: environment.to_vec(),
            turn: AtomicUsize::new(0),
        };
        nodes.restart(0);
        for number in 1..nodes.count() {
            let [from, to] = [0, number].map(|slot| nodes.slots[slot].place.file(KEY));
            fs::copy(from, to).expect("a copy");
            nodes.restart(number);
        }
        nodes
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// A connection to the next node that is up. Where none is, it is refused.
    pub(crate) fn try_connect(&self) -> io::Result<Client> {
        for _ in 0..self.count() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.count();
            let address = self.running(turn).as_ref().map(|running| running.address);
            if let Some(Ok(client)) = address.map(Client::connect) {
                return Ok(client);
            }
        }
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    /// As [`Nodes::try_connect`], where a node is known to be up.
    pub(crate) fn connect(&self) -> Client {
        self.try_connect().expect("a node is up")
    }

    /// Where this node listens.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        self.running(number).as_ref().expect("the node is up").address
    }

    /// The process of this node.
    #[cfg(feature = "postgres")]
    pub(crate) fn id(&self, number: usize) -> u32 {
        self.running(number).as_ref().expect("the node is up").id()
    }

    /// A connection to this node.
    pub(crate) fn connect_to(&self, number: usize) -> Client {
        self.running(number).as_ref().expect("the node is up").connect()
    }

    /// Makes an account and signs in.
    pub(crate) fn register(&self, email: &str) -> Tokens {
        self.running(0).as_ref().expect("the node is up").register(email)
    }

    pub(crate) fn login(&self, email: &str) -> Tokens {
        let answer = self.connect().login(email, crate::place::PASSWORD).expect("answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.tokens()
    }

    /// Sends SIGKILL to this node.
    pub(crate) fn kill(&self, number: usize) {
        let running = self.running(number).take();
        running.expect("the node is up").kill();
    }

    /// Starts this node, which is down.
    pub(crate) fn restart(&self, number: usize) {
        let environment: Vec<_> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Slot { place, binary, .. } = &self.slots[number];
        let running = place.serve_by(binary, &environment);
        *self.running(number) = Some(running);
    }

    /// Ends every node in order.
    pub(crate) fn stop(&self) {
        for slot in &self.slots {
            if let Some(running) = slot.running.lock().expect("no panic").take() {
                running.stop();
            }
        }
    }

    /// What a command that succeeds prints, beside the first node.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let mut command = self.slots[0].place.keyward(arguments);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        let output = command.envs(environment).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// See [`Place::age_keys`]; for nodes with SQLite.
    pub(crate) fn age_keys(&self, purpose: &str) {
        self.slots[0].place.age_keys(purpose);
    }

    /// See [`Place::hasten_keys`]; for nodes with SQLite.
    pub(crate) fn hasten_keys(&self) {
        self.slots[0].place.hasten_keys();
    }

    /// Looks at the database behind the store's back, where it is a file.
    pub(crate) fn assert_database_is_sound(&self) {
        if self.environment.is_empty() {
            self.slots[0].place.assert_database_is_sound();
        }
    }

    fn running(&self, number: usize) -> MutexGuard<'_, Option<Running>> {
        self.slots[number].running.lock().expect("no panic")
    }
}

const KEY: &str = "keyward.master-key";
