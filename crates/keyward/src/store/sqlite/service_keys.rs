//! Service keys.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use rusqlite::{Connection, named_params};

use super::{audit, rows, sql};
use crate::store::StoreError;
use crate::store::keys::service_key_created;

/// See `Store::insert_service_key`.
pub(super) fn insert(
    connection: &Connection,
    key: &ServiceKeyRecord,
    context: &AuditContext,
) -> Result<(), StoreError> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    connection.prepare_cached(sql::INSERT_SERVICE_KEY)?.execute(named_params! {
        ":id": key.id.as_bytes(),
        ":name": key.name,
        ":hash": key.hash.as_bytes(),
        ":scopes": serde_json::Value::from(scopes).to_string(),
        ":created_at": key.created_at.millis(),
        ":expires_at": key.expires_at.map(|at| at.millis()),
        ":revoked_at": key.revoked_at.map(|at| at.millis()),
    })?;
    audit::record(connection, &AuditEvent::of_nobody(service_key_created(key)), context)
}

/// See `Store::find_service_key`. How long the index takes to compare hashes of random texts tells
/// nobody how to make a text of the same hash.
pub(super) fn find(
    connection: &Connection,
    hash: ServiceKeyHash,
) -> Result<Option<ServiceKeyRecord>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_SERVICE_KEY)?;
    rows::first(statement.query(named_params! { ":hash": hash.as_bytes() })?, rows::service_key)
}

/// See `Store::list_service_keys`.
pub(super) fn list(connection: &Connection) -> Result<Vec<ServiceKeyRecord>, StoreError> {
    let mut statement = connection.prepare_cached(sql::LIST_SERVICE_KEYS)?;
    rows::all(statement.query([])?, rows::service_key)
}

/// See `Store::revoke_service_key`.
pub(super) fn revoke(
    connection: &Connection,
    id: ServiceKeyId,
    context: &AuditContext,
) -> Result<Option<ServiceKeyRecord>, StoreError> {
    let parameters = named_params! { ":id": id.as_bytes(), ":now": context.at.millis() };
    if connection.prepare_cached(sql::REVOKE_SERVICE_KEY)?.execute(parameters)? > 0 {
        let revoked = AuditKind::ServiceKeyRevoked { service_key_id: id };
        audit::record(connection, &AuditEvent::of_nobody(revoked), context)?;
    }
    let mut statement = connection.prepare_cached(sql::FIND_SERVICE_KEY_BY_ID)?;
    rows::first(statement.query(named_params! { ":id": id.as_bytes() })?, rows::service_key)
}
