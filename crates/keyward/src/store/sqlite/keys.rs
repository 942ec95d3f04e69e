//! Sealed keys.

use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent};
use rusqlite::{Connection, named_params};

use super::{audit, chain, rows, sql};
use crate::store::keys::MASTER_KEY_ROTATED;
use crate::store::{KeyRecord, KeyRotation, Resealed, StoreError};

/// Lists every key.
pub(super) fn list(connection: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let mut statement = connection.prepare_cached(sql::LIST_KEYS)?;
    rows::all(statement.query([])?, rows::key)
}

/// See `Store::rotate_key`.
pub(super) fn rotate(
    connection: &Connection,
    rotation: &KeyRotation,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    // The write transaction is the lock: no other key comes until it ends.
    if !rotation.fits(&list(connection)?) {
        return Ok(false);
    }
    let key = &rotation.key;
    for id in &rotation.gone {
        let parameters = named_params! { ":purpose": key.purpose.as_str(), ":id": id };
        connection.prepare_cached(sql::DELETE_KEY)?.execute(parameters)?;
    }
    if rotation.compromised {
        let parameters =
            named_params! { ":purpose": key.purpose.as_str(), ":now": context.at.millis() };
        connection.prepare_cached(sql::MARK_COMPROMISED)?.execute(parameters)?;
    }
    insert(connection, key)?;
    if let Some(event) = rotation.event() {
        audit::record(connection, &event, context)?;
    }
    Ok(true)
}

/// See `Store::reseal_keys`.
pub(super) fn reseal(
    connection: &Connection,
    keys: &[Resealed],
    hand_over: Option<&Checkpoint>,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    if !list(connection)?.iter().eq(keys.iter().map(|resealed| &resealed.key)) {
        return Ok(false);
    }
    if let Some(checkpoint) = hand_over
        && !chain::append(connection, checkpoint)?
    {
        return Ok(false);
    }
    for Resealed { key, sealed } in keys {
        let statement =
            if key.purpose.seals() { sql::SET_SEALED_OF_SEALING_KEY } else { sql::SET_SEALED };
        connection.prepare_cached(statement)?.execute(named_params! {
            ":purpose": key.purpose.as_str(),
            ":id": key.id,
            ":sealed": sealed,
        })?;
    }
    audit::record(connection, &AuditEvent::of_nobody(MASTER_KEY_ROTATED), context)?;
    Ok(true)
}

fn insert(connection: &Connection, key: &KeyRecord) -> Result<(), StoreError> {
    let statement = if key.purpose.seals() { sql::INSERT_SEALING_KEY } else { sql::INSERT_KEY };
    connection.prepare_cached(statement)?.execute(named_params! {
        ":purpose": key.purpose.as_str(),
        ":id": key.id,
        ":algorithm": key.algorithm,
        ":sealed": key.sealed,
        ":created_at": key.created_at.millis(),
        ":activates_at": key.activates_at.millis(),
        ":compromised_at": key.compromised_at.map(|at| at.millis()),
    })?;
    Ok(())
}
