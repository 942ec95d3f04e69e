//! The claims of an access token (RFC 9068, section 2.2), read strictly.

use std::fmt;

use serde::de::{DeserializeSeed as _, Deserializer, Error as _};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{SessionId, UserId};
use crate::json::Strict;

/// What an access token says. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The client it was issued to.
    pub client_id: String,
    /// The session that it dies with.
    pub sid: SessionId,
    /// Names this token.
    pub jti: String,
    /// When it was issued.
    pub iat: i64,
    /// When it stops being accepted.
    pub exp: i64,
    /// When the user proved who they are.
    pub auth_time: i64,
    /// How they proved it (RFC 8176).
    pub amr: Vec<String>,
    /// The user's roles when it was issued.
    pub roles: Vec<String>,
    /// The user's address when it was issued.
    pub email: String,
    /// What the user record adds. Never holds a name of [`RESERVED_CLAIMS`].
    pub extra: Map<String, Value>,
}

/// What a user record may add to a token, in bytes as JSON. With as many and as long roles as there
/// may be, and the longest address, the token still is shorter than 4096 bytes, and fits a cookie.
pub const EXTRA_BYTES_MAX: usize = 768;

/// Names that a user record cannot overwrite: ours, and those with a meaning to verifiers
/// (RFC 7519, section 4.1).
pub const RESERVED_CLAIMS: &[&str] = &[
    "iss",
    "aud",
    "sub",
    "client_id",
    "sid",
    "jti",
    "iat",
    "exp",
    "nbf",
    "auth_time",
    "amr",
    "acr",
    "roles",
    "email",
    "cnf",
    "scope",
    "typ",
];

impl Claims {
    /// The JSON text that is signed. Reserved names in [`Claims::extra`] are left out.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("claims are plain data with string keys")
    }

    /// Reads signed JSON text; `None` unless every claim is there, of its type, and understood.
    pub(super) fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", &self.iss)?;
        map.serialize_entry("aud", &self.aud)?;
        map.serialize_entry("sub", &Text(&self.sub))?;
        map.serialize_entry("client_id", &self.client_id)?;
        map.serialize_entry("sid", &Text(&self.sid))?;
        map.serialize_entry("jti", &self.jti)?;
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("exp", &self.exp)?;
        map.serialize_entry("auth_time", &self.auth_time)?;
        map.serialize_entry("amr", &self.amr)?;
        map.serialize_entry("roles", &self.roles)?;
        map.serialize_entry("email", &self.email)?;
        for (name, value) in &self.extra {
            if !RESERVED_CLAIMS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Object(mut map) = Strict.deserialize(deserializer)? else {
            return Err(D::Error::custom("claims are an object"));
        };
        let claims = Self {
            iss: take(&mut map, "iss")?,
            aud: take(&mut map, "aud")?,
            sub: parsed(take(&mut map, "sub")?)?,
            client_id: take(&mut map, "client_id")?,
            sid: parsed(take(&mut map, "sid")?)?,
            jti: take(&mut map, "jti")?,
            iat: take(&mut map, "iat")?,
            exp: take(&mut map, "exp")?,
            auth_time: take(&mut map, "auth_time")?,
            amr: take(&mut map, "amr")?,
            roles: take(&mut map, "roles")?,
            email: take(&mut map, "email")?,
            extra: map,
        };
        // What we never write we do not understand either: `nbf`, `cnf` and the like restrict a
        // token, and ignoring a restriction would widen it.
        if claims.extra.keys().any(|name| RESERVED_CLAIMS.contains(&name.as_str())) {
            return Err(D::Error::custom("a reserved claim that is not understood"));
        }
        Ok(claims)
    }
}

/// Takes a claim of the right type out of the map; missing and wrong are the same to a caller.
fn take<T: serde::de::DeserializeOwned, E: serde::de::Error>(
    map: &mut Map<String, Value>,
    name: &'static str,
) -> Result<T, E> {
    let value = map.remove(name).ok_or_else(|| E::missing_field(name))?;
    serde_json::from_value(value).map_err(E::custom)
}

fn parsed<T: std::str::FromStr, E: serde::de::Error>(text: String) -> Result<T, E> {
    text.parse().map_err(|_| E::custom("not an identifier"))
}

/// Serialises through `Display`.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
