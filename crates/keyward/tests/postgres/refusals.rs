//! A server that runs and takes nobody in: what the operator is told to do.

use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{PostgresSettings, PostgresStore, StoreError};
use keyward_core::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::join;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_password_that_is_not_configured_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut greeting = [0; 64];
        assert_ne!(stream.read(&mut greeting).await.expect("a greeting"), 0);
        stream.write_all(ASKS_FOR_A_PASSWORD).await.expect("written");
        // Until the client has hung up.
        let _ended = stream.read(&mut greeting).await;
    };
    let url = format!("postgres://keyward@{address}/keyward");
    let settings = PostgresSettings::parse(&url, std::path::Path::new(".")).expect("a URL");
    let (why, ()) = join!(refusal(&settings), server);
    assert_eq!(why, "PostgreSQL asks for a password; set store.password_file");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let database = FreshDatabase::create().await;
    let why = refusal(&database.settings_of("keyward_nowhere")).await;
    assert!(why.contains("\"keyward_nowhere\""), "{why}");
    assert!(why.contains("correct the name") && why.contains("ENCODING 'UTF8'"), "{why}");
}

async fn refusal(settings: &PostgresSettings) -> String {
    let opened = PostgresStore::open(settings, Timestamp::from_secs(1)).await.map(drop);
    let Err(StoreError::Unavailable(why)) = opened else { panic!("{opened:?}") };
    why
}

/// `AuthenticationCleartextPassword` of the protocol.
const ASKS_FOR_A_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
