//! Reading the audit log, at a bounded cost.
//!
//! The log has no index by user, session or type, which every refresh would pay for. So a search
//! walks back through it, and one page looks at [`AuditFilter::LOOKED_AT_MAX`] events at most: it
//! may hold fewer than were asked for, or none, and still say where the search goes on. Ids follow
//! the time but for [`DISORDER`], so that where a span of time begins and ends is found by
//! bisection. A clock that steps back by more hides events from searches by time.

use std::time::Duration;

use keyward_core::audit::{RecordedEvent, events_since};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;

use crate::service::{Failure, Keyward};
use crate::store::{AuditFilter, AuditOrder, StoreError};

/// A part of the audit log.
#[derive(Debug)]
pub struct AuditPage {
    /// The events, in the order that was asked for.
    pub events: Vec<RecordedEvent>,
    /// The event before or after which the rest begins; `None` where nothing is left.
    pub next: Option<i64>,
}

impl Keyward {
    /// Lists audit events, [`AuditFilter::limit`] at most. Newest first, a page may hold fewer even
    /// where more follow.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, Failure> {
        let end = match filter.order {
            AuditOrder::After(_) => return Ok(self.page(filter, None).await?),
            AuditOrder::Before(id) => Some(id),
            AuditOrder::Newest => None,
        };
        let Some(newest) = self.event_near(AuditOrder::Newest).await? else {
            return Ok(AuditPage { events: Vec::new(), next: None });
        };
        let until = filter.until.map(|until| until.plus(DISORDER));
        let end = match end {
            Some(end) => end,
            None => self.bisect(until, newest.id).await?.saturating_add(1),
        };
        let since = self.earliest(&filter).await?.map(|since| since.minus(DISORDER));
        let begin = match since {
            Some(_) => self.bisect(since, end).await?,
            None => 0,
        };
        Ok(self.page_back(filter, begin, end).await?)
    }

    /// Where among the ids the events since a time are: from the first on, and before the second.
    pub(in crate::service) async fn ids_since(
        &self,
        since: Timestamp,
    ) -> Result<(i64, i64), StoreError> {
        let newest = self.event_near(AuditOrder::Newest).await?;
        let end = newest.map_or(0, |newest| newest.id.saturating_add(1));
        Ok((self.bisect(Some(since.minus(DISORDER)), end).await?, end))
    }

    /// One page of the events from `begin` on that are before `end`, newest first.
    pub(in crate::service) async fn page_back(
        &self,
        filter: AuditFilter,
        begin: i64,
        end: i64,
    ) -> Result<AuditPage, StoreError> {
        let piece = filter.piece(begin, end);
        let rest = piece.from_id.filter(|floor| *floor > begin);
        self.page(piece, rest).await
    }

    /// From when on there can be such events.
    async fn earliest(&self, filter: &AuditFilter) -> Result<Option<Timestamp>, StoreError> {
        let session = filter.session_id.and_then(|id| id.made_at());
        let user = match filter.user_id {
            Some(id) => self.user_made_at(id).await?,
            None => None,
        };
        Ok(filter.since.max(session.max(user).map(events_since)))
    }

    /// When the id of a user was made. `None` where it does not say so, or says a later time than
    /// the account's: another system has made it, and its user may have done things before.
    async fn user_made_at(&self, id: UserId) -> Result<Option<Timestamp>, StoreError> {
        let Some(made_at) = id.made_at() else { return Ok(None) };
        let account = self.store.find_user(id).await?;
        let latest = account.map_or_else(|| self.clock.now(), |account| account.user.created_at);
        Ok((made_at <= latest.plus(DISORDER)).then_some(made_at))
    }

    /// One page; `rest` is where the search goes on behind what is looked at.
    async fn page(&self, filter: AuditFilter, rest: Option<i64>) -> Result<AuditPage, StoreError> {
        let limit = filter.limit;
        let with_next = AuditFilter { limit: limit.saturating_add(1), ..filter };
        let mut events = self.store.list_audit(with_next).await?;
        let is_last = events.len() <= limit as usize;
        events.truncate(limit as usize);
        let next = if is_last { rest } else { events.last().map(|event| event.id) };
        Ok(AuditPage { events, next })
    }

    /// An id of at most `most`, with no event before `time` behind it but for the disorder: that of
    /// the last event before it, or 0. Without a time, `most`.
    async fn bisect(&self, time: Option<Timestamp>, most: i64) -> Result<i64, StoreError> {
        let Some(time) = time else { return Ok(most) };
        let (mut before, mut behind) = (0, most);
        while before < behind {
            let middle = before + (behind - before) / 2;
            match self.event_near(AuditOrder::After(middle)).await? {
                Some(event) if event.at < time && event.id <= most => before = event.id,
                _ => behind = middle,
            }
        }
        Ok(before)
    }

    async fn event_near(&self, order: AuditOrder) -> Result<Option<RecordedEvent>, StoreError> {
        let filter = AuditFilter { order, limit: 1, ..AuditFilter::default() };
        Ok(self.store.list_audit(filter).await?.pop())
    }
}

/// Longer than a transaction takes to commit, and than the clocks of nodes differ.
const DISORDER: Duration = Duration::from_secs(10 * 60);
