//! Service keys.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use tokio_postgres::types::ToSql;

use super::connection::{Failure, Lent};
use super::rows::uuid;
use super::{audit, rows, sql};
use crate::store::keys::service_key_created;

/// See `Store::insert_service_key`.
pub(super) async fn insert(
    connection: Lent,
    key: &ServiceKeyRecord,
    context: &AuditContext,
) -> Result<(), Failure> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    connection
        .query(
            sql::INSERT_SERVICE_KEY,
            &[
                &uuid(key.id.as_bytes()),
                &key.name,
                &key.hash.as_bytes().as_slice(),
                &scopes,
                &key.created_at.millis(),
                &key.expires_at.map(|at| at.millis()),
                &key.revoked_at.map(|at| at.millis()),
            ],
        )
        .await?;
    let created = [AuditEvent::of_nobody(service_key_created(key))];
    audit::record(&connection, &created, context).await
}

/// See `Store::find_service_key`.
pub(super) async fn find(
    connection: Lent,
    hash: ServiceKeyHash,
) -> Result<Option<ServiceKeyRecord>, Failure> {
    let found = connection.query(sql::FIND_SERVICE_KEY, &[&hash.as_bytes().as_slice()]).await?;
    Ok(rows::first(&found, rows::service_key)?)
}

/// See `Store::list_service_keys`.
pub(super) async fn list(connection: Lent) -> Result<Vec<ServiceKeyRecord>, Failure> {
    let found = connection.query(sql::LIST_SERVICE_KEYS, &[]).await?;
    Ok(rows::all(&found, rows::service_key)?)
}

/// See `Store::revoke_service_key`.
pub(super) async fn revoke(
    connection: Lent,
    id: ServiceKeyId,
    context: &AuditContext,
) -> Result<Option<ServiceKeyRecord>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(id.as_bytes()), &context.at.millis()];
    if !connection.query(sql::REVOKE_SERVICE_KEY, parameters).await?.is_empty() {
        let revoked = [AuditEvent::of_nobody(AuditKind::ServiceKeyRevoked { service_key_id: id })];
        audit::record(&connection, &revoked, context).await?;
    }
    let found = connection.query(sql::FIND_SERVICE_KEY_BY_ID, &[&uuid(id.as_bytes())]).await?;
    Ok(rows::first(&found, rows::service_key)?)
}
