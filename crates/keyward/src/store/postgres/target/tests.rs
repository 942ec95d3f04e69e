use super::*;
use crate::store::postgres::fresh::FreshDatabase;

/// While the copy ends, the service waits for the server and for the file. A server that hangs ends
/// it; a file that is read slowly would be read as slowly the next time.
#[tokio::test]
async fn the_file_may_take_longer_than_the_server() {
    let database = FreshDatabase::create().await;
    // Half a copy is nothing for the next test.
    database.run("SELECT").await;
    let origin = CopiedFile { fingerprint: vec![7; 32], oldest_event: None, is_open: true };
    let target = Target::open(&database.settings(), &origin, Timestamp::from_secs(1)).await;
    let mut target = target.expect("a target");
    target.lock().await.expect("locked");
    for (setting, expected) in [
        ("statement_timeout", "1min"),
        ("lock_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "10min"),
    ] {
        let sql = format!("SELECT current_setting('{setting}')");
        let found = target.ask(&sql, &[], &[]).await.expect("an answer");
        let found = rows::first(&found, |columns| columns.take::<String>(setting));
        assert_eq!(found, Ok(Some(expected.to_owned())), "{setting}");
    }
}

/// Whoever copies may be a superuser, and the months before this one are the owner's all the same:
/// else the owner's next migration of the log would fail.
#[tokio::test]
async fn past_months_belong_to_the_owner_of_the_log() {
    let database = FreshDatabase::create().await;
    // A name that has to be quoted.
    database.run(OTHER_OWNER).await;
    let oldest = database.number(FORTY_DAYS_AGO).await;
    let oldest_event = Timestamp::from_millis(oldest);
    let origin =
        CopiedFile { fingerprint: vec![8; 32], oldest_event: Some(oldest_event), is_open: true };
    let target = Target::open(&database.settings(), &origin, Timestamp::from_secs(1)).await;
    target.expect("a target");
    assert_eq!(database.text(OWNER_OF_MONTH).await, "Keyward's owner");
}

/// Whoever names the database of a service by mistake has it back as it was: the service may be of
/// an older version.
#[tokio::test]
async fn a_database_with_data_of_an_older_version_is_refused_as_it_is() {
    for (version, row) in [(1, A_KEY), (5, A_SEALING_KEY), (7, AN_EVENT)] {
        let database = FreshDatabase::create().await;
        database.run("DROP SCHEMA keyward CASCADE").await;
        let connections = Connections::new(&database.settings()).expect("a pool");
        let older = |lent| migrations::apply_until(lent, Timestamp::from_secs(1), version);
        connections.transact(PATIENCE, older).await.expect("the schema of an older version");
        database.run(row).await;
        let before = database.text(RELATIONS).await;

        let origin = CopiedFile { fingerprint: vec![9; 32], oldest_event: None, is_open: true };
        let target = Target::open(&database.settings(), &origin, Timestamp::from_secs(2)).await;
        assert_eq!(target.map(drop), Err(unavailable(NOT_EMPTY)), "{version}");
        let migrations = database.number("SELECT count(*) FROM keyward.migration").await;
        assert_eq!(usize::try_from(migrations), Ok(version));
        assert_eq!(database.text(RELATIONS).await, before);
    }
}

const A_KEY: &str = "
    INSERT INTO keyward.key (purpose, id, algorithm, sealed, created_at, activates_at)
    VALUES ('signing', 'a', 'ES256', '', 1, 1)";
const A_SEALING_KEY: &str = "
    INSERT INTO keyward.sealing_key (purpose, id, algorithm, sealed, created_at, activates_at)
    VALUES ('second_factor', 'a', 'AES-256-GCM', '', 1, 1)";
const AN_EVENT: &str =
    "INSERT INTO keyward.audit_event (at, name, detail) VALUES (1, 'login', '{}')";
/// Whatever there is, the months of the log as well.
const RELATIONS: &str = "
    SELECT string_agg(relname::text, ' ' ORDER BY relname) FROM pg_class
    WHERE relnamespace = 'keyward'::regnamespace";
const OTHER_OWNER: &str = "
    DO $$ BEGIN
        CREATE ROLE \"Keyward's owner\";
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$;
    ALTER TABLE keyward.audit_event OWNER TO \"Keyward's owner\"";
const FORTY_DAYS_AGO: &str =
    "SELECT (extract(epoch FROM now() - interval '40 days') * 1000)::bigint";
const OWNER_OF_MONTH: &str = "
    SELECT pg_get_userbyid(relowner)::text FROM pg_class
    WHERE relnamespace = 'keyward'::regnamespace AND relname = 'audit_event_'
        || to_char((now() - interval '40 days') AT TIME ZONE 'UTC', 'YYYY_MM')";
