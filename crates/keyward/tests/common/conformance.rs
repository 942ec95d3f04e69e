//! Answers, held against the description of the interface. Every answer that a test gets through
//! [`TestApp::send`](super::TestApp::send) is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use keyward::http::openapi;
use keyward::policy::Policy;
use serde_json::{Map, Value, json};

use super::Answer;

/// What the service says of its own interface.
#[derive(Debug)]
pub(crate) struct Description(Value);

impl Description {
    pub(crate) fn new(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("JSON"))
    }

    /// That of a service with this policy. Tests make services by the thousand.
    pub(crate) fn of(policy: &Policy) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<String, Arc<Description>>> = Mutex::new(BTreeMap::new());
        let delivery = policy.access_token.delivery;
        let name = format!("{:?} {:?} {delivery:?}", policy.web, policy.cookies);
        let mut made = MADE.lock().expect("no panic");
        let make = || Arc::new(Self::new(&openapi(policy).expect("browsers keep these cookies")));
        Arc::clone(made.entry(name).or_insert_with(make))
    }

    pub(crate) fn json(&self) -> &Value {
        &self.0
    }

    /// That the answer of a described route is one that is described. Other routes and methods have
    /// no answers but errors.
    #[track_caller]
    pub(crate) fn check(&self, method: &Method, path: &str, answer: &Answer) {
        if let Some(operation) = self.operation(method, path)
            && let Err(why) = self.fits(operation, answer)
        {
            panic!("{method} {path} answers what is not described: {why}\n{answer:?}");
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let segments: Vec<&str> = path.split('/').collect();
        let is_at = |template: &str| {
            let template: Vec<&str> = template.split('/').collect();
            let fits = |(part, segment): (&&str, &&str)| *part == "{id}" || part == segment;
            template.len() == segments.len() && template.iter().zip(&segments).all(fits)
        };
        let paths = self.0["paths"].as_object().expect("paths");
        let (_, operations) = paths.iter().find(|(template, _)| is_at(template))?;
        operations.get(method.as_str().to_ascii_lowercase())
    }

    fn fits(&self, operation: &Value, answer: &Answer) -> Result<(), String> {
        let responses = operation["responses"].as_object().expect("responses");
        let is_error = answer.status.is_client_error() || answer.status.is_server_error();
        let response = match responses.get(answer.status.as_str()) {
            Some(response) => response,
            None if is_error => &responses["default"],
            None => return Err(format!("there is no {}", answer.status)),
        };
        let response = self.resolve(response);
        self.headers_fit(response, answer)?;
        let Some(content) = response["content"].as_object() else {
            return fail_unless(answer.body.is_empty(), "it has a body");
        };
        let (media_type, body) = content.iter().next().expect("a media type");
        let given = answer.header("content-type");
        fail_unless(given == Some(media_type), &format!("it is {given:?}, not {media_type}"))?;
        if media_type == "text/event-stream" {
            return Ok(());
        }
        self.is_valid(&body["schema"], &answer.json(), false)
    }

    fn headers_fit(&self, response: &Value, answer: &Answer) -> Result<(), String> {
        let described = |name: &str| response["headers"].get(name).is_some();
        fail_unless(described("X-Request-Id") || response.get("headers").is_none(), "no id")?;
        for name in ["ETag", "Retry-After", "RateLimit"] {
            let is_there = answer.header(name).is_some();
            fail_unless(described(name) == is_there, &format!("{name} is there: {is_there}"))?;
        }
        fail_unless(answer.set_cookies().is_empty() || described("Set-Cookie"), "it sets cookies")
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let pointer = reference.strip_prefix('#').expect("within the document");
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// As much of JSON Schema as descriptions use. An object is closed unless it is said to be open
    /// or is one of several that hold together: what is not described should be.
    fn is_valid(&self, schema: &Value, value: &Value, is_open: bool) -> Result<(), String> {
        let schema = self.resolve(schema);
        if let Some(all) = schema["allOf"].as_array() {
            let (first, others) = all.split_first().expect("one at least");
            self.is_valid(first, value, is_open)?;
            return others.iter().try_for_each(|schema| self.is_valid(schema, value, true));
        }
        for (name, may_be_many) in [("oneOf", false), ("anyOf", true)] {
            let Some(any) = schema[name].as_array() else { continue };
            let valid = |schema: &&Value| self.is_valid(schema, value, is_open).is_ok();
            let count = any.iter().filter(valid).count();
            let fits = count == 1 || (may_be_many && count > 0);
            return fail_unless(fits, &format!("{value} is {count} of {name} {any:?}"));
        }
        fail_unless(has_type(&schema["type"], value), &format!("{value} is no {schema}"))?;
        if let Some(names) = schema["enum"].as_array() {
            fail_unless(names.contains(value), &format!("{value} is none of {names:?}"))?;
        }
        if let (Some(format), Some(text)) = (schema["format"].as_str(), value.as_str()) {
            fail_unless(has_format(format, text), &format!("{text} is no {format}"))?;
        }
        if let Some(items) = value.as_array() {
            items.iter().try_for_each(|item| self.is_valid(&schema["items"], item, false))?;
        }
        match value.as_object() {
            Some(members) => self.members_are_valid(schema, members, is_open),
            None => Ok(()),
        }
    }

    fn members_are_valid(
        &self,
        schema: &Value,
        members: &Map<String, Value>,
        is_open: bool,
    ) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            fail_unless(members.contains_key(name), &format!("{name} is missing"))?;
        }
        for (name, member) in members {
            let described = schema["properties"].get(name);
            let described = described.or_else(|| schema.get("additionalProperties"));
            match described {
                Some(Value::Bool(true)) => {}
                Some(described) => self.is_valid(described, member, false)?,
                None => fail_unless(is_open || *schema == json!({}), &format!("{name} is new"))?,
            }
        }
        Ok(())
    }
}

fn fail_unless(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn has_type(names: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("array") => value.is_array(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("null") => value.is_null(),
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        _ => false,
    };
    match names {
        Value::Array(names) => names.iter().any(is),
        Value::Null => true,
        name => is(name),
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.contains('T') && text.ends_with('Z'),
        "email" => text.contains('@'),
        "uuid" => text.len() == 36 && text.matches('-').count() == 4,
        _ => false,
    }
}

/// The status of answers that are no error, of a described operation.
pub(crate) fn successes(operation: &Value) -> Vec<StatusCode> {
    let responses = operation["responses"].as_object().expect("responses");
    let statuses = responses.keys().filter_map(|status| status.parse().ok());
    statuses
        .filter(|status: &StatusCode| !status.is_client_error() && !status.is_server_error())
        .collect()
}
