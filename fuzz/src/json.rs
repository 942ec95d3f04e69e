//! JSON as its grammar has it (RFC 8259), to compare strict readers with.

use serde_json::Value;

/// Whether a text that parses as `value` has no name twice within one object, at any depth.
///
/// A colon outside strings stands for one member. `serde_json` keeps one member per name.
pub(crate) fn names_are_distinct(text: &[u8], value: &Value) -> bool {
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons == members(value)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_seen_at_any_depth() {
        for (text, distinct) in [
            (r#"{"a":1,"b":{"a":":"}}"#, true),
            (r#"{"a\":":1}"#, true),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"[{"a":[{"b":1,"b":1}]}]"#, false),
            (r#""a:""#, true),
        ] {
            let value = serde_json::from_str(text).expect("JSON");
            assert_eq!(names_are_distinct(text.as_bytes(), &value), distinct, "{text}");
        }
    }
}
