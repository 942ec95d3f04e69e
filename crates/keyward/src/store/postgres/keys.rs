//! Sealed keys.

use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent};
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Failure, Lent};
use super::{audit, chain, rows, sql};
use crate::store::keys::MASTER_KEY_ROTATED;
use crate::store::{KeyRecord, KeyRotation, Resealed};

/// Lists every key.
pub(super) async fn list(connection: Lent) -> Result<Vec<KeyRecord>, Failure> {
    find_all(&connection).await
}

/// See `Store::rotate_key`.
pub(super) async fn rotate(
    connection: Lent,
    rotation: &KeyRotation,
    context: &AuditContext,
) -> Result<bool, Failure> {
    if !rotation.fits(&lock(&connection).await?) {
        return Ok(false);
    }
    let key = &rotation.key;
    let purpose = key.purpose.as_str();
    let at = context.at.millis();
    connection.query(sql::DELETE_KEYS, &[&purpose, &rotation.gone, &at]).await?;
    if rotation.compromised {
        connection.query(sql::MARK_COMPROMISED, &[&purpose, &at]).await?;
    }
    insert(&connection, key).await?;
    if let Some(event) = rotation.event() {
        audit::record(&connection, &[event], context).await?;
    }
    Ok(true)
}

/// See `Store::reseal_keys`.
pub(super) async fn reseal(
    connection: Lent,
    keys: &[Resealed],
    hand_over: Option<&Checkpoint>,
    context: &AuditContext,
) -> Result<bool, Failure> {
    if !lock(&connection).await?.iter().eq(keys.iter().map(|resealed| &resealed.key)) {
        return Ok(false);
    }
    if let Some(checkpoint) = hand_over
        && !chain::append_at(&connection, checkpoint, None).await?
    {
        return Ok(false);
    }
    for Resealed { key, sealed } in keys {
        let parameters: &[&(dyn ToSql + Sync)] = &[&key.purpose.as_str(), &key.id, sealed];
        let statement =
            if key.purpose.seals() { sql::SET_SEALED_OF_SEALING_KEY } else { sql::SET_SEALED };
        connection.query(statement, parameters).await?;
    }
    let rotated = [AuditEvent::of_nobody(MASTER_KEY_ROTATED)];
    audit::record(&connection, &rotated, context).await?;
    Ok(true)
}

/// Every key, which nobody else changes until the transaction ends.
async fn lock(connection: &Connection) -> Result<Vec<KeyRecord>, Failure> {
    connection.query(sql::LOCK_KEYS, &[]).await?;
    find_all(connection).await
}

async fn find_all(connection: &Connection) -> Result<Vec<KeyRecord>, Failure> {
    Ok(rows::all(&connection.query(sql::LIST_KEYS, &[]).await?, rows::key)?)
}

async fn insert(connection: &Connection, key: &KeyRecord) -> Result<(), Failure> {
    let (created_at, activates_at) = (key.created_at.millis(), key.activates_at.millis());
    let compromised_at = key.compromised_at.map(|at| at.millis());
    let purpose = key.purpose.as_str();
    let statement = if key.purpose.seals() { sql::INSERT_SEALING_KEY } else { sql::INSERT_KEY };
    connection
        .query(
            statement,
            &[
                &purpose,
                &key.id,
                &key.algorithm,
                &key.sealed,
                &created_at,
                &activates_at,
                &compromised_at,
            ],
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyward_core::keys::KeyPurpose;
    use keyward_core::session::Device;
    use keyward_core::time::Timestamp;

    use super::*;
    use crate::store::Store as _;
    use crate::store::postgres::fresh::fresh_postgres_as_service;

    /// A node whose clock is a year ahead takes keys for gone that sign at this moment.
    #[tokio::test]
    async fn keys_stay_that_are_gone_only_by_a_clock_that_runs_ahead() {
        let (store, _database) = fresh_postgres_as_service().await;
        let pinged = store.ping().await.expect("a store");
        let present = pinged.expect("the time of the server");
        let keys = [1, 2, 3].map(|number| key(number, present));
        let [first, second, third] = keys.clone();
        for (key, at, replaces, gone) in [
            (first.clone(), present, None, None),
            (second.clone(), present.plus(YEAR), Some(first), Some("1")),
            (third, present, Some(second), None),
        ] {
            let gone = gone.into_iter().map(str::to_owned).collect();
            let rotation = KeyRotation { key, replaces, compromised: false, gone };
            assert_eq!(store.rotate_key(rotation, &context(at)).await, Ok(true));
        }
        assert_eq!(store.list_keys().await.map(|kept| kept.len()), Ok(3));
        let [.., third] = keys;
        let gone = vec!["1".to_owned(), "2".to_owned()];
        let replaces = Some(third);
        let rotation = KeyRotation { key: key(4, present), replaces, compromised: false, gone };
        assert_eq!(store.rotate_key(rotation, &context(present)).await, Ok(true));
        assert_eq!(store.list_keys().await.map(|kept| kept.len()), Ok(2));
    }

    fn key(number: u64, since: Timestamp) -> KeyRecord {
        let at = since.plus(Duration::from_secs(number));
        KeyRecord {
            id: number.to_string(),
            purpose: KeyPurpose::Csrf,
            algorithm: "HS256".to_owned(),
            sealed: vec![1],
            created_at: at,
            activates_at: at,
            compromised_at: None,
        }
    }

    fn context(at: Timestamp) -> AuditContext {
        AuditContext { at, device: Device::default(), request_id: None, actor: None }
    }

    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
}
