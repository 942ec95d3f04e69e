//! Every store passes the one suite.

use keyward::store::layer::Layer;
use keyward::store::{MemoryStore, SqliteStore, Store};
use keyward_core::time::Timestamp;

mod memory {
    use super::*;

    keyward::store_contract!((MemoryStore::new(), ()));
}

mod sqlite {
    use super::*;

    keyward::store_contract!(fresh_sqlite());
}

#[cfg(feature = "postgres")]
mod postgres {
    use keyward::store::postgres::fresh::fresh_postgres;

    keyward::store_contract!(fresh_postgres().await);
}

/// The role of the running service may do all that the service does.
#[cfg(feature = "postgres")]
mod postgres_as_service {
    use keyward::store::postgres::fresh::fresh_postgres_as_service;

    keyward::store_contract!(fresh_postgres_as_service().await);
}

#[cfg(feature = "postgres")]
mod postgres_behind_pooler {
    use keyward::store::postgres::fresh::fresh_postgres_behind_pooler;

    keyward::store_contract!(fresh_postgres_behind_pooler().await);
}

/// A layer that says nothing is as good as the store below.
mod layer {
    use super::*;

    keyward::store_contract!((Bare(MemoryStore::new()), ()));
}

#[derive(Debug)]
struct Bare(MemoryStore);

impl Layer for Bare {
    fn inner(&self) -> &dyn Store {
        &self.0
    }
}

fn fresh_sqlite() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    (store.expect("a store"), dir)
}
