//! A service on a store that can be changed behind its back.

use std::path::PathBuf;
use std::sync::Arc;

use keyward::entropy::SystemEntropy;
use keyward::service::{Keyward, Parts, Resealing, chain_key, reseal, verify_chain};
#[cfg(feature = "postgres")]
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{AuditFilter, AuditOrder, SqliteStore};
use keyward_core::audit::chain::{Anchor, ChainKey, Checkpoint};
use keyward_core::audit::{DamageKind, Verification, Verified};
use keyward_core::keys::MasterKey;
use keyward_core::time::Timestamp;
use rusqlite::Connection;

use crate::common::TestApp;

/// A service on a store that can be changed behind its back.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    File(PathBuf, #[expect(dead_code, reason = "kept until the test ends")] tempfile::TempDir),
    #[cfg(feature = "postgres")]
    Server(FreshDatabase),
}

impl World {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("test.db");
        let store = SqliteStore::open(&file, Timestamp::from_secs(1)).expect("a store");
        let app = TestApp::on_store(Arc::new(store), |_| {}).await;
        Self { app, place: Place::File(file, folder) }
    }

    #[cfg(feature = "postgres")]
    pub(crate) async fn on_postgres() -> Self {
        let (store, database) = keyward::store::postgres::fresh::fresh_postgres_as_service().await;
        let app = TestApp::on_store(Arc::new(store), |_| {}).await;
        Self { app, place: Place::Server(database) }
    }

    /// Both kinds of databases.
    pub(crate) async fn all() -> Vec<Self> {
        vec![
            Self::on_sqlite().await,
            #[cfg(feature = "postgres")]
            Self::on_postgres().await,
        ]
    }

    /// Does something that no program of ours does, in words that both databases understand.
    pub(crate) async fn tamper(&self, sql: &str) {
        match &self.place {
            Place::File(file, _) => {
                let connection = Connection::open(file).expect("a file");
                connection.execute_batch(&sql.replace("keyward.", "")).expect(sql);
            }
            #[cfg(feature = "postgres")]
            Place::Server(database) => database.run(sql).await,
        }
    }

    /// Signs every checkpoint anew, as somebody can who has another master key.
    pub(crate) async fn sign_anew(&self, master_key: &MasterKey) {
        let key = ChainKey::from_seed(&master_key.derive(ChainKey::PURPOSE));
        let order = AuditOrder::After(0);
        let filter = AuditFilter { order, limit: 100, ..AuditFilter::default() };
        let mut events = self.app.store.list_audit(filter).await.expect("a store").into_iter();
        let mut forged: Option<Checkpoint> = None;
        for checkpoint in self.app.store.list_checkpoints(0, 100).await.expect("a store") {
            let covered = checkpoint.events.count() as usize;
            let covered: Vec<_> =
                events.by_ref().take(covered).map(|event| (event, None)).collect();
            forged = Checkpoint::seal(forged.as_ref(), &covered, checkpoint.at, &key);
            let Some(Checkpoint { number, tags, previous, head, key, signature, .. }) = &forged
            else {
                panic!("a checkpoint over no event")
            };
            let set = [
                ("tags", tags.as_slice()),
                ("previous", previous.as_slice()),
                ("head", head.as_slice()),
                ("key", key.as_slice()),
                ("signature", signature.as_slice()),
            ];
            for (column, bytes) in set {
                let bytes = self.literal(bytes);
                self.tamper(&format!(
                    "UPDATE keyward.audit_checkpoint SET {column} = {bytes} WHERE number = {number}"
                ))
                .await;
            }
        }
    }

    /// Bytes in the words of the database.
    fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match &self.place {
            Place::File(..) => format!("x'{hex}'"),
            #[cfg(feature = "postgres")]
            Place::Server(_) => format!("'\\x{hex}'::bytea"),
        }
    }

    /// Seals the keys with another master key, as the command line does.
    pub(crate) async fn reseal(&self, from: &MasterKey, to: &MasterKey) -> Resealing {
        let (store, context) = (self.app.store.as_ref(), self.app.nobody());
        reseal(store, from, to, &SystemEntropy::new(), &context).await.expect("a store")
    }

    /// Another node on the same store.
    pub(crate) async fn started(&self, master_key: &[u8; 32]) -> Keyward {
        Keyward::start(Parts {
            policy: self.app.keyward.policy().clone(),
            store: Arc::clone(&self.app.store),
            master_key: MasterKey::new(master_key),
            clock: Arc::clone(&self.app.clock) as _,
            entropy: Arc::new(SystemEntropy::new()),
            shared: None,
            mailing: None,
        })
        .await
        .expect("it starts")
    }

    /// The id of the event that is so many behind the first.
    pub(crate) async fn id(&self, place: usize) -> i64 {
        let filter =
            AuditFilter { order: AuditOrder::After(0), limit: 100, ..AuditFilter::default() };
        self.app.store.list_audit(filter).await.expect("a store")[place].id
    }
}

/// Where the chain of an app stands.
pub(crate) async fn head(app: &TestApp) -> Option<Anchor> {
    let last = app.store.last_checkpoint().await.expect("a store");
    last.map(|last| last.anchor())
}

pub(crate) async fn verify(app: &TestApp) -> Verified {
    verify_with(app, None).await
}

pub(crate) async fn verify_with(app: &TestApp, anchor: Option<Anchor>) -> Verified {
    verify_by(app, &MasterKey::new(&[7; 32]), anchor).await
}

pub(crate) async fn verify_by(
    app: &TestApp,
    master_key: &MasterKey,
    anchor: Option<Anchor>,
) -> Verified {
    let verification = Verification::new(Some(chain_key(master_key)), anchor);
    verify_chain(app.store.as_ref(), verification, |_| {}).await.expect("a store")
}

#[track_caller]
pub(crate) fn assert_damage(
    verified: &Verified,
    kind: DamageKind,
    event_id: Option<i64>,
    why: &str,
) {
    let damage = verified.damage.unwrap_or_else(|| panic!("{why}: no damage in {verified:?}"));
    assert_eq!((damage.kind, damage.event_id), (kind, event_id), "{why}: {damage}");
}
