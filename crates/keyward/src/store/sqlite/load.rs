//! [`LoadStore`]: what waits for the writing thread, and what it has committed.

use super::SqliteStore;
use crate::store::{LoadStore, StoreLoad};

impl LoadStore for SqliteStore {
    fn load(&self) -> StoreLoad {
        StoreLoad { connections: None, commits: Some(self.writer.commits()) }
    }
}
