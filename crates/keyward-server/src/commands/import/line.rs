//! One line of an import: a user of another system, read strictly.

use keyward::hashing::{FirebaseParameters, adopt};
use keyward::store::PasswordHash;
use keyward_core::access_token::{EXTRA_BYTES_MAX, RESERVED_CLAIMS};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::json::exceeds_64_bits;
use keyward_core::text::{NAME_CHARS_MAX, ROLE_BYTES_MAX, ROLES_MAX, is_name, is_role};
use keyward_core::time::Timestamp;
use serde_json::{Map, Value};

/// A user to be imported.
#[derive(Debug)]
pub struct ImportLine {
    /// Where the user is reached.
    pub email: Email,
    /// The hash to sign in against; `None` for a user without a password.
    pub password_hash: Option<PasswordHash>,
    /// What the user wants to be called.
    pub name: Option<String>,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
    /// Roles, sorted and distinct.
    pub roles: Vec<String>,
    /// What is added to the user's access tokens.
    pub claims: Map<String, Value>,
    /// When the account was made.
    pub created_at: Option<Timestamp>,
    /// The id that the user had, a UUID.
    pub id: Option<UserId>,
}

impl ImportLine {
    /// Reads one JSON object, without its line break or with it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a clause that repeats no value: any of them may be a hash that
    /// stands in the wrong place.
    pub fn parse(bytes: &[u8], firebase: Option<&FirebaseParameters>) -> Result<Self, String> {
        let Some(Value::Object(members)) = keyward_core::json::read(bytes) else {
            return Err("this is not one JSON object with distinct members".to_owned());
        };
        let mut members = Members(members);
        let line = Self {
            email: members.email()?,
            password_hash: members.password_hash(firebase)?,
            name: members.name()?,
            email_verified: members.email_verified()?,
            roles: members.roles()?,
            claims: members.claims()?,
            created_at: members.created_at()?,
            id: members.id()?,
        };
        members.refuse_others()?;
        Ok(line)
    }
}

/// The members that were not looked at yet.
struct Members(Map<String, Value>);

impl Members {
    fn email(&mut self) -> Result<Email, String> {
        let text = self.text("email")?.ok_or("`email` is missing")?;
        Email::parse(&text).ok_or_else(|| "`email` is no address that is taken here".to_owned())
    }

    /// Must be there, so that nobody loses a password to a member of another name.
    fn password_hash(
        &mut self,
        firebase: Option<&FirebaseParameters>,
    ) -> Result<Option<PasswordHash>, String> {
        if !self.0.contains_key("passwordHash") {
            return Err("`passwordHash` is missing; null stands for no password".to_owned());
        }
        let Some(text) = self.text("passwordHash")? else { return Ok(None) };
        adopt(&text, firebase).map(Some).map_err(|unfit| format!("`passwordHash` {unfit}"))
    }

    fn name(&mut self) -> Result<Option<String>, String> {
        let name = self.text("name")?;
        if name.as_deref().is_none_or(is_name) {
            return Ok(name);
        }
        Err(format!("`name` is not 1 to {NAME_CHARS_MAX} characters that can be seen"))
    }

    fn email_verified(&mut self) -> Result<bool, String> {
        match self.0.remove("emailVerified") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(verified)) => Ok(verified),
            Some(_) => Err("`emailVerified` is neither true nor false".to_owned()),
        }
    }

    fn roles(&mut self) -> Result<Vec<String>, String> {
        let items = match self.0.remove("roles") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err("`roles` is no list".to_owned()),
        };
        let texts = items.into_iter().map(|item| match item {
            Value::String(role) if is_role(&role) => Ok(role),
            _ => Err(format!(
                "`roles` holds something else than up to {ROLE_BYTES_MAX} letters, digits, -, _, . \
                 and :"
            )),
        });
        let mut roles: Vec<String> = texts.collect::<Result<_, _>>()?;
        roles.sort_unstable();
        roles.dedup();
        if roles.len() > ROLES_MAX {
            return Err(format!("`roles` holds more than {ROLES_MAX}"));
        }
        Ok(roles)
    }

    fn claims(&mut self) -> Result<Map<String, Value>, String> {
        let claims = match self.0.remove("claims") {
            None | Some(Value::Null) => return Ok(Map::new()),
            Some(Value::Object(claims)) => claims,
            Some(_) => return Err("`claims` is no object".to_owned()),
        };
        if let Some(taken) = RESERVED_CLAIMS.iter().find(|name| claims.contains_key(**name)) {
            return Err(format!(
                "`claims` holds `{taken}`, which every token has or verifiers use"
            ));
        }
        if claims.values().any(exceeds_64_bits) {
            return Err("`claims` holds a whole number beyond 64 bits; write it as text".to_owned());
        }
        let text = serde_json::to_string(&claims).unwrap_or_default();
        if text.is_empty() || text.len() > EXTRA_BYTES_MAX {
            return Err(format!("`claims` takes more than {EXTRA_BYTES_MAX} bytes"));
        }
        Ok(claims)
    }

    fn created_at(&mut self) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.text("createdAt")? else { return Ok(None) };
        let at = Timestamp::from_rfc3339(&text).filter(|at| *at >= Timestamp::from_secs(0));
        at.map(Some).ok_or_else(|| {
            "`createdAt` is no time since 1970 such as 2026-11-21T04:00:00Z".to_owned()
        })
    }

    fn id(&mut self) -> Result<Option<UserId>, String> {
        let id = self.text("id")?.map(|text| text.parse()).transpose();
        id.map_err(|_| "`id` is no UUID in lower case".to_owned())
    }

    /// `None` where the member is missing or null.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{name}` is no text")),
        }
    }

    fn refuse_others(self) -> Result<(), String> {
        let Some((name, _)) = self.0.into_iter().next() else { return Ok(()) };
        let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let shown = if is_name { format!("`{name}`") } else { "one of its members".to_owned() };
        Err(format!(
            "{shown} is unknown; known are email, passwordHash, name, emailVerified, roles, \
             claims, createdAt and id"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$10$EDMmLEckdcSAtZEDyuGqkFaeX5g2JgXjQeg5IgfR5MZ7AR6pRqS6d";

    fn parse(text: &str) -> Result<ImportLine, String> {
        ImportLine::parse(text.as_bytes(), None)
    }

    #[test]
    fn reads_every_member() {
        let line = parse(&format!(
            r#"{{"email": "Ada@example.org", "passwordHash": "{HASH}", "name": "Ada",
                "emailVerified": true, "roles": ["b", "a", "b"], "claims": {{"tenant": 7}},
                "createdAt": "2015-12-10T00:00:00+01:00",
                "id": "01931c3e-8f00-7000-8000-000000000001"}}"#
        ))
        .expect("a user");
        assert_eq!(line.email.shown(), "Ada@example.org");
        assert_eq!(line.password_hash.expect("a hash").as_phc(), HASH);
        assert_eq!((line.name.as_deref(), line.email_verified), (Some("Ada"), true));
        assert_eq!(line.roles, ["a", "b"]);
        assert_eq!(line.claims["tenant"], 7);
        let at = line.created_at.map(Timestamp::to_rfc3339);
        assert_eq!(at.as_deref(), Some("2015-12-09T23:00:00.000Z"));
        let id = line.id.map(|id| id.to_string());
        assert_eq!(id.as_deref(), Some("01931c3e-8f00-7000-8000-000000000001"));
    }

    #[test]
    fn most_may_be_missing_or_null() {
        for more in ["", r#", "name": null, "roles": null, "claims": null, "id": null"#] {
            let text = format!(r#"{{"email": "a@b.c", "passwordHash": null{more}}}"#);
            let line = parse(&text).expect("a user");
            assert!(line.password_hash.is_none() && line.name.is_none() && line.id.is_none());
            assert!(line.roles.is_empty() && line.claims.is_empty() && !line.email_verified);
        }
    }

    #[test]
    fn says_what_is_wrong_and_repeats_no_value() {
        let with = |more: &str| format!(r#"{{"email": "a@b.c", "passwordHash": null, {more}}}"#);
        for (text, why) in [
            (String::new(), "this is not one JSON object"),
            ("[]".to_owned(), "this is not one JSON object"),
            (with(r#""name": "a", "name": "b""#), "this is not one JSON object"),
            (format!("{} {{}}", with(r#""name": "a""#)), "this is not one JSON object"),
            (r#"{"passwordHash": null}"#.to_owned(), "`email` is missing"),
            (format!(r#"{{"email": "{HASH}", "passwordHash": null}}"#), "`email` is no address"),
            (r#"{"email": "a@b.c"}"#.to_owned(), "`passwordHash` is missing"),
            (
                r#"{"email": "a@b.c", "passwordHash": "5f4dcc3b5aa765d61d8327deb882cf99"}"#
                    .to_owned(),
                "`passwordHash` is of no scheme",
            ),
            (
                format!(r#"{{"email": "a@b.c", "passwordHash": "{}"}}"#, HASH.replace("10", "31")),
                "`passwordHash` has a cost beyond",
            ),
            (with(&format!(r#""emailVerified": "{HASH}""#)), "`emailVerified` is neither"),
            (with(&format!(r#""name": "{}""#, "x".repeat(101))), "`name` is not"),
            (with(r#""roles": "admin""#), "`roles` is no list"),
            (with(&format!(r#""roles": ["{HASH}"]"#)), "`roles` holds something else"),
            (with(r#""claims": {"sub": "x"}"#), "`claims` holds `sub`"),
            (
                with(r#""claims": {"x": [123456789012345678901234567890]}"#),
                "`claims` holds a whole number beyond 64 bits",
            ),
            (with(&format!(r#""claims": {{"x": "{}"}}"#, "y".repeat(800))), "`claims` takes more"),
            (with(r#""createdAt": "yesterday""#), "`createdAt` is no time"),
            (with(r#""createdAt": "1815-12-10T00:00:00Z""#), "`createdAt` is no time"),
            (with(r#""id": "5f1d7e"  "#), "`id` is no UUID"),
            (with(r#""password": "x""#), "`password` is unknown"),
            (with(&format!(r#""{HASH}": "x""#)), "one of its members is unknown"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.starts_with(why), "{text}: {error}");
            assert!(!error.contains("EDMmLE") && !error.contains("5f4dcc"), "{error}");
        }
    }
}
