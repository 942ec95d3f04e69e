//! The service on PostgreSQL: races between real connections, and a server that fails or
//! refuses.

#![cfg(feature = "postgres")]

#[path = "../common/mod.rs"]
mod common;

mod clock;
mod faults;
mod line;
mod purge;
mod races;
mod refusals;
mod tls;

use std::sync::Arc;

use common::TestApp;
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{PostgresSettings, PostgresStore};
use keyward_core::time::Timestamp;

async fn app_on(settings: &PostgresSettings) -> TestApp {
    let store = PostgresStore::open(settings, Timestamp::from_secs(1)).await;
    TestApp::on_store(Arc::new(store.expect("a store")), |_| {}).await
}

/// A service on a database of its own.
async fn app() -> (TestApp, FreshDatabase) {
    let database = FreshDatabase::create().await;
    (app_on(&database.service_settings()).await, database)
}
