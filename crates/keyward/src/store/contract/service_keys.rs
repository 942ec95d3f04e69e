//! Service keys.

use keyward_core::audit::Actor;
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{Scope, ServiceKeyHash, ServiceKeyRecord};

use super::*;

/// With its event, which says what the key may be used for and nothing of its hash.
pub async fn inserts_a_service_key(store: &dyn Store) {
    let expiring = ServiceKeyRecord { expires_at: Some(at(9)), ..key(1) };
    store.insert_service_key(expiring.clone(), &context(1)).await.expect(WORKS);
    assert_eq!(store.list_service_keys().await, Ok(vec![expiring]));
    let detail = r#"{"serviceKeyId":"01010101-0101-0101-0101-010101010101","name":"key 1","#;
    let created =
        format!(r#"service_key.created - - {detail}"scopes":["audit:read","users:write"]}}"#);
    assert_events(store, 0, 1, &[&created]).await;
}

/// Whoever has no such key finds none.
pub async fn finds_a_service_key_by_its_hash(store: &dyn Store) {
    for number in [1, 2] {
        store.insert_service_key(key(number), &context(1)).await.expect(WORKS);
    }
    assert_eq!(store.find_service_key(key(2).hash).await, Ok(Some(key(2))));
    assert_eq!(store.find_service_key(key(3).hash).await, Ok(None));
}

/// Revoked ones among them.
pub async fn lists_service_keys_by_id(store: &dyn Store) {
    assert_eq!(store.list_service_keys().await, Ok(Vec::new()));
    for number in [3, 1, 2] {
        store.insert_service_key(key(number), &context(1)).await.expect(WORKS);
    }
    let revoked = store.revoke_service_key(key(2).id, &context(2)).await.expect(WORKS);
    let expected = vec![key(1), revoked.expect("the key"), key(3)];
    assert_eq!(store.list_service_keys().await, Ok(expected));
}

/// The first time counts; an unknown key is none. The event says who revoked it.
pub async fn revokes_a_service_key_once(store: &dyn Store) {
    store.insert_service_key(key(1), &context(1)).await.expect(WORKS);
    let revoked = ServiceKeyRecord { revoked_at: Some(at(2)), ..key(1) };
    let by_admin = AuditContext { actor: Some(Actor::User(user_id(7))), ..context(2) };
    for context in [by_admin, context(3)] {
        let answered = store.revoke_service_key(key(1).id, &context).await;
        assert_eq!(answered, Ok(Some(revoked.clone())));
    }
    assert_eq!(store.find_service_key(key(1).hash).await, Ok(Some(revoked)));
    assert_eq!(store.revoke_service_key(key(2).id, &context(4)).await, Ok(None));
    let event =
        r#"service_key.revoked - - {"serviceKeyId":"01010101-0101-0101-0101-010101010101","#;
    let event = format!(r#"{event}"actor":{{"userId":"07070707-0707-0707-0707-070707070707"}}}}"#);
    assert_events(store, 1, 2, &[&event]).await;
}

fn key(number: u8) -> ServiceKeyRecord {
    ServiceKeyRecord {
        id: ServiceKeyId::from_bytes([number; 16]),
        name: format!("key {number}"),
        hash: ServiceKeyHash::from_bytes([number; 32]),
        scopes: [Scope::UsersWrite, Scope::AuditRead].into(),
        created_at: at(1),
        expires_at: None,
        revoked_at: None,
    }
}
