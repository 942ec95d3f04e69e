//! Reads one JSON object into a type, and says which field is wrong.
//!
//! First the object as such, with every name once at any depth; then its members into the type,
//! whose derived code reports to [`Refusal`] what it misses. The text of a parser's errors is never
//! looked at.

use std::borrow::Cow;
use std::fmt;

use keyward_core::json::exceeds_64_bits;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::http::error::FieldErrors;

/// Reads `bytes`.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let object: Object = serde_json::from_slice(bytes).map_err(|_| Refusal::default())?;
    object.into()
}

/// Reads names and their texts.
pub(super) fn from_texts<T: DeserializeOwned>(
    texts: impl Iterator<Item = (String, String)>,
) -> Result<T, Refusal> {
    let mut object = Object::default();
    for (name, text) in texts {
        object.add(name, Value::String(text).into()).map_err(|TooMany| Refusal::default())?;
    }
    object.into()
}

/// Why a body is refused: which field it is about, where that is known, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal(Option<(Cow<'static, str>, &'static str)>);

impl Refusal {
    fn about(field: impl Into<Cow<'static, str>>, message: &'static str) -> Self {
        Self(Some((field.into(), message)))
    }

    pub(super) fn into_fields(self) -> FieldErrors {
        let mut fields = FieldErrors::default();
        // A name as long as the body is not worth repeating.
        if let Some((field, message)) = self.0.filter(|(field, _)| field.len() <= NAME_BYTES_MAX) {
            fields.add(field, message);
        }
        fields
    }
}

impl Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::default()
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::default()
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::about(field.to_owned(), "This field is not known here.")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::about(field, "This field is missing.")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not what this route takes")
    }
}

impl std::error::Error for Refusal {}

/// The members of a JSON object, in order, and which of them is flawed.
#[derive(Default)]
struct Object {
    members: Vec<(String, Value)>,
    flaw: Option<(String, &'static str)>,
}

impl Object {
    /// Adds a member. Bounded, since each name is compared with all before it.
    fn add(&mut self, name: String, Exact { value, flaw }: Exact) -> Result<(), TooMany> {
        if self.members.len() == MEMBERS_MAX {
            return Err(TooMany);
        }
        let is_doubled = self.members.iter().any(|(before, _)| *before == name);
        let flaw = if is_doubled { Some("This field may come only once.") } else { flaw };
        if let Some(flaw) = flaw {
            self.flaw = Some((name, flaw));
        } else {
            self.members.push((name, value));
        }
        Ok(())
    }

    /// Reads the members into a type.
    fn into<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        if let Some((field, flaw)) = self.flaw {
            return Err(Refusal::about(field, flaw));
        }
        let members = self.members.into_iter().map(|(name, value)| {
            let member = Member { field: Some(name.clone()), value };
            (name, member)
        });
        T::deserialize(MapDeserializer::new(members))
    }
}

/// An object has more members than any that we take.
struct TooMany;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((name, value)) = map.next_entry::<String, Exact>()? {
            object.add(name, value).map_err(|TooMany| A::Error::custom("too many members"))?;
        }
        Ok(object)
    }
}

/// A value, and what would be lost if it were taken as it is: of members with one name all but the
/// last, and of a number what 64 bits do not hold.
struct Exact {
    value: Value,
    flaw: Option<&'static str>,
}

impl From<Value> for Exact {
    fn from(value: Value) -> Self {
        Self { value, flaw: None }
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExactVisitor)
    }
}

struct ExactVisitor;

impl<'de> Visitor<'de> for ExactVisitor {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Exact, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Exact, E> {
        Ok(Value::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Exact, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Exact, E> {
        Ok(Value::from(value).into())
    }

    /// Whole numbers come here where they are too large for the others.
    fn visit_f64<E>(self, value: f64) -> Result<Exact, E> {
        let value = Value::from(value);
        let flaw = exceeds_64_bits(&value)
            .then_some("A whole number is beyond 64 bits; write it as text.");
        Ok(Exact { value, flaw })
    }

    fn visit_str<E>(self, value: &str) -> Result<Exact, E> {
        Ok(Value::from(value).into())
    }

    fn visit_string<E>(self, value: String) -> Result<Exact, E> {
        Ok(Value::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Exact, A::Error> {
        let (mut values, mut flaw) = (Vec::new(), None);
        while let Some(exact) = seq.next_element::<Exact>()? {
            flaw = flaw.or(exact.flaw);
            values.push(exact.value);
        }
        Ok(Exact { value: values.into(), flaw })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Exact, A::Error> {
        let (mut members, mut flaw) = (Map::new(), None);
        while let Some((name, exact)) = map.next_entry::<String, Exact>()? {
            flaw = flaw.or(exact.flaw);
            if members.insert(name, exact.value).is_some() {
                flaw = Some("A name within it comes twice.");
            }
        }
        Ok(Exact { value: members.into(), flaw })
    }
}

/// A value and the member of the outermost object that it belongs to.
struct Member {
    field: Option<String>,
    value: Value,
}

impl<'de> Deserializer<'de> for Member {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let inner = |value| Self { field: None, value };
        let visited = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::String(value) => visitor.visit_string(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Array(values) => {
                visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(inner)))
            }
            Value::Object(members) => visitor.visit_map(MapDeserializer::new(
                members.into_iter().map(|(name, value)| (name, inner(value))),
            )),
        };
        named(visited, self.field)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Refusal> for Member {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Names the member in a refusal of anything within it.
fn named<T>(visited: Result<T, Refusal>, field: Option<String>) -> Result<T, Refusal> {
    visited.map_err(|refusal| match field {
        Some(field) => Refusal::about(field, "This is not a value that this field takes."),
        None => refusal,
    })
}

const MEMBERS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
