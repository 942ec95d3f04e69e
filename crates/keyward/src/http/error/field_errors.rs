//! What is wrong with a body, field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// What is wrong with the fields of a body, each in one sentence for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(in crate::http) struct FieldErrors(BTreeMap<Cow<'static, str>, Cow<'static, str>>);

impl FieldErrors {
    /// Adds a field. Of two messages about one field the first stays.
    pub(in crate::http) fn add(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) {
        self.0.entry(field.into()).or_insert_with(|| message.into());
    }

    /// Whether nothing is wrong.
    pub(in crate::http) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
