//! The scripts on a server, against the arithmetic of the core.

use keyward_core::limits::{self, WholeAt};
use keyward_core::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use super::*;

/// Every step of random histories, with a clock that also steps back.
#[test]
fn the_scripts_count_as_the_core_does() {
    let world = World::connect();
    let quota = (1_u32..8, 1_u64..100).prop_map(|(count, mins)| (count, mins * 60_000));
    let passes = prop_oneof![9 => -100_000_i64..400_000, 1 => -15_000_000_i64..0];
    let steps = prop::collection::vec((any::<bool>(), passes), 1..40);
    let mut runner =
        TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let key = std::cell::Cell::new(0);
    let outcome = runner.run(&(quota, steps), |((count, window), steps)| {
        key.set(key.get() + 1);
        let quota = Quota::new(count, Duration::from_millis(window)).expect("a quota");
        world.compare(&format!("keyward:test:{}:{}", std::process::id(), key.get()), quota, &steps)
    });
    outcome.expect("the same answers and the same state");
}

/// After every other answer the server may be of no more use, and the link is made anew.
#[test]
fn only_a_right_that_lacks_is_a_refusal() {
    use redis::{ErrorKind, ServerErrorKind as Answer};
    let is_refusal = |kind| ValkeyError::from(RedisError::from((kind, ""))).is_refusal();
    assert!(is_refusal(ErrorKind::Server(Answer::NoPerm)));
    for other in [Answer::ReadOnly, Answer::BusyLoading, Answer::MasterDown] {
        assert!(!is_refusal(ErrorKind::Server(other)), "{other:?}");
    }
    assert!(!is_refusal(ErrorKind::Io));
}

struct World {
    runtime: Runtime,
    connection: MultiplexedConnection,
    count: Script,
    refund: Script,
}

impl World {
    fn connect() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let client = settings().client();
        let connection = runtime.block_on(client.get_multiplexed_async_connection());
        Self {
            connection: connection.expect("a connection"),
            runtime,
            count: Script::new(&by_hand(COUNT)),
            refund: Script::new(&by_hand(REFUND)),
        }
    }

    fn compare(&self, key: &str, quota: Quota, steps: &[(bool, i64)]) -> Result<(), TestCaseError> {
        let (mut kept, mut now) = (None, Timestamp::from_secs(1_790_000_000));
        for (refunds, passes) in steps {
            now = Timestamp::from_millis(now.millis() + passes);
            let (script, expected) = if *refunds {
                kept = kept.map(|kept| limits::refund(kept, quota));
                (&self.refund, (0, 0))
            } else {
                let counted = limits::count(kept, quota, now);
                kept = counted.ok().or(kept);
                let answer = |limited: limits::Limited| (1, millis(limited.retry_after));
                (&self.count, counted.err().map_or((0, 0), answer))
            };
            prop_assert_eq!(self.run(script, key, quota, now), expected);
            // What is whole may be forgotten, and is as good as what was never counted.
            let kept_there = self.kept(key).unwrap_or(now).max(now);
            let kept_here = kept.map_or(now, |WholeAt(at)| at.max(now));
            prop_assert_eq!(kept_there, kept_here);
        }
        Ok(())
    }

    fn run(&self, script: &Script, key: &str, quota: Quota, now: Timestamp) -> Answer {
        let mut call = script.key(key);
        call.arg(millis(quota.interval())).arg(millis(quota.window()));
        call.arg(now.secs()).arg((now.millis() - now.secs() * 1000) * 1000);
        let mut connection = self.connection.clone();
        self.runtime.block_on(call.invoke_async(&mut connection)).expect("an answer")
    }

    fn kept(&self, key: &str) -> Option<Timestamp> {
        let mut connection = self.connection.clone();
        let get = redis::cmd("GET").arg(key).take();
        let kept: Option<i64> =
            self.runtime.block_on(get.query_async(&mut connection)).expect("an answer");
        kept.map(Timestamp::from_millis)
    }
}

/// The script on a clock that the test turns, and with seconds for milliseconds where it says how
/// long to keep a key, since the server's own clock stands as good as still.
fn by_hand(script: &str) -> String {
    let clock = "{ ARGV[#ARGV - 1], ARGV[#ARGV] }";
    let (time, expiry) = ("redis.call('TIME')", "'PX'");
    assert!(script.contains(time) && script.contains(expiry));
    script.replace(time, clock).replace(expiry, "'EX'")
}

/// What else somebody wrote there is counted as nothing, and is no error.
#[tokio::test]
async fn whatever_stands_in_the_place_of_a_count_is_written_over() {
    let valkey = Valkey::new(&settings(), &MasterKey::new(&[9; 32]));
    valkey.probe().await.expect("a server");
    let mut connection =
        settings().client().get_multiplexed_async_connection().await.expect("a connection");
    let quota = Quota::new(2, Duration::from_secs(900)).expect("a quota");
    for (number, place) in
        [["SET", "nan"], ["SET", "-inf"], ["SET", "text"], ["RPUSH", "5"]].iter().enumerate()
    {
        let key = vec![u8::try_from(number).expect("few of them")];
        let name = valkey.names.counter("login", &key);
        let tries = [SharedTry { limit: "login", key, quota }];
        redis::cmd("DEL").arg(&name).exec_async(&mut connection).await.expect("gone");
        let mut put = redis::cmd(place[0]);
        put.arg(&name).arg(place[1]).exec_async(&mut connection).await.expect("written");
        assert_eq!(valkey.count(&tries).await, Some(Ok(())), "{place:?}");
        assert_eq!(valkey.count(&tries).await, Some(Ok(())), "{place:?}");
        assert!(matches!(valkey.count(&tries).await, Some(Err(_))), "{place:?}");
        valkey.refund(&tries).await;
        assert_eq!(valkey.count(&tries).await, Some(Ok(())), "{place:?}");
        assert!(valkey.standing().reachable);
    }
}

fn settings() -> ValkeySettings {
    #[expect(clippy::disallowed_methods, reason = "tests are told by it where the server is")]
    let url = std::env::var("TEST_REDIS_URL");
    let url = url.expect("TEST_REDIS_URL names no server; CONTRIBUTING.md says how to set it");
    let mut settings = ValkeySettings::parse(&url, std::path::Path::new("")).expect("a URL");
    // A busy machine is no failure.
    settings.deadline = Duration::from_secs(60);
    settings
}
