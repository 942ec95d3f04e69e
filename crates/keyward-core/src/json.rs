//! JSON, read strictly.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a whole text as one value; `None` where it is none, has an object with two members of one
/// name, or something follows it.
pub fn read(bytes: &[u8]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok().map(|()| value)
}

/// Whether a value holds, at any depth, a whole number that neither 64 bits with a sign nor 64 bits
/// without one hold. It was rounded when it was read, unless whoever wrote it meant a power of ten.
pub fn exceeds_64_bits(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let rounded = number.as_f64().filter(|_| number.is_f64());
            rounded.is_some_and(|value| value <= LEAST || value >= ABOVE_MOST)
        }
        Value::Array(items) => items.iter().any(exceeds_64_bits),
        Value::Object(members) => members.values().any(exceeds_64_bits),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Reads any JSON value and refuses duplicate names at every depth. `serde_json` bounds the depth.
pub(crate) struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a duplicate name"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// -2^63, the least of 64 bits with a sign. It is read as such; what is read as a fraction of this
/// value was a lesser number.
const LEAST: f64 = -9_223_372_036_854_775_808.0;

/// 2^64, the first that 64 bits without a sign do not hold.
const ABOVE_MOST: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_written_as_it_was_read() {
        for text in ["123.45678901234567", "0.1", "-2.2250738585072014e-308", "1e19"] {
            let written = read(text.as_bytes()).map(|value| value.to_string());
            let again = written.as_deref().map(str::parse::<f64>);
            assert_eq!(again, Some(text.parse::<f64>()), "{text}");
        }
    }

    #[test]
    fn whole_numbers_fit_64_bits_or_exceed_them() {
        for (text, expected) in [
            ("18446744073709551615", false),
            ("-9223372036854775808", false),
            (r#"{"a":[0.5,-1,"1e30",null]}"#, false),
            ("18446744073709551616", true),
            ("-9223372036854775809", true),
            (r#"{"a":[{"b":1e30}]}"#, true),
        ] {
            let value = read(text.as_bytes()).expect("a value");
            assert_eq!(exceeds_64_bits(&value), expected, "{text}");
        }
    }
}
