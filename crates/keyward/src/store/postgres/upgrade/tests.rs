use tokio::join;

use super::*;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::fresh::FreshDatabase;

/// A backup reads the whole log, and takes its time.
#[tokio::test]
async fn nobody_waits_for_a_migration_that_waits_for_a_reader() {
    let database = FreshDatabase::create().await;
    database.run("DROP SCHEMA keyward CASCADE").await;
    let connections = Connections::new(&database.settings()).expect("a pool");
    let before = |lent| migrations::apply_until(lent, NOW, 7);
    connections.transact(PATIENCE, before).await.expect("the schema of another version");
    let reader = "SET LOCAL application_name = 'a backup'; SELECT FROM keyward.audit_event";
    let reader = database.begin(reader).await;

    let (settings, said) = (database.settings(), Mutex::new(Vec::new()));
    let report = |text: &str| said.lock().expect("no panic").push(text.to_owned());
    let (migrated, ()) = join!(PostgresStore::migrate(&settings, NOW, report), async {
        database.until_waiting(1).await;
        // Whoever is written to the log would wait for the reader, too.
        let write = "INSERT INTO keyward.audit_event (at, name, detail) VALUES (1, 'login', '{}')";
        database.run(write).await;
        while said.lock().expect("no panic").is_empty() {
            sleep(WATCH_EVERY).await;
        }
        let last = "SELECT max(version)::bigint FROM keyward.migration";
        assert_eq!(database.number(last).await, 7);
        reader.commit().await;
    });
    assert_eq!(migrated, Ok(()));

    let listed = PostgresStore::migrations(&database.settings()).await.expect("a list");
    assert!(listed.iter().all(|migration| migration.applied_at.is_some()), "{listed:?}");
    let said = said.lock().expect("no panic");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("(a backup, role "), "{said:?}");
}

/// Names, browsers and places come in every writing of the world.
#[tokio::test]
async fn databases_of_other_encodings_than_utf8_are_refused() {
    let database = FreshDatabase::create().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", database.name(), encoding.to_lowercase());
        database.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        let locale = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        database.run(&format!("CREATE DATABASE {name} ENCODING '{encoding}' {locale}")).await;
        let settings = database.settings_of(&name);
        let failures = [
            PostgresStore::open(&settings, NOW).await.map(drop),
            PostgresStore::migrate(&settings, NOW, |_| {}).await,
            PostgresStore::migrations(&settings).await.map(drop),
        ];
        for failure in failures {
            let why = failure.expect_err("refused").to_string();
            assert!(why.contains(encoding) && why.contains("ENCODING 'UTF8'"), "{why}");
        }
        database.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}

const NOW: Timestamp = Timestamp::from_secs(1);
