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
