//! Whose signatures the chain goes on behind.

use axum::http::StatusCode;
use keyward::service::SealingError;
use keyward_core::audit::DamageKind;
use keyward_core::keys::MasterKey;

use crate::world::{World, assert_damage, head, verify, verify_by};
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

/// A chain is not begun anew by whoever knows that there was one.
#[tokio::test]
async fn nothing_is_sealed_where_a_chain_was_lost() {
    const LOSSES: [&str; 3] = [
        "DELETE FROM keyward.audit_checkpoint",
        "DELETE FROM keyward.audit_checkpoint WHERE number = 2",
        "DELETE FROM keyward.audit_checkpoint WHERE number = 2;
         UPDATE keyward.audit_checkpoint SET number = 2",
    ];
    for loss in LOSSES {
        for world in World::all().await {
            let mut ada = busy(&world.app).await;
            world.app.keyward.seal_audit().await.expect("a store");
            ada.refresh().await.assert(StatusCode::OK, None);
            world.app.keyward.seal_audit().await.expect("a store");
            let head = head(&world.app).await.expect("a head");
            world.tamper(loss).await;
            world.app.registered(BOB).await;
            let is_renamed = loss.contains("UPDATE");
            let why = if is_renamed { SealingError::Foreign(2) } else { SealingError::Lost(head) };
            assert_eq!(world.app.keyward.seal_audit().await, Err(why), "{loss}");
            // Whoever starts another one goes on with what there is, if the key has signed it.
            let sealed = world.started(&[7; 32]).await.seal_audit().await;
            assert_eq!(sealed.is_err(), is_renamed, "{loss}: {sealed:?}");
            assert!(world.app.keyward.seal_audit().await.is_err(), "{loss}");
        }
    }
}

/// Other nodes seal as well, and have purged what this one has seen last.
#[tokio::test]
async fn a_chain_that_others_went_on_with_is_not_lost() {
    for world in World::all().await {
        let (app, other) = (&world.app, world.started(&[7; 32]).await);
        let mut ada = busy(app).await;
        app.keyward.seal_audit().await.expect("a store");
        for _ in 0..3 {
            ada.refresh().await.assert(StatusCode::OK, None);
            assert_eq!(other.seal_audit().await, Ok(1));
        }
        assert_eq!(app.keyward.seal_audit().await, Ok(0));
        ada.refresh().await.assert(StatusCode::OK, None);
        assert_eq!(app.keyward.seal_audit().await, Ok(1));
        world.tamper("DELETE FROM keyward.audit_checkpoint WHERE number < 5").await;
        assert_eq!(other.seal_audit().await, Ok(0));
    }
}
