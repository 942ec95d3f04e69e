//! Sealed keys, and the store's own health.

use futures_util::future::join;

use super::*;
use crate::store::{KeyPurpose, KeyRecord};

/// One per purpose and algorithm; the first stays.
pub async fn inserts_one_key_of_a_kind(store: &dyn Store) {
    let first = key("a", KeyPurpose::AccessToken, "ES256", 1);
    assert_eq!(store.insert_key(first.clone()).await, Ok(vec![first.clone()]));
    let second = key("b", KeyPurpose::AccessToken, "ES256", 2);
    assert_eq!(store.insert_key(second).await, Ok(vec![first.clone()]));
    let other_algorithm = key("c", KeyPurpose::AccessToken, "EdDSA", 3);
    let both = vec![first, other_algorithm.clone()];
    assert_eq!(store.insert_key(other_algorithm).await, Ok(both.clone()));
    assert_eq!(store.list_keys().await, Ok(both));
}

/// Oldest first; of one age by purpose and id.
pub async fn lists_keys_by_age(store: &dyn Store) {
    let expected = vec![
        key("9", KeyPurpose::Csrf, "HS256", 1),
        key("a", KeyPurpose::AccessToken, "EdDSA", 2),
        key("b", KeyPurpose::AccessToken, "ES256", 2),
        key("1", KeyPurpose::RefreshToken, "HS256", 2),
        key("0", KeyPurpose::AccessToken, "RS256", 3),
    ];
    for key in expected.iter().rev() {
        store.insert_key(key.clone()).await.expect(WORKS);
    }
    assert_eq!(store.list_keys().await, Ok(expected));
}

/// Of two processes that start at once, both get the first one's key.
pub async fn two_that_start_at_once_agree(store: &dyn Store) {
    let first = store.insert_key(key("a", KeyPurpose::RefreshToken, "HS256", 1));
    let second = store.insert_key(key("b", KeyPurpose::RefreshToken, "HS256", 1));
    let (first, second) = join(first, second).await;
    assert_eq!(first, second);
    assert_eq!(first.map(|keys| keys.len()), Ok(1));
}

/// It can be written to, and nothing is there afterwards that was not before.
pub async fn answers_a_ping(store: &dyn Store) {
    assert_eq!(store.ping().await, Ok(()));
    assert!(events(store).await.is_empty());
}

fn key(id: &str, purpose: KeyPurpose, algorithm: &str, secs: i64) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        purpose,
        algorithm: algorithm.to_owned(),
        sealed: vec![0, 1, 255, id.as_bytes()[0]],
        created_at: at(secs),
    }
}
