//! The connection that requests use while there is one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::ValkeySettings;

/// One connection for all requests, or its absence.
pub(super) struct Link {
    client: Client,
    /// Of each call.
    deadline: Duration,
    state: RwLock<State>,
    /// How many connections there have been.
    opened: AtomicU64,
    lost: Notify,
}

enum State {
    /// Nobody has asked yet.
    Unasked,
    Away,
    There(Connection),
}

#[derive(Clone)]
struct Connection {
    /// The how-manyeth it is: who was slow over one must not take away the next.
    number: u64,
    multiplexed: MultiplexedConnection,
}

impl Link {
    pub(super) fn new(settings: &ValkeySettings) -> Self {
        let (client, deadline) = (settings.client(), settings.deadline);
        let (state, opened) = (RwLock::new(State::Unasked), AtomicU64::new(0));
        Self { client, deadline, state, opened, lost: Notify::new() }
    }

    /// For connections of another kind.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_there(&self) -> bool {
        matches!(*self.read(), State::There(_))
    }

    /// Waits until a call has lost the connection.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Connects, and lets requests have the connection if the server answers `ask` over it.
    pub(super) async fn open<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, ValkeyError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        // Deadlines are those around calls: one of a call may have several steps.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connect = self.client.get_multiplexed_async_connection_with_config(&config);
        let opened = async {
            let multiplexed = within(CONNECT_MAX, connect).await?;
            let answer = within(self.deadline, ask(multiplexed.clone())).await?;
            Ok((multiplexed, answer))
        };
        match opened.await {
            Ok((multiplexed, answer)) => {
                self.install(multiplexed);
                Ok(answer)
            }
            Err(error) => {
                let mut state = self.write();
                if matches!(*state, State::Unasked) {
                    state.leave(&error);
                }
                Err(error)
            }
        }
    }

    /// Asks over the connection that is there. One that fails to answer in time is there no longer,
    /// and neither is one whose server refuses.
    pub(super) async fn call<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, ValkeyError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.ask(ask, |_| true).await
    }

    /// As [`Link::call`], for what counts do without: a server whose user may not do it counts on.
    pub(super) async fn call_beside<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, ValkeyError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.ask(ask, |error| !error.is_refusal).await
    }

    async fn ask<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
        is_loss: impl FnOnce(&ValkeyError) -> bool,
    ) -> Result<T, ValkeyError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let connection = match &*self.read() {
            State::There(connection) => connection.clone(),
            State::Unasked | State::Away => {
                return Err(ValkeyError::new("it was away when last asked".to_owned()));
            }
        };
        let answer = within(self.deadline, ask(connection.multiplexed)).await;
        answer.inspect_err(|error| {
            if is_loss(error) {
                self.lose(connection.number, error);
            }
        })
    }

    fn install(&self, multiplexed: MultiplexedConnection) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut state = self.write();
        if !matches!(*state, State::There(_)) {
            tracing::info!("the shared state is reachable: limits count for all nodes together");
        }
        *state = State::There(Connection { number, multiplexed });
    }

    fn lose(&self, number: u64, why: &ValkeyError) {
        let mut state = self.write();
        if matches!(&*state, State::There(connection) if connection.number == number) {
            state.leave(why);
            self.lost.notify_one();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Each change puts one whole value in place of another.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Said once, however many requests notice.
    fn leave(&mut self, why: &ValkeyError) {
        *self = Self::Away;
        tracing::warn!("the shared state is unreachable, limits count on this node alone: {why}");
    }
}

/// Never what was asked, and no password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_there", &self.is_there()).finish_non_exhaustive()
    }
}

/// Why the server is of no use: for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValkeyError {
    why: String,
    /// It has answered that this user may not do it.
    is_refusal: bool,
}

impl ValkeyError {
    fn new(why: String) -> Self {
        Self { why, is_refusal: false }
    }

    pub(super) const fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// Says what was asked on behalf of hints, and which rights that takes.
    pub(super) fn of_hints(mut self, asked: &str) -> Self {
        if self.is_refusal {
            self.why = format!("{asked} is refused ({}); {HINTS_NEED}", self.why);
        }
        self
    }
}

impl fmt::Display for ValkeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for ValkeyError {}

impl From<RedisError> for ValkeyError {
    fn from(error: RedisError) -> Self {
        Self { why: error.to_string(), is_refusal: error.code() == Some("NOPERM") }
    }
}

/// Waits for an answer, but not for long.
pub(super) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T, ValkeyError> {
    match timeout(deadline, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ValkeyError::new(format!("no answer within {} ms", deadline.as_millis()))),
    }
}

/// What to write in the server's configuration; docs/valkey.md has the whole line.
const HINTS_NEED: &str =
    "hints need these rights of its user: &keyward:* +publish +subscribe +ping";

/// How long a server may take to accept a connection, with TLS and its password.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);
