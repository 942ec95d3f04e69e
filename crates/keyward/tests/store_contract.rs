//! Every store passes the one suite.

use keyward::store::{MemoryStore, SqliteStore};
use keyward_core::time::Timestamp;

mod memory {
    use super::*;

    keyward::store_contract!((MemoryStore::new(), ()));
}

mod sqlite {
    use super::*;

    keyward::store_contract!(fresh_sqlite());
}

fn fresh_sqlite() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    (store.expect("a store"), dir)
}
