//! Whose signatures the chain goes on behind.

use axum::http::StatusCode;
use keyward::service::SealingError;
use keyward_core::audit::DamageKind;
use keyward_core::keys::MasterKey;

use crate::world::{World, assert_damage, verify, verify_by};
use crate::{BOB, busy};

/// The key of whoever has no master key is no key, whatever was sealed behind it.
#[tokio::test]
async fn nothing_is_sealed_behind_what_somebody_else_has_signed() {
    for world in World::all().await {
        busy(&world.app).await;
        world.app.keyward.seal_audit().await.expect("a store");
        let stranger = MasterKey::new(&[9; 32]);
        world.sign_anew(&stranger).await;
        world.app.registered(BOB).await;
        assert_eq!(world.app.keyward.seal_audit().await, Err(SealingError::Foreign(1)));
        let own = MasterKey::new(&[7; 32]);
        assert_damage(&verify(&world.app).await, DamageKind::Unsigned, None, "signed anew");
        // Nor is the chain handed over, though the keys are.
        let over = world.reseal(&own, &MasterKey::new(&[8; 32])).await;
        assert!(!over.is_chain_handed_over);
        let checkpoints = world.app.store.list_checkpoints(0, 9).await.expect("a store");
        assert_eq!(checkpoints.len(), 1);
    }
}

/// Whoever still holds the old one seals nothing from then on, and says so.
#[tokio::test]
async fn the_chain_goes_on_with_another_master_key() {
    let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
    for world in World::all().await {
        let mut ada = busy(&world.app).await;
        world.app.keyward.seal_audit().await.expect("a store");
        ada.refresh().await.assert(StatusCode::OK, None);
        assert!(world.reseal(&old, &new).await.is_chain_handed_over);
        assert_eq!(world.app.keyward.seal_audit().await, Err(SealingError::Foreign(2)));
        let successor = world.started(&[8; 32]).await;
        // The refresh, and the change of the key.
        assert_eq!(successor.seal_audit().await, Ok(2));
        ada.refresh().await.assert(StatusCode::OK, None);
        assert_eq!(world.app.keyward.seal_audit().await, Err(SealingError::Foreign(3)));
        assert_eq!(successor.seal_audit().await, Ok(1));
        let verified = verify_by(&world.app, &new, None).await;
        assert_eq!((verified.damage, verified.events, verified.by_earlier_keys), (None, 8, 1));
        assert_eq!(verified.checkpoints, 4);
        assert_damage(&verify(&world.app).await, DamageKind::Unsigned, None, "the old key");
    }
}
