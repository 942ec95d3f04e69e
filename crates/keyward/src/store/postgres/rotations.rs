//! Exchanges of refresh tokens that share a commit.
//!
//! A commit waits for the disk of the server once, however many rows it changes. So only a few
//! commits of exchanges are on their way at once, on lanes. An exchange that finds a lane free is
//! sent at once and alone, unless another of its session is. Those that find none wait together, as
//! a batch, until all lanes are free: one statement, one commit, and an outcome for each of them.
//!
//! No task is started. A batch is a future that all its callers share: whoever of them is awake
//! drives it, and it goes on as long as one of them is left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use keyward_core::audit::AuditContext;
use keyward_core::id::SessionId;
use keyward_core::session::Swap;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

use super::connection::{Connections, PATIENCE, WAIT_MAX, unavailable};
use super::{PostgresSettings, sessions};
use crate::store::load::CommitCounts;
use crate::store::{Commits, RotateOutcome, StoreError};

/// The way of every exchange to the server.
pub(super) struct Rotations {
    connections: Arc<Connections>,
    /// `None`: no commit is shared.
    lanes: Option<Lanes>,
    turns: Turns,
    /// One permit for each exchange that may wait for a lane or its turn.
    room: Semaphore,
    committed: Arc<CommitCounts>,
    /// The batch that was opened last. It may be full, sent or deserted by now.
    newest: Mutex<Option<Batch>>,
}

impl Rotations {
    /// Nothing is on its way yet.
    pub(super) fn new(connections: Arc<Connections>, settings: &PostgresSettings) -> Self {
        Self {
            connections,
            lanes: settings.shares_commits.then(|| Lanes::new(settings.connections_max)),
            turns: Turns::default(),
            room: Semaphore::new(WAITING_MAX),
            committed: Arc::default(),
            newest: Mutex::new(None),
        }
    }

    /// What was committed, and what waits.
    pub(super) fn commits(&self) -> Commits {
        self.committed.beside(WAITING_MAX.saturating_sub(self.room.available_permits()))
    }

    /// See `Store::rotate`.
    pub(super) async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let rotation = Arc::new(Rotation { swap, context: context.clone() });
        let Some(lanes) = &self.lanes else {
            return self.rotate_alone(&rotation).await;
        };
        let place = self.turns.place(rotation.swap.session_id);
        let turn = place.turn.try_acquire();
        if turn.is_ok()
            && let Ok(lane) = lanes.free.try_acquire()
        {
            return lanes.lend(lane, self.rotate_alone(&rotation)).await;
        }
        // Where its turn is another's, a batch could make nothing of it and would take every lane.
        let may_join = turn.is_ok();
        drop(turn);
        let room = self.room.try_acquire();
        let room = room.map_err(|_| unavailable("too many refreshes wait for PostgreSQL"))?;
        if may_join
            && let Some(seat) = self.join(lanes, &rotation)
            && let Some(outcome) = seat.answer().await
        {
            return outcome;
        }
        let _turn = in_time(PATIENCE, place.turn.acquire()).await?;
        let lane = in_time(WAIT_MAX, lanes.free.acquire()).await?;
        drop(room);
        lanes.lend(lane, self.rotate_alone(&rotation)).await
    }

    async fn rotate_alone(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        let outcome = rotate_alone(&self.connections, rotation).await?;
        self.committed.add(1);
        Ok(outcome)
    }

    /// Joins the newest batch, or opens one. `None`: the session is in that batch already, and one
    /// statement changes a row only once.
    fn join(&self, lanes: &Lanes, rotation: &Arc<Rotation>) -> Option<Seat> {
        let (reply, answer) = oneshot::channel();
        let member = Member { rotation: Arc::clone(rotation), reply };
        let mut newest = lock(&self.newest);
        if let Some((batch, journey)) = newest.as_ref().and_then(Batch::with_journey)
            && let Some(members) = lock(&batch.members).as_mut()
            && members.len() < BATCH_MAX
        {
            let session_id = rotation.swap.session_id;
            if members.iter().any(|other| other.rotation.swap.session_id == session_id) {
                return None;
            }
            members.push(member);
            return Some(Seat { journey, answer });
        }
        let members = Arc::new(Mutex::new(Some(vec![member])));
        let way = Way {
            connections: Arc::clone(&self.connections),
            lanes: lanes.clone(),
            committed: Arc::clone(&self.committed),
        };
        let journey = travel(way, Arc::clone(&members)).boxed().shared();
        *newest = journey.downgrade().map(|journey| Batch { members, journey });
        Some(Seat { journey, answer })
    }
}

/// What a batch travels on.
struct Way {
    connections: Arc<Connections>,
    lanes: Lanes,
    committed: Arc<CommitCounts>,
}

/// How many commits of exchanges may be on their way.
#[derive(Clone)]
struct Lanes {
    free: Arc<Semaphore>,
    /// How many there are. A batch takes them all: while one is on its way, the next one grows, and
    /// the larger it is, the less each of its members costs.
    count: u32,
    /// One permit for each exchange that may go on without a lane.
    beside: Arc<Semaphore>,
}

impl Lanes {
    /// Exchanges leave as many connections to other requests as may go on without a lane, where
    /// there are so many: all of them may wait for seconds for a disk or a row.
    fn new(connections_max: usize) -> Self {
        let beside = match connections_max {
            0 | 1 => 0,
            2..=5 => 1,
            _ => BESIDE_MAX,
        };
        let lanes = connections_max.saturating_sub(2 * beside).clamp(1, LANES_MAX);
        Self {
            free: Arc::new(Semaphore::new(lanes)),
            count: u32::try_from(lanes).unwrap_or(1),
            beside: Arc::new(Semaphore::new(beside)),
        }
    }

    /// Runs an exchange that may wait for whoever holds its session, for seconds. Before long it
    /// goes on without its lane, since a batch needs all of them and no other refresh may wait for
    /// this session. Only a few may: where it is the disk that takes long, lanes are what keeps
    /// refreshes from taking every connection.
    async fn lend<T>(&self, lane: SemaphorePermit<'_>, exchange: impl Future<Output = T>) -> T {
        let mut exchange = pin!(exchange);
        if let Ok(outcome) = timeout(LANE_HELD_MAX, &mut exchange).await {
            return outcome;
        }
        let beside = self.beside.try_acquire();
        let _lane = beside.is_err().then_some(lane);
        exchange.await
    }
}

/// Of one session one exchange at a time goes alone: it may wait for whoever holds the session, and
/// the others would wait for the same, each with a connection.
#[derive(Default)]
struct Turns(Mutex<HashMap<SessionId, Turn>>);

/// That of one session.
struct Turn {
    free: Arc<Semaphore>,
    /// How many have it or may want it.
    places: usize,
}

impl Turns {
    fn place(&self, session_id: SessionId) -> Place<'_> {
        let mut turns = lock(&self.0);
        let fresh = || Turn { free: Arc::new(Semaphore::new(1)), places: 0 };
        let turn = turns.entry(session_id).or_insert_with(fresh);
        turn.places += 1;
        Place { turns: self, session_id, turn: Arc::clone(&turn.free) }
    }
}

/// Where an exchange waits for its turn.
struct Place<'a> {
    turns: &'a Turns,
    session_id: SessionId,
    turn: Arc<Semaphore>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        if let Entry::Occupied(mut turn) = turns.entry(self.session_id) {
            turn.get_mut().places -= 1;
            if turn.get().places == 0 {
                turn.remove();
            }
        }
    }
}

/// What a caller asked for.
pub(super) struct Rotation {
    pub(super) swap: Swap,
    pub(super) context: AuditContext,
}

/// One of a batch.
struct Member {
    rotation: Arc<Rotation>,
    reply: oneshot::Sender<Answer>,
}

/// What becomes of a member. `None`: nothing was changed or can be said yet, and it goes alone.
type Answer = Option<Result<RotateOutcome, StoreError>>;

/// Those that wait together; `None` once they are on their way.
type Members = Mutex<Option<Vec<Member>>>;

/// [`travel`], driven by whoever of the members is awake.
type Journey = Shared<BoxFuture<'static, ()>>;

/// A batch that does not outlive its members.
struct Batch {
    members: Arc<Members>,
    journey: WeakShared<BoxFuture<'static, ()>>,
}

impl Batch {
    /// `None` where every member has gone.
    fn with_journey(&self) -> Option<(&Self, Journey)> {
        Some((self, self.journey.upgrade()?))
    }
}

/// A caller's part in a batch.
struct Seat {
    journey: Journey,
    answer: oneshot::Receiver<Answer>,
}

impl Seat {
    async fn answer(mut self) -> Answer {
        self.journey.await;
        let lost = || Some(Err(unavailable("the refresh was not sent; try again")));
        self.answer.try_recv().unwrap_or_else(|_| lost())
    }
}

/// Waits for all lanes, closes the batch, sends it and answers its members.
async fn travel(way: Way, members: Arc<Members>) {
    let Way { connections, lanes, committed } = way;
    let taken = in_time(WAIT_MAX, lanes.free.acquire_many(lanes.count)).await;
    let mut members = lock(&members).take().unwrap_or_default();
    let _taken = match taken {
        Ok(taken) => taken,
        Err(error) => {
            members.into_iter().for_each(|member| member.answer(Some(Err(error.clone()))));
            return;
        }
    };
    members.retain(|member| !member.reply.is_closed());
    let rotations: Vec<&Rotation> = members.iter().map(|member| &*member.rotation).collect();
    let answers = rotate_together(&connections, &rotations).await;
    let changed = answers.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
    if changed > 0 {
        committed.add(changed);
    }
    for (member, answer) in members.into_iter().zip(answers) {
        member.answer(answer);
    }
}

impl Member {
    /// Whoever asked may have gone; the exchange was made all the same.
    fn answer(self, answer: Answer) {
        drop(self.reply.send(answer));
    }
}

/// An answer for each.
async fn rotate_together(connections: &Connections, rotations: &[&Rotation]) -> Vec<Answer> {
    let sent = connections
        .run(PATIENCE, |connection| sessions::rotate_together(connection, rotations))
        .await;
    match sent {
        // A batch waits for nobody, and says nothing of those that it left out or that others were
        // quicker with. What they are is seen alone.
        Ok(exchanged) => exchanged
            .into_iter()
            .map(|made| made.map(|swapped| swapped.map(RotateOutcome::Swapped)))
            .collect(),
        // One of them holds what the server does not take, and has undone the others' with its own.
        Err(StoreError::Inconsistent(_)) => vec![None; rotations.len()],
        Err(error) => rotations.iter().map(|_| Some(Err(error.clone()))).collect(),
    }
}

/// Waits no longer than others may have to.
async fn in_time<T>(
    limit: Duration,
    free: impl Future<Output = Result<T, AcquireError>>,
) -> Result<T, StoreError> {
    match timeout(limit, free).await {
        Ok(Ok(taken)) => Ok(taken),
        _ => Err(unavailable(
            "PostgreSQL is slower than refreshes come in; look at its load and its locks",
        )),
    }
}

/// With a commit of its own. It waits for whoever holds the session.
async fn rotate_alone(
    connections: &Connections,
    rotation: &Rotation,
) -> Result<RotateOutcome, StoreError> {
    connections
        .run(PATIENCE, |connection| sessions::rotate(connection, &rotation.swap, &rotation.context))
        .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many commits of exchanges are on their way at most.
const LANES_MAX: usize = 8;

/// For how long an exchange that goes alone keeps its lane: longer than most commits take.
const LANE_HELD_MAX: Duration = Duration::from_millis(50);

/// How many exchanges go on without a lane at most.
const BESIDE_MAX: usize = 2;

/// How many exchanges share a commit at most, so that the first of them need not wait long.
const BATCH_MAX: usize = 64;

/// Whoever finds so many waiting would wait in vain.
const WAITING_MAX: usize = 4096;

#[cfg(test)]
mod tests;
