//! [`LoadStore`]: the connections, and the exchanges that share a commit.

use super::PostgresStore;
use crate::store::{LoadStore, StoreLoad};

impl LoadStore for PostgresStore {
    fn load(&self) -> StoreLoad {
        let connections = Some(self.connections.load());
        StoreLoad { connections, commits: Some(self.rotations.commits()) }
    }
}
