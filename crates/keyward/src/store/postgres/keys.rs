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
    connection.query(sql::DELETE_KEYS, &[&purpose, &rotation.gone]).await?;
    if rotation.compromised {
        connection.query(sql::MARK_COMPROMISED, &[&purpose, &context.at.millis()]).await?;
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
