use super::*;
use argon2::password_hash::PasswordVerifier as _;
use futures_util::FutureExt as _;

const CHEAP: HashingPolicy =
    HashingPolicy { concurrency_max: 1, queue_max: 4, memory_kib: 64, passes: 1, lanes: 1 };

fn password(typed: &str) -> Password {
    Password::parse(typed).expect("short enough")
}

fn pool(policy: &HashingPolicy) -> HashPool {
    HashPool::new(policy).expect("threads")
}

/// Whether the password is given back as the right one.
async fn verify(
    pool: &HashPool,
    typed: &str,
    hash: Option<PasswordHash>,
) -> Result<bool, Overloaded> {
    let verified = pool.verify(password(typed), hash).await?;
    assert!(verified.as_ref().is_none_or(|given| given.expose() == password(typed).expose()));
    Ok(verified.is_some())
}

#[tokio::test]
async fn verifies_what_it_hashed_and_nothing_else() {
    let pool = pool(&CHEAP);
    let hash = pool.hash(password("zimtkringel"), [7; 16]).await.expect("room");
    assert!(hash.as_phc().starts_with("$argon2id$v=19$m=64,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$"));
    assert_eq!(verify(&pool, "zimtkringel", Some(hash.clone())).await, Ok(true));
    assert_eq!(verify(&pool, "zimtkringeL", Some(hash)).await, Ok(false));
    assert_eq!(verify(&pool, "zimtkringel", None).await, Ok(false));
}

#[tokio::test]
async fn new_passwords_are_judged_in_the_queue() {
    let (pool, policy) = (pool(&CHEAP), PasswordPolicy::default());
    let judged = pool.judge(password("zimtkringel im regen"), policy.clone(), Vec::new()).await;
    assert_eq!(judged.expect("room").expect("accepted").expose(), "zimtkringel im regen");
    let context = vec!["grete.zimtkringel".to_owned()];
    let judged = pool.judge(password("zimtkringel"), policy, context).await.expect("room");
    assert_eq!(judged.err(), Some(PasswordRefusal::Guessable));
}

#[tokio::test]
async fn hashes_are_those_of_the_reference() {
    let hash = pool(&CHEAP).hash(password("zimtkringel"), [7; 16]).await.expect("room");
    let parsed = argon2::PasswordHash::new(hash.as_phc()).expect("a PHC string");
    argon2::Argon2::default().verify_password(b"zimtkringel", &parsed).expect("the same hash");
}

#[tokio::test]
async fn a_hash_keeps_its_own_cost_when_the_policy_changes() {
    let dear = HashingPolicy { memory_kib: 256, passes: 3, lanes: 2, ..CHEAP };
    let hash = pool(&dear).hash(password("zimtkringel"), [7; 16]).await.expect("room");
    assert!(hash.as_phc().contains("$m=256,t=3,p=2$"));
    assert_eq!(verify(&pool(&CHEAP), "zimtkringel", Some(hash)).await, Ok(true));
}

#[tokio::test]
async fn a_bad_row_matches_nothing_and_costs_nothing() {
    let pool = pool(&CHEAP);
    let good = pool.hash(password("x"), [7; 16]).await.expect("room").as_phc().to_owned();
    let with = |from: &str, to: &str| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        bad
    };
    for bad in [
        String::new(),
        with("argon2id", "argon2i"),
        with("argon2id", "scrypt"),
        with("v=19", "v=16"),
        with("$v=19", ""),
        with("m=64", "m=1048577"),
        with("m=64", "m=4294967295"),
        with("t=1", "t=17"),
        with("t=1", "t=0"),
        with("p=1", "p=17"),
        with("m=64,", ""),
        with("p=1", "p=1,data=AAAA"),
        with("BwcHBwcHBwcHBwcHBwcHBw$", ""),
        good[..good.rfind('$').expect("a hash")].to_owned(),
    ] {
        assert!(Phc::parse(&bad).is_none(), "{bad}");
        let row = Some(PasswordHash::from_phc(bad.clone()));
        assert_eq!(verify(&pool, "x", row).await, Ok(false), "{bad}");
    }
}

#[test]
fn refuses_a_policy_whose_hashes_it_could_not_verify() {
    for policy in [
        HashingPolicy { memory_kib: 2 * 1024 * 1024, ..CHEAP },
        HashingPolicy { memory_kib: 1, ..CHEAP },
        HashingPolicy { passes: 0, ..CHEAP },
        HashingPolicy { lanes: 17, ..CHEAP },
    ] {
        HashPool::new(&policy).expect_err("out of bounds");
    }
}

/// A pool whose only thread never takes a job, as if it were busy for long.
fn stuck(queue_max: usize) -> (HashPool, Receiver<Queued>) {
    let (queue, jobs) = sync_channel(queue_max);
    let pool = pool(&CHEAP);
    (HashPool { queue, ..pool }, jobs)
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let (pool, _jobs) = stuck(2);
    for _ in 0..2 {
        assert!(pool.hash(password("x"), [7; 16]).now_or_never().is_none());
    }
    let overloaded = pool.verify(password("x"), None).await.expect_err("no room");
    assert_eq!(overloaded.retry_after, RETRY_AFTER_MIN);
    assert_eq!(pool.load.waiting.load(Ordering::Relaxed), 2);

    let dear = HashPool { cost: Cost { memory_kib: 1024 * 1024, passes: 4, lanes: 1 }, ..pool };
    assert!(dear.overloaded().retry_after > Duration::from_secs(5));
}

#[tokio::test]
async fn who_went_away_before_the_work_began_costs_none() {
    let (pool, jobs) = stuck(2);
    assert!(pool.hash(password("x"), [7; 16]).now_or_never().is_none());
    let mut memory = Memory::new(pool.cost);
    jobs.recv().expect("queued").job.run(&mut memory);
    assert!(memory.blocks.is_empty());

    let mut answer = Box::pin(pool.hash(password("x"), [7; 16]));
    assert!((&mut answer).now_or_never().is_none());
    jobs.recv().expect("queued").job.run(&mut memory);
    answer.await.expect("worked on");
    assert_eq!(memory.blocks.len(), 64, "kept for the next hash");
}

#[test]
fn a_costly_hash_does_not_keep_its_memory() {
    let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let mut memory = Memory::new(cost);
    let mut hash = |memory_kib| {
        let cost = Cost { memory_kib, ..cost };
        memory.argon2("x", &Phc::ours(cost, vec![7; 16]));
        memory.blocks.len()
    };
    assert_eq!((hash(64), hash(128), hash(32)), (64, 0, 32));
}

#[cfg(target_os = "linux")]
#[test]
fn a_hashing_thread_yields_to_the_others() {
    let nice = || rustix::process::nice(0).expect("readable");
    let before = nice();
    let lowered = thread::spawn(move || {
        lower_priority();
        nice()
    });
    assert_eq!(lowered.join().expect("no panic"), (before + NICENESS).min(19));
    assert_eq!(nice(), before, "of this thread only");
}
