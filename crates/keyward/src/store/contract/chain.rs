//! The chain over the audit log.

use keyward_core::audit::chain::{ChainKey, Checkpoint, UserSalt};
use keyward_core::audit::{AuditEvent, AuditKind};
use keyward_core::keys::MasterKey;

use super::*;
use crate::store::{Purge, Purged, UnsealedPage};

/// In the order of the ids, by the page, and what was sealed comes no more.
pub async fn lists_what_is_not_sealed(store: &dyn Store) {
    assert_eq!(store.last_checkpoint().await, Ok(None));
    assert!(unsealed(store, None, None).await.events.is_empty());
    record(store, 5).await;
    let first = unsealed(store, None, None).await;
    assert_eq!((first.events.len(), first.is_last), (2, false));
    assert_eq!(unsealed(store, None, None).await.events, first.events);
    let last = append(store, None, &first).await;
    let second = unsealed(store, Some(&last), Some(&first)).await;
    assert_eq!(unsealed(store, Some(&last), None).await.events, second.events);
    let last = append(store, Some(&last), &second).await;
    record(store, 1).await;
    let third = unsealed(store, Some(&last), None).await;
    let last = append(store, Some(&last), &third).await;
    let mut sealed = [first, second, third].map(|page| page.events).concat();
    let rest = unsealed(store, Some(&last), None).await;
    sealed.extend(rest.events.clone());
    assert_eq!(sealed, events(store).await);
    if !rest.events.is_empty() {
        append(store, Some(&last), &rest).await;
    }
    let last = store.last_checkpoint().await.expect(WORKS);
    assert!(unsealed(store, last.as_ref(), None).await.events.is_empty());
}

/// Full pages to the end: whatever comes later is found all the same.
pub async fn goes_on_behind_a_full_page(store: &dyn Store) {
    record(store, 4).await;
    let mut last = None;
    for _ in 0..2 {
        let page = unsealed(store, last.as_ref(), None).await;
        last = Some(append(store, last.as_ref(), &page).await);
    }
    record(store, 1).await;
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let page = unsealed(store, last.as_ref(), before.as_ref()).await;
        found.extend(page.events.clone());
        if page.is_last {
            break;
        }
        before = Some(page);
    }
    assert_eq!(found, events(store).await[4..]);
}

/// Which covers nothing, and leaves what was sealed sealed.
pub async fn goes_on_behind_a_hand_over(store: &dyn Store) {
    let (from, to) = (key(7), key(8));
    let mut last = None;
    for count in [0, 3] {
        record(store, count).await;
        for _ in 0..2 {
            let page = unsealed(store, last.as_ref(), None).await;
            if !page.events.is_empty() {
                last = Some(append(store, last.as_ref(), &page).await);
            }
        }
        for _ in 0..2 {
            let over = Checkpoint::hand_over(last.as_ref(), at(9), &from, &to);
            assert_eq!(store.reseal_keys(vec![], Some(over.clone()), &context(9)).await, Ok(true));
            assert_eq!(store.last_checkpoint().await, Ok(Some(over.clone())));
            last = Some(over);
        }
    }
    record(store, 1).await;
    let sealed: Vec<i64> = store
        .list_checkpoints(0, 99)
        .await
        .expect(WORKS)
        .iter()
        .flat_map(|checkpoint| checkpoint.events.iter().collect::<Vec<_>>())
        .collect();
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = unsealed(store, last.as_ref(), before.as_ref()).await;
        found.extend(page.events.iter().map(|event| event.id));
        if page.is_last {
            break;
        }
        before = Some(page);
    }
    let all: Vec<i64> = events(store).await.iter().map(|event| event.id).collect();
    assert_eq!([sealed, found].concat(), all);
}

/// What was appended is read as it was.
pub async fn keeps_checkpoints(store: &dyn Store) {
    record(store, 6).await;
    let (mut last, mut before) = (None, None);
    let mut appended = Vec::new();
    for _ in 0..3 {
        let page = unsealed(store, last.as_ref(), before.as_ref()).await;
        let checkpoint = append(store, last.as_ref(), &page).await;
        appended.push(checkpoint.clone());
        last = Some(checkpoint);
        before = Some(page);
    }
    assert_eq!(store.last_checkpoint().await, Ok(last));
    assert_eq!(store.list_checkpoints(0, 9).await, Ok(appended.clone()));
    assert_eq!(store.list_checkpoints(1, 1).await, Ok(vec![appended[1].clone()]));
    assert_eq!(store.list_checkpoints(3, 9).await, Ok(Vec::new()));
}

/// Of any number that append the same number one does.
pub async fn of_many_sealers_one_appends(store: &dyn Store) {
    record(store, 2).await;
    let page = unsealed(store, None, None).await;
    let made: Vec<Checkpoint> = (0..20).map(|secs| checkpoint(None, &page, secs)).collect();
    let appended = made.iter().map(|checkpoint| store.append_checkpoint(checkpoint, &page));
    let appended = futures_util::future::join_all(appended).await;
    assert_eq!(appended.iter().filter(|done| **done == Ok(true)).count(), 1, "{appended:?}");
    let winner = appended.iter().position(|done| *done == Ok(true)).expect("one");
    assert_eq!(store.list_checkpoints(0, 9).await, Ok(vec![made[winner].clone()]));
}

/// One for each user who exists, the first one, and none after the user.
pub async fn keeps_one_salt_a_user(store: &dyn Store) {
    for number in [1, 2] {
        insert_user(store, number).await;
    }
    let salt = |byte| UserSalt::from_bytes([byte; 32]);
    let [ada, bob, nobody] = [1, 2, 3].map(user_id);
    let asked = vec![(ada, salt(1)), (nobody, salt(3))];
    assert_eq!(store.keep_salts(asked).await, Ok(vec![(ada, salt(1))]));
    let asked = vec![(ada, salt(9)), (bob, salt(2))];
    let mut kept = store.keep_salts(asked).await.expect(WORKS);
    kept.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(kept, [(ada, salt(1)), (bob, salt(2))]);
    assert_eq!(store.find_salts(vec![bob, nobody]).await, Ok(vec![(bob, salt(2))]));
    delete(store, 2, 5).await;
    assert_eq!(store.find_salts(vec![ada, bob]).await, Ok(vec![(ada, salt(1))]));
    assert_eq!(store.keep_salts(vec![(bob, salt(4))]).await, Ok(Vec::new()));
}

/// From the first on, but for the last of those whose months are over.
pub async fn purges_checkpoints_but_the_last(store: &dyn Store) {
    const MONTH: i64 = 40 * 24 * 60 * 60;
    const OLD: i64 = -100 * MONTH;
    let mut last = None;
    for month in 0..4 {
        let written = OLD + month * MONTH;
        record_at(store, written, 2).await;
        let page = unsealed(store, last.as_ref(), None).await;
        // At that time: what is older than a month by then is not looked for any more.
        let sealed = checkpoint(last.as_ref(), &page, written + 9);
        assert_eq!(store.append_checkpoint(&sealed, &page).await, Ok(true));
        last = Some(sealed);
    }
    let numbers = async || -> Vec<u64> {
        let kept = store.list_checkpoints(0, 9).await.expect(WORKS);
        kept.iter().map(|checkpoint| checkpoint.number).collect()
    };
    let before = at(OLD + 2 * MONTH).start_of_month();
    assert_eq!(purge(store, before).await, 1);
    assert_eq!(numbers().await, [2, 3, 4]);
    assert_eq!(purge(store, before).await, 0);
    let before = at(OLD + 9 * MONTH).start_of_month();
    assert_eq!(purge(store, before).await, 1);
    assert_eq!(purge(store, before).await, 1);
    assert_eq!(purge(store, before).await, 0);
    assert_eq!(numbers().await, [4]);
}

async fn purge(store: &dyn Store, before: Timestamp) -> u64 {
    match store.purge(Purge::Checkpoints { before }, 1, &context(5)).await.expect(WORKS) {
        Purged::Rows(count) => count,
        Purged::Month => panic!("checkpoints are not kept by month"),
    }
}

async fn record(store: &dyn Store, count: i64) {
    record_at(store, 0, count).await;
}

async fn record_at(store: &dyn Store, secs: i64, count: i64) {
    let event = |number| {
        let kind = AuditKind::SessionRefreshed { generation: 1 };
        let context = AuditContext { at: at(secs + number), ..context(number) };
        (AuditEvent::of_user(kind, user_id(1)), context)
    };
    store.record((0..count).map(event).collect()).await.expect(WORKS);
}

/// A page of two.
async fn unsealed(
    store: &dyn Store,
    last: Option<&Checkpoint>,
    before: Option<&UnsealedPage>,
) -> UnsealedPage {
    store.list_unsealed(last, before, 2).await.expect(WORKS)
}

fn checkpoint(last: Option<&Checkpoint>, page: &UnsealedPage, secs: i64) -> Checkpoint {
    let events: Vec<_> = page.events.iter().map(|event| (event.clone(), None)).collect();
    Checkpoint::seal(last, &events, at(secs), &key(7)).expect("events")
}

fn key(byte: u8) -> ChainKey {
    ChainKey::from_seed(&MasterKey::new(&[byte; 32]).derive(ChainKey::PURPOSE))
}

async fn append(store: &dyn Store, last: Option<&Checkpoint>, page: &UnsealedPage) -> Checkpoint {
    let checkpoint = checkpoint(last, page, 9);
    assert_eq!(store.append_checkpoint(&checkpoint, page).await, Ok(true));
    checkpoint
}
