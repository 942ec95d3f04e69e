//! Accounts whose limits on trying begin anew.

use super::*;
use crate::store::UnlockedAccount;

/// Later each time, whatever the clock says, and for whom there is.
pub async fn unlocks_an_account(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    assert_eq!(store.list_unlocked(at(-9), 10).await, Ok(Vec::new()));
    assert_eq!(store.unlock(user_id(9), &context(5)).await, Ok(false));
    let before = events(store).await.len();
    for (secs, expected) in [(5, at(5)), (5, after(5)), (3, after(5).plus(MILLI)), (8, at(8))] {
        assert_eq!(store.unlock(user_id(1), &context(secs)).await, Ok(true));
        assert_eq!(unlocked(store, at(0)).await, [(1, expected)]);
    }
    let recorded = events(store).await;
    assert!(recorded[before..].iter().all(|event| told(event) == "user.unlocked 1 - {}"));
    assert_eq!(recorded.len(), before + 4);
}

/// The latest first, and none that was unlocked too long ago.
pub async fn lists_accounts_unlocked_of_late(store: &dyn Store) {
    for number in 1..=4 {
        insert_user(store, number).await;
    }
    for (user, secs) in [(2, 7), (1, 5), (3, 9)] {
        assert_eq!(store.unlock(user_id(user), &context(secs)).await, Ok(true));
    }
    assert_eq!(unlocked(store, at(0)).await, [(3, at(9)), (2, at(7)), (1, at(5))]);
    assert_eq!(unlocked(store, at(5)).await, [(3, at(9)), (2, at(7))]);
    assert_eq!(store.list_unlocked(at(0), 1).await.expect(WORKS).len(), 1);
    store.delete_user(user_id(3), DeleteGuard::default(), &context(10)).await.expect(WORKS);
    assert_eq!(unlocked(store, at(5)).await, [(2, at(7))]);
}

async fn unlocked(store: &dyn Store, since: Timestamp) -> Vec<(u8, Timestamp)> {
    let found = store.list_unlocked(since, 10).await.expect(WORKS);
    let number = |account: UnlockedAccount| {
        let number = (1..9).find(|number| new_user(*number).email.key() == account.email_key);
        (number.expect("a user of the contract"), account.at)
    };
    found.into_iter().map(number).collect()
}

fn after(secs: i64) -> Timestamp {
    at(secs).plus(MILLI)
}

const MILLI: Duration = Duration::from_millis(1);
