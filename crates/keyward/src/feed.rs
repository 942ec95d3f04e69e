//! What verifiers are told of revocations: the live set of this node, and who follows it.
//!
//! The outbox of the store is read again every quarter of a second, and at once after a revocation
//! of this node. So every node knows of every revocation, whoever made it. What was read stays in
//! memory for as long as an access token may live that it is about, once for all who follow: they
//! keep no copy, but a number in one log. Whoever reads slowly costs nothing and is cut.
//!
//! A node that cannot read the store must not pass for one that knows: after some seconds without a
//! reading everybody who follows is let go, and nobody else may begin.

mod live;
mod seats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_core::id::ServiceKeyId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use self::live::{Live, Progress};
use self::seats::{Seat, Seats};
use crate::clock::Clock;
use crate::said_once::SaidOnce;
use crate::store::{Place, RevocationCursor, Store, StoreError};

pub use self::live::LiveRevocation;

/// The live set, and the reading of the outbox.
#[derive(Debug)]
pub struct Feed {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    live: Mutex<Live>,
    /// Where reading goes on. One reading is on its way at a time.
    cursor: tokio::sync::Mutex<Option<RevocationCursor>>,
    hint: Notify,
    standing: watch::Sender<Standing>,
    seats: Arc<Seats>,
}

/// What those who follow wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// The number of entries so far.
    end: u64,
    /// When everything was known that had been committed by then; `None`: never, or not any more.
    read_at: Option<Instant>,
}

impl Feed {
    /// Over the outbox of `store`, whose revocations matter for as long as an access token lives.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, access_token_ttl: Duration) -> Self {
        Self {
            store,
            clock,
            live: Mutex::new(Live::new(access_token_ttl.saturating_add(SKEW))),
            cursor: tokio::sync::Mutex::new(None),
            hint: Notify::new(),
            standing: watch::Sender::new(Standing { end: 0, read_at: None }),
            seats: Arc::default(),
        }
    }

    /// Has the outbox read at once: somebody knows of a revocation. Never waits.
    pub fn hint(&self) {
        self.hint.notify_one();
    }

    /// Reads the outbox again and again until dropped; then everybody who follows is let go. What
    /// fails is said once, until something else does.
    pub async fn run(&self) {
        let _end = LetGo(self);
        let mut rounds = interval(READ_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = SaidOnce::new();
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.hint.notified() => {}
            }
            self.seats.free_unread();
            if let Some(error) = said.news(self.read().await) {
                tracing::error!("revocations of other nodes are not known: {error}");
            }
            // Hints may come by the thousand, and one reading is enough for all of a moment.
            sleep(READ_PAUSE).await;
        }
    }

    /// Reads what is new in the outbox.
    ///
    /// # Errors
    ///
    /// Where the store fails; what is known stays known, and the next reading goes on from there.
    pub async fn read(&self) -> Result<(), StoreError> {
        let mut cursor = self.cursor.lock().await;
        let began = Instant::now();
        loop {
            let page = self.store.list_revocations(cursor.as_ref(), PAGE).await;
            let page = page.inspect_err(|_| self.let_go_if_stale())?;
            let is_known =
                |before: &RevocationCursor| before.place.history == page.cursor.place.history;
            let now = self.clock.now();
            let mut live = self.live();
            if cursor.as_ref().is_some_and(|before| !is_known(before)) {
                live.restart();
            }
            live.expire(now);
            live.add(&page.revocations, now);
            if page.is_last {
                live.reach(page.cursor.place);
            }
            let end = live.end();
            drop(live);
            *cursor = Some(page.cursor);
            // Nobody is woken where nothing is new, but for those who wait for the first reading.
            self.standing.send_if_modified(|standing| {
                let read_at = if page.is_last { Some(began) } else { standing.read_at };
                let before = std::mem::replace(standing, Standing { end, read_at });
                before.end != end || (before.read_at.is_none() && read_at.is_some())
            });
            if page.is_last {
                return Ok(());
            }
        }
    }

    /// Waits until the outbox was read for the first time, but not for long: a node that has just
    /// started needs a moment.
    pub async fn first_reading(&self) {
        let mut standing = self.standing.subscribe();
        if self.live().place().is_none() {
            let read = standing.wait_for(|standing| standing.read_at.is_some());
            // Whether it was read is seen by whoever begins to follow.
            let _waited = timeout(FIRST_READING, read).await;
        }
    }

    /// Begins to tell somebody with this key who was told of everything before `from`.
    ///
    /// # Errors
    ///
    /// [`Unfollowable`].
    pub fn follow(
        self: &Arc<Self>,
        key: ServiceKeyId,
        from: Option<Place>,
    ) -> Result<Follower, Unfollowable> {
        let seat = self.seats.take(key).ok_or(Unfollowable::Full)?;
        let standing = self.standing.subscribe();
        let live = self.live();
        let synced = live.place().filter(|_| self.is_current()).ok_or(Unfollowable::Stale)?;
        let progress = live.begin(from);
        drop(live);
        Ok(Follower {
            feed: Arc::clone(self),
            progress,
            synced: Some(synced),
            standing,
            caught_up_at: Instant::now(),
            next_beat: Instant::now() + BEAT,
            seat,
        })
    }

    /// Whether what is known is of the last few seconds.
    pub fn is_current(&self) -> bool {
        self.age().is_some_and(|age| age < STALE_AFTER)
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.seats.taken_count()
    }

    /// How many revocations matter.
    pub fn live_count(&self) -> usize {
        self.live().len()
    }

    /// How old is what is known; `None`: nothing is, or not any more.
    pub fn age(&self) -> Option<Duration> {
        self.standing.borrow().read_at.map(|read_at| read_at.elapsed())
    }

    fn let_go_if_stale(&self) {
        if !self.is_current() {
            self.let_go();
        }
    }

    fn let_go(&self) {
        self.standing.send_modify(|standing| standing.read_at = None);
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Nothing in here panics halfway through a change.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets everybody go who follows a feed that is read no more.
struct LetGo<'a>(&'a Feed);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Why nobody can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfollowable {
    /// As many follow as may, or as may with one key.
    Full,
    /// The outbox was not read lately.
    Stale,
}

/// Somebody who is told of revocations. Keeps one of a bounded number of places.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    progress: Progress,
    /// What will have been told with the live set; `None`: it was.
    synced: Option<Place>,
    standing: watch::Receiver<Standing>,
    /// When nothing was left to be told.
    caught_up_at: Instant,
    next_beat: Instant,
    seat: Seat,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing, but that this node is current. Comes every 15 seconds.
    Current,
    /// Revocations. The place, where there is one, is before everything that was not told by now.
    Revoked(Vec<LiveRevocation>, Option<Place>),
    /// The live set was told; from here on comes what is new. The place as above.
    Synced(Place),
}

impl Follower {
    /// What comes next, once there is something. `None`: this node is not current any more, or the
    /// follower reads so slowly that it is not.
    pub async fn next(&mut self) -> Option<News> {
        if !self.seat.come_back() {
            return None;
        }
        let news = self.news().await;
        self.seat.give();
        news
    }

    async fn news(&mut self) -> Option<News> {
        loop {
            if !self.feed.is_current() || self.is_too_slow() {
                return None;
            }
            if self.next_beat <= Instant::now() {
                self.next_beat = Instant::now() + BEAT;
                return Some(News::Current);
            }
            if let Some(synced) = self.synced.filter(|_| self.progress.is_synced()) {
                self.synced = None;
                self.caught_up_at = Instant::now();
                return Some(News::Synced(synced));
            }
            self.standing.mark_unchanged();
            if let Some(news) = self.take() {
                return Some(news);
            }
            if self.synced.is_none() {
                // Whether the time is over or something changed is seen above.
                let _waited = timeout_at(self.next_beat, self.standing.changed()).await;
                // It was here, waiting, all the time.
                self.caught_up_at = Instant::now();
            }
        }
    }

    /// Whether everything was told that this node knows of at this moment.
    pub fn is_told(&self) -> bool {
        self.synced.is_none() && self.feed.live().is_told(&self.progress)
    }

    fn take(&mut self) -> Option<News> {
        let live = self.feed.live();
        let portion = live.take(&mut self.progress, PORTION);
        let told = portion.is_rest && self.synced.is_none();
        let place = live.place().filter(|_| told);
        drop(live);
        if told {
            self.caught_up_at = Instant::now();
        }
        (!portion.revocations.is_empty()).then_some(News::Revoked(portion.revocations, place))
    }

    fn is_too_slow(&self) -> bool {
        self.synced.is_none() && self.caught_up_at.elapsed() > LAG_MAX
    }
}

/// How far clocks of verifiers may differ from ours, besides the life of a token.
const SKEW: Duration = Duration::from_secs(60);

/// How often the outbox is read.
const READ_EVERY: Duration = Duration::from_millis(250);

/// How long somebody waits for a node that has just started.
const FIRST_READING: Duration = Duration::from_secs(2);

/// How long a node that cannot read the outbox passes for one that knows it.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// How often whoever follows is told that this node is current.
const BEAT: Duration = Duration::from_secs(15);

/// How many may follow one node at a time.
pub const FOLLOWERS_MAX: usize = 1000;

/// How many may follow one node at a time with one service key.
pub const FOLLOWERS_PER_KEY_MAX: usize = 250;

const READ_PAUSE: Duration = Duration::from_millis(10);

/// How long somebody may be behind who has been told the live set.
const LAG_MAX: Duration = Duration::from_secs(30);

/// Revocations per reading of the store: a megabyte at most.
const PAGE: u32 = 10_000;

/// Entries that are looked at for one who follows, before the next one's turn.
const PORTION: usize = 500;

#[cfg(test)]
mod tests;
