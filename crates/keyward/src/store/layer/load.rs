//! [`LoadStore`], passed on.

use super::Layer;
use crate::store::{LoadStore, StoreLoad};

impl<L: Layer> LoadStore for L {
    fn load(&self) -> StoreLoad {
        self.inner().load()
    }
}
