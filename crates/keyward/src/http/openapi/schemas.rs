//! JSON schemas (2020-12) of shapes and of request bodies.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::routes::{Field, FieldKind};
use crate::http::shape::{Kind, Member, Presence, View};

/// The named schemas so far.
pub(super) struct Schemas {
    named: BTreeMap<&'static str, Value>,
    is_in_body: bool,
}

impl Schemas {
    /// None yet. `is_in_body` says whether access tokens are delivered in bodies.
    pub(super) fn new(is_in_body: bool) -> Self {
        Self { named: BTreeMap::new(), is_in_body }
    }

    /// All of them.
    pub(super) fn into_all(self) -> BTreeMap<&'static str, Value> {
        self.named
    }

    /// Adds one that no shape has.
    pub(super) fn add(&mut self, name: &'static str, schema: Value) {
        self.named.insert(name, schema);
    }

    /// The schema of a value. Objects with a name are added, and referred to.
    pub(super) fn of_kind(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Any => json!({}),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Email => json!({ "type": "string", "format": "email" }),
            Kind::Id => json!({ "type": "string", "format": "uuid" }),
            Kind::Integer => json!({ "type": "integer", "minimum": 0 }),
            Kind::List(kind) => json!({ "type": "array", "items": self.of_kind(*kind) }),
            Kind::Map(kind) => {
                json!({ "type": "object", "additionalProperties": self.of_kind(*kind) })
            }
            Kind::Names(names) => json!({ "type": "string", "enum": names() }),
            Kind::Nullable(kind) => nullable(self.of_kind(*kind)),
            Kind::Text => json!({ "type": "string" }),
            Kind::Time => json!({ "type": "string", "format": "date-time" }),
            Kind::View(view) => self.of_view(view),
        }
    }

    /// The schema of an object with these members.
    pub(super) fn of_members<'a>(
        &mut self,
        members: impl IntoIterator<Item = &'a Member>,
    ) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for member in members {
            let is_there = match member.presence {
                Presence::Always => true,
                Presence::InBodyDelivery if self.is_in_body => true,
                Presence::InBodyDelivery => continue,
                Presence::Sometimes => false,
            };
            required.extend(is_there.then_some(member.name));
            properties.insert(member.name.to_owned(), self.of_kind(member.kind));
        }
        json!({ "type": "object", "properties": properties, "required": required })
    }

    fn of_view(&mut self, view: &'static View) -> Value {
        if !self.named.contains_key(view.name) {
            let mut schema = self.of_members(view.all_members());
            if view.is_open {
                schema["additionalProperties"] = json!(true);
            }
            self.named.insert(view.name, schema);
        }
        super::reference("schemas", view.name)
    }
}

/// The schema of a request's body. A member that need not be there may be `null` as well.
pub(super) fn of_fields(fields: &[Field]) -> Value {
    let required = fields.iter().filter(|field| field.required).map(|field| field.name);
    let properties = fields.iter().map(|field| (field.name.to_owned(), of_field(field)));
    json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn of_field(field: &Field) -> Value {
    let mut schema = match field.kind {
        FieldKind::Boolean => json!({ "type": "boolean" }),
        FieldKind::Object => json!({ "type": "object", "additionalProperties": true }),
        FieldKind::Text => json!({ "type": "string" }),
        FieldKind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    if let Some(format) = field.format {
        schema["format"] = json!(format);
    }
    if let Some(max) = field.chars_max {
        schema["maxLength"] = json!(max);
    }
    if field.required { schema } else { nullable(schema) }
}

fn nullable(mut schema: Value) -> Value {
    match schema.get_mut("type") {
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => schema = json!({ "anyOf": [schema, { "type": "null" }] }),
    }
    schema
}
