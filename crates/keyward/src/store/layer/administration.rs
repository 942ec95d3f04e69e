//! [`AdministrationStore`], passed on.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::UserId;

use super::{Call, Layer};
use crate::store::{
    AdministrationGuard, AdministrationStore, ChangeUserOutcome, EndSessionsOutcome,
    RevokedSubject, StoreError, User, UserChange, UserFilter,
};

#[async_trait]
impl<L: Layer> AdministrationStore for L {
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<User>, StoreError> {
        self.pass(Call::ListUsers, self.inner().list_users(filter)).await
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        guard: AdministrationGuard,
        context: &AuditContext,
    ) -> Result<ChangeUserOutcome, StoreError> {
        self.pass(Call::ChangeUser, self.inner().change_user(id, change, guard, context)).await
    }

    async fn end_sessions(
        &self,
        subject: RevokedSubject,
        spared_role: Option<&'static str>,
        context: &AuditContext,
    ) -> Result<EndSessionsOutcome, StoreError> {
        let work = self.inner().end_sessions(subject, spared_role, context);
        self.pass(Call::EndSessions, work).await
    }
}
