//! [`LoadStore`]: memory keeps nobody waiting.

use super::MemoryStore;
use crate::store::{LoadStore, StoreLoad};

impl LoadStore for MemoryStore {
    fn load(&self) -> StoreLoad {
        StoreLoad::default()
    }
}
