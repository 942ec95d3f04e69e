//! A database of the PostgreSQL server for tests, for those who do not wait in turns.

use keyward::store::postgres::fresh::FreshDatabase;
use tokio::runtime::{Builder, Runtime};

/// A database that this test has to itself.
pub(crate) struct Database {
    runtime: Runtime,
    fresh: FreshDatabase,
}

impl Database {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let fresh = runtime.block_on(FreshDatabase::create());
        Self { runtime, fresh }
    }

    /// The URL with everybody's rights.
    pub(crate) fn url(&self) -> String {
        self.fresh.url()
    }

    /// The URL with the rights of the running service.
    pub(crate) fn service_url(&self) -> String {
        self.fresh.service_url()
    }

    /// Runs statements with everybody's rights. No other test gets the database after this.
    pub(crate) fn run(&self, sql: &str) {
        self.runtime.block_on(self.fresh.run(sql));
    }
}
