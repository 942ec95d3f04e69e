use std::sync::atomic::{AtomicBool, Ordering};

use keyward_core::audit::{AuditContext, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::session::Device;
use keyward_core::time::Timestamp;

use super::*;
use crate::clock::ManualClock;
use crate::store::layer::{Call, Layer};
use crate::store::{
    AdministrationGuard, AdministrationStore as _, ChangeUserOutcome, MemoryStore, NewUser,
    PasswordHash, RevokedSubject, UserChange,
};

#[tokio::test(start_paused = true)]
async fn a_revocation_is_told_in_a_quarter_of_a_second() {
    let world = World::new().await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            assert!(matches!(follower.next().await, Some(News::Synced(_))));
            let before = Instant::now();
            world.disable(1).await;
            world.expect_told(&mut follower, 1).await;
            assert!(before.elapsed() <= READ_EVERY, "{:?}", before.elapsed());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_has_it_told_at_once() {
    let world = World::new().await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            follower.next().await;
            for user in 1..=3 {
                sleep(READ_PAUSE * 2).await;
                let before = Instant::now();
                world.disable(user).await;
                world.feed.hint();
                world.expect_told(&mut follower, user).await;
                assert!(before.elapsed() <= READ_PAUSE, "{:?}", before.elapsed());
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_is_told_what_matters_and_then_what_is_new() {
    let world = World::new().await;
    world.disable(1).await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            world.expect_told(&mut follower, 1).await;
            assert!(!follower.is_told());
            let Some(News::Synced(place)) = follower.next().await else { panic!("not synced") };
            assert!(follower.is_told());
            world.disable(2).await;
            world.expect_told(&mut follower, 2).await;
            let mut resumed = world.follow(Some(place)).await;
            world.expect_told(&mut resumed, 2).await;
            assert!(matches!(resumed.next().await, Some(News::Synced(_))));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_follows_a_feed_that_is_not_read() {
    let world = World::new().await;
    assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Stale));
    let mut follower = None;
    world.beside(async { follower = Some(world.follow(None).await) }).await;
    // The reading has ended, and with it what those who follow know.
    assert_eq!(follower.expect("it was read").next().await, None);
    assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Stale));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_lets_everybody_go_but_forgets_nothing() {
    let world = World::new().await;
    world.disable(1).await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            world.expect_told(&mut follower, 1).await;
            follower.next().await;
            world.store.fails.store(true, Ordering::SeqCst);
            let before = Instant::now();
            assert_eq!(follower.next().await, None);
            assert!(before.elapsed() >= STALE_AFTER - READ_EVERY, "{:?}", before.elapsed());
            assert!(before.elapsed() <= STALE_AFTER + READ_EVERY * 2, "{:?}", before.elapsed());
            assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Stale));

            world.store.fails.store(false, Ordering::SeqCst);
            let mut follower = world.follow(None).await;
            world.expect_told(&mut follower, 1).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_hears_nothing_new_hears_that_it_is_current() {
    let world = World::new().await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            follower.next().await;
            for _ in 0..5 {
                let before = Instant::now();
                assert_eq!(follower.next().await, Some(News::Current));
                assert!(before.elapsed() <= BEAT, "{:?}", before.elapsed());
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_hears_much_also_hears_that_it_is_current() {
    let world = World::new().await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            let (mut current, mut revoked) = (0, 0);
            let began = Instant::now();
            for user in 0..40 {
                world.disable(user).await;
                while let Some(news) = follower.next().await {
                    match news {
                        News::Current => current += 1,
                        News::Revoked(..) => break,
                        News::Synced(_) => {}
                    }
                }
                revoked += 1;
                sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(revoked, 40);
            let most = began.elapsed().as_secs() / BEAT.as_secs();
            assert!((2..=most).contains(&current), "{current} of {most}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_stays_behind_is_let_go() {
    let world = World::new().await;
    world
        .beside(async {
            let mut follower = world.follow(None).await;
            follower.next().await;
            world.disable(1).await;
            sleep(LAG_MAX - Duration::from_secs(1)).await;
            // This node is current, but what it knows is yet to be told.
            assert_eq!(follower.next().await, Some(News::Current));
            assert!(!follower.is_told());
            world.expect_told(&mut follower, 1).await;
            assert!(follower.is_told());
            world.disable(2).await;
            sleep(LAG_MAX + Duration::from_secs(1)).await;
            assert_eq!(follower.next().await, None);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn so_many_may_follow_and_no_more() {
    let world = World::new().await;
    world
        .beside(async {
            let first = world.follow(None).await;
            let follow = |number| world.feed.follow(key(number / FOLLOWERS_PER_KEY_MAX), None);
            let others: Vec<_> =
                (1..FOLLOWERS_MAX).map(|number| follow(number).expect("a place")).collect();
            assert_eq!(follow(FOLLOWERS_MAX).map(drop), Err(Unfollowable::Full));
            drop(first);
            assert_eq!(follow(FOLLOWERS_MAX).map(drop), Ok(()));
            drop(others);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn no_key_takes_every_place() {
    let world = World::new().await;
    world
        .beside(async {
            let first = world.follow(None).await;
            let others: Vec<_> = (1..FOLLOWERS_PER_KEY_MAX)
                .map(|_| world.feed.follow(KEY, None).expect("a place"))
                .collect();
            assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Full));
            assert_eq!(world.feed.follow(key(1), None).map(drop), Ok(()));
            drop(first);
            assert_eq!(world.feed.follow(KEY, None).map(drop), Ok(()));
            drop(others);
        })
        .await;
}

/// A stream over HTTP/2 that its client does not read is not asked for more either.
#[tokio::test(start_paused = true)]
async fn whoever_never_reads_on_loses_its_place() {
    let world = World::new().await;
    world
        .beside(async {
            let mut waiting = world.follow(None).await;
            let begin = || world.feed.follow(KEY, None).expect("a place");
            let mut unread: Vec<_> = (1..FOLLOWERS_PER_KEY_MAX).map(|_| begin()).collect();
            // Some have begun to read, and some have not.
            for follower in unread.iter_mut().take(9) {
                follower.next().await;
            }
            waiting.next().await;
            assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Full));
            for _ in 0..3 {
                assert_eq!(waiting.next().await, Some(News::Current));
            }
            let others: Vec<_> = (1..FOLLOWERS_PER_KEY_MAX).map(|_| begin()).collect();
            assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Full));
            for follower in &mut unread {
                assert_eq!(follower.next().await, None);
            }
            // That they go at last frees nobody else's place.
            drop(unread);
            assert_eq!(world.feed.follow(KEY, None).map(drop), Err(Unfollowable::Full));
            drop(others);
        })
        .await;
}

/// A feed over a store in memory, with users that can be disabled.
struct World {
    store: Arc<Failing>,
    clock: Arc<ManualClock>,
    feed: Arc<Feed>,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(Failing::default());
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let life = Duration::from_secs(900);
        let feed = Feed::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, life);
        Self { store, clock, feed: Arc::new(feed) }
    }

    /// Does something while the feed is read.
    async fn beside(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.feed.run() => {}
            () = work => {}
        }
    }

    /// Follows as soon as the feed was read.
    async fn follow(&self, from: Option<Place>) -> Follower {
        loop {
            match self.feed.follow(KEY, from) {
                Ok(follower) => return follower,
                Err(_) => sleep(READ_EVERY).await,
            }
        }
    }

    /// Makes a user and disables it.
    async fn disable(&self, number: u8) {
        let context = AuditContext {
            at: self.clock.now(),
            device: Device::default(),
            request_id: None,
            actor: None,
        };
        let user = NewUser {
            id: user_id(number),
            email: Email::parse(&format!("user{number}@example.org")).expect("an address"),
            name: None,
            roles: Vec::new(),
            password_hash: PasswordHash::from_phc(String::new()),
            email_verified: false,
            by: RegisteredBy::Operator,
            verification: None,
        };
        self.store.inner.insert_user(user, None, &context).await.expect("the store works");
        let (change, guard) = (UserChange::Disable, AdministrationGuard::default());
        let outcome = self.store.inner.change_user(user_id(number), change, guard, &context).await;
        assert!(matches!(outcome, Ok(ChangeUserOutcome::Changed(_))), "{outcome:?}");
    }

    async fn expect_told(&self, follower: &mut Follower, number: u8) {
        let Some(News::Revoked(told, _)) = follower.next().await else { panic!("not told") };
        let subjects: Vec<_> = told.iter().map(|revocation| revocation.subject).collect();
        assert_eq!(subjects, [RevokedSubject::User(user_id(number))]);
    }
}

fn key(number: usize) -> ServiceKeyId {
    ServiceKeyId::from_bytes((number as u128).to_be_bytes())
}

const KEY: ServiceKeyId = ServiceKeyId::from_bytes([0; 16]);

fn user_id(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

/// A store that can fail to be read.
#[derive(Debug, Default)]
struct Failing {
    inner: MemoryStore,
    fails: AtomicBool,
}

impl Layer for Failing {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    async fn pass<T: Send>(
        &self,
        _: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("gone".to_owned()));
        }
        work.await
    }
}
