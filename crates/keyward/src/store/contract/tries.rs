//! How often a code of a second factor may be tried.

use futures_util::future::join_all;
use keyward_core::limits::{Limited, Quota};

use super::second_factor::{challenge, change_password, count, enable, is_counted};
use super::*;
use crate::store::{MfaTry, MfaTryOutcome};

/// No more than it has, not past its time, and none of another version of the credentials.
pub async fn counts_the_tries_of_a_challenge(store: &dyn Store) {
    enable(store).await;
    for number in [1, 2, 3] {
        store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
    }
    for _ in 0..5 {
        assert!(is_counted(&count(store, 1, None, 6).await));
    }
    assert_eq!(count(store, 1, None, 6).await, MfaTryOutcome::Refused);
    assert!(is_counted(&count(store, 2, None, 604).await));
    assert_eq!(count(store, 2, None, 605).await, MfaTryOutcome::Refused);
    assert_eq!(count(store, 9, None, 6).await, MfaTryOutcome::Refused);
    change_password(store, 1).await;
    assert_eq!(count(store, 3, None, 6).await, MfaTryOutcome::Refused);
}

/// Of all challenges together and of those who are signed in; past it no challenge loses a try.
pub async fn counts_the_tries_of_a_user(store: &dyn Store) {
    enable(store).await;
    let quota = Quota::new(6, Duration::from_secs(600));
    for number in [1, 2] {
        store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
    }
    for number in [1, 2, 1, 2, 1] {
        assert!(is_counted(&count(store, number, quota, 6).await));
    }
    let of_user = MfaTry::User(user_id(1));
    let counted = store.count_mfa_try(of_user, quota, at(6)).await.expect(WORKS);
    assert!(is_counted(&counted));
    let limited = MfaTryOutcome::Limited(Limited { retry_after: Duration::from_secs(100) });
    assert_eq!(store.count_mfa_try(of_user, quota, at(6)).await, Ok(limited.clone()));
    for _ in 0..9 {
        assert_eq!(count(store, 2, quota, 6).await, limited);
    }
    for secs in [106, 206, 306] {
        assert!(is_counted(&count(store, 2, quota, secs).await), "{secs}");
    }
    assert_eq!(count(store, 2, quota, 406).await, MfaTryOutcome::Refused);
    let of_nobody = store.count_mfa_try(MfaTry::User(user_id(2)), quota, at(6)).await;
    assert_eq!(of_nobody, Ok(MfaTryOutcome::Refused));
}

/// Neither one that is a little ahead of the others, nor one that was far ahead for a moment.
pub async fn a_clock_that_is_ahead_neither_frees_nor_locks(store: &dyn Store) {
    enable(store).await;
    let quota = Quota::new(2, Duration::from_secs(600));
    let count = async |secs| store.count_mfa_try(MfaTry::User(user_id(1)), quota, at(secs)).await;
    let is_limited = |secs| {
        let retry_after = Duration::from_secs(secs);
        Ok(MfaTryOutcome::Limited(Limited { retry_after }))
    };
    for ahead in [100, 100_000] {
        for _ in 0..2 {
            assert!(is_counted(&count(ahead).await.expect(WORKS)));
        }
        assert_eq!(count(ahead).await, is_limited(300));
    }
    assert_eq!(count(99_900).await, is_limited(400));
    assert!(is_counted(&count(200).await.expect(WORKS)));
}

/// Of a burst no more are counted than there are.
pub async fn of_many_tries_five_count(store: &dyn Store) {
    enable(store).await;
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    let outcomes = join_all((0..20).map(|_| count(store, 1, None, 6))).await;
    assert_eq!(outcomes.iter().filter(|outcome| is_counted(outcome)).count(), 5);
}
