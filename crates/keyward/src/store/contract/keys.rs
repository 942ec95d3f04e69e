//! Sealed keys, and the store's own health.

use futures_util::future::join;
use keyward_core::audit::chain::{ChainKey, Checkpoint};
use keyward_core::keys::MasterKey;

use super::*;
use crate::store::{KeyPurpose, KeyRecord, KeyRotation, Resealed, StoreError};

/// The first key of a purpose replaces none, and is no event.
pub async fn inserts_the_first_key_of_each_purpose(store: &dyn Store) {
    let (access, csrf) = (key("a", KeyPurpose::AccessToken, 1), key("1", KeyPurpose::Csrf, 2));
    let sealing = key("1", KeyPurpose::SecondFactor, 3);
    for key in [&access, &csrf, &sealing] {
        assert_eq!(rotate(store, first(key)).await, Ok(true));
        assert_eq!(rotate(store, first(key)).await, Ok(false));
    }
    assert_eq!(store.list_keys().await, Ok(vec![access, csrf, sealing]));
    assert_events(store, 0, 9, &[]).await;
}

/// A key replaces the newest of its purpose, sealed as it was read, and no other.
pub async fn replaces_the_newest_key_only(store: &dyn Store) {
    let (old, new) = (key("a", KeyPurpose::AccessToken, 1), key("b", KeyPurpose::AccessToken, 3));
    let other = key("1", KeyPurpose::Csrf, 2);
    for key in [&old, &other] {
        assert_eq!(rotate(store, first(key)).await, Ok(true));
    }
    let resealed = KeyRecord { sealed: vec![7], ..old.clone() };
    for stale in [first(&new), after(&other, &new), after(&resealed, &new)] {
        assert_eq!(rotate(store, stale).await, Ok(false));
    }
    assert_eq!(rotate(store, after(&old, &new)).await, Ok(true));
    let third = key("c", KeyPurpose::AccessToken, 4);
    assert_eq!(rotate(store, after(&old, &third)).await, Ok(false));
    assert_eq!(store.list_keys().await, Ok(vec![old, other, new]));
    let rotated = r#"key.rotated - - {"purpose":"access_token","keyId":"b","compromised":false}"#;
    assert_events(store, 0, 9, &[rotated]).await;
}

/// Other purposes stay as they are, and so does an earlier mark.
pub async fn marks_keys_as_compromised(store: &dyn Store) {
    let marked = KeyRecord { compromised_at: Some(at(1)), ..key("1", KeyPurpose::Csrf, 1) };
    let (second, third) = (key("2", KeyPurpose::Csrf, 2), key("3", KeyPurpose::Csrf, 3));
    let other = key("a", KeyPurpose::AccessToken, 1);
    let rotations = [first(&other), first(&marked), after(&marked, &second)];
    for rotation in rotations {
        assert_eq!(rotate(store, rotation).await, Ok(true));
    }
    let rotation = KeyRotation { compromised: true, ..after(&second, &third) };
    assert_eq!(rotate(store, rotation).await, Ok(true));
    let second = KeyRecord { compromised_at: Some(at(9)), ..second };
    assert_eq!(store.list_keys().await, Ok(vec![other, marked, second, third]));
    let rotated = r#"key.rotated - - {"purpose":"csrf","keyId":"3","compromised":true}"#;
    assert_events(store, 1, 9, &[rotated]).await;
}

/// Gone keys of the purpose are deleted, and their ids are free for the new one.
pub async fn deletes_gone_keys(store: &dyn Store) {
    let (old, new) = (key("1", KeyPurpose::Csrf, 1), key("2", KeyPurpose::Csrf, 2));
    let other = key("1", KeyPurpose::RefreshToken, 1);
    for rotation in [first(&old), first(&other), after(&old, &new)] {
        assert_eq!(rotate(store, rotation).await, Ok(true));
    }
    let again = key("1", KeyPurpose::Csrf, 3);
    let gone = vec!["1".to_owned(), "99".to_owned()];
    let rotation = KeyRotation { gone, ..after(&new, &again) };
    assert_eq!(rotate(store, rotation).await, Ok(true));
    assert_eq!(store.list_keys().await, Ok(vec![other, new, again]));
}

/// Oldest first; of one age by purpose and id.
pub async fn lists_keys_by_age(store: &dyn Store) {
    let expected = vec![
        key("9", KeyPurpose::Csrf, 1),
        key("a", KeyPurpose::AccessToken, 2),
        key("1", KeyPurpose::RefreshToken, 2),
        key("10", KeyPurpose::Csrf, 3),
    ];
    let [oldest, access, refresh, newest] = expected.as_slice() else { panic!("four keys") };
    for rotation in [first(refresh), first(oldest), after(oldest, newest), first(access)] {
        assert_eq!(rotate(store, rotation).await, Ok(true));
    }
    assert_eq!(store.list_keys().await, Ok(expected));
}

/// Of two processes that replace one key at once, one does.
pub async fn of_two_rotations_one_happens(store: &dyn Store) {
    let old = key("1", KeyPurpose::RefreshToken, 1);
    for replaced in [None, Some(&old)] {
        let rotation = |id, secs| {
            let key = key(id, KeyPurpose::RefreshToken, secs);
            replaced.map_or_else(|| first(&key), |old| after(old, &key))
        };
        let secs = if replaced.is_some() { 2 } else { 1 };
        let (one, other) = if replaced.is_some() { ("2", "3") } else { ("1", "1") };
        let done =
            join(rotate(store, rotation(one, secs)), rotate(store, rotation(other, secs))).await;
        assert!(matches!(done, (Ok(true), Ok(false)) | (Ok(false), Ok(true))), "{done:?}");
    }
    assert_eq!(store.list_keys().await.map(|keys| keys.len()), Ok(2));
}

/// All seals at once, where the keys are those that were read.
pub async fn reseals_all_keys_or_none(store: &dyn Store) {
    let (old, new) = (key("1", KeyPurpose::Csrf, 1), key("2", KeyPurpose::Csrf, 2));
    for rotation in [first(&old), after(&old, &new)] {
        assert_eq!(rotate(store, rotation).await, Ok(true));
    }
    let sealing = key("1", KeyPurpose::SecondFactor, 3);
    assert_eq!(rotate(store, first(&sealing)).await, Ok(true));
    let reseal = |key: &KeyRecord| Resealed { key: key.clone(), sealed: vec![9, 9] };
    let moved = KeyRecord { sealed: vec![], ..new.clone() };
    for stale in [vec![reseal(&old), reseal(&new)], vec![], vec![reseal(&old), reseal(&moved)]] {
        assert_eq!(store.reseal_keys(stale, hand_over(None), &context(9)).await, Ok(false));
        assert_eq!(store.last_checkpoint().await, Ok(None));
    }
    let keys = vec![reseal(&old), reseal(&new), reseal(&sealing)];
    assert_eq!(store.reseal_keys(keys, hand_over(None), &context(9)).await, Ok(true));
    let last = store.last_checkpoint().await.expect(WORKS);
    assert_eq!(last, hand_over(None));
    let resealed = [old, new, sealing].map(|key| KeyRecord { sealed: vec![9, 9], ..key });
    assert_eq!(store.list_keys().await, Ok(resealed.to_vec()));
    // Somebody has appended that number: the keys stay as they are.
    let again =
        || resealed.iter().map(reseal).map(|it| Resealed { sealed: vec![8], ..it }).collect();
    assert_eq!(store.reseal_keys(again(), hand_over(None), &context(9)).await, Ok(false));
    assert_eq!(store.list_keys().await, Ok(resealed.to_vec()));
    let rotated = r#"key.rotated - - {"purpose":"master","compromised":false}"#;
    assert_events(store, 1, 9, &[rotated]).await;
}

fn hand_over(last: Option<&Checkpoint>) -> Option<Checkpoint> {
    let key = |byte| ChainKey::from_seed(&MasterKey::new(&[byte; 32]).derive(ChainKey::PURPOSE));
    Some(Checkpoint::hand_over(last, at(9), &key(7), &key(8)))
}

/// It can be written to, and nothing is there afterwards that was not before.
pub async fn answers_a_ping(store: &dyn Store) {
    assert!(store.ping().await.is_ok());
    assert!(events(store).await.is_empty());
}

async fn rotate(store: &dyn Store, rotation: KeyRotation) -> Result<bool, StoreError> {
    store.rotate_key(rotation, &context(9)).await
}

fn first(key: &KeyRecord) -> KeyRotation {
    KeyRotation { key: key.clone(), replaces: None, compromised: false, gone: vec![] }
}

fn after(replaces: &KeyRecord, key: &KeyRecord) -> KeyRotation {
    KeyRotation { replaces: Some(replaces.clone()), ..first(key) }
}

fn key(id: &str, purpose: KeyPurpose, secs: i64) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        purpose,
        algorithm: "ES256".to_owned(),
        sealed: vec![0, 1, 255, id.as_bytes()[0]],
        created_at: at(secs),
        activates_at: at(secs + 1),
        compromised_at: None,
    }
}
