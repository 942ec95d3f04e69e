//! The claims of an access token (RFC 9068, section 2.2), read strictly.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
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
        deserializer.deserialize_map(Reader)
    }
}

/// Reads claims one by one, each straight into its place.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Claims, A::Error> {
        let (mut iss, mut aud, mut sub, mut client_id) = (None, None, None, None);
        let (mut sid, mut jti, mut iat, mut exp) = (None, None, None, None);
        let (mut auth_time, mut amr, mut roles, mut email) = (None, None, None, None);
        let mut extra = Map::new();
        while let Some(Name(name)) = access.next_key()? {
            let access = &mut access;
            match &*name {
                "iss" => take(&mut iss, access)?,
                "aud" => take(&mut aud, access)?,
                "sub" => take(&mut sub, access)?,
                "client_id" => take(&mut client_id, access)?,
                "sid" => take(&mut sid, access)?,
                "jti" => take(&mut jti, access)?,
                "iat" => take(&mut iat, access)?,
                "exp" => take(&mut exp, access)?,
                "auth_time" => take(&mut auth_time, access)?,
                "amr" => take(&mut amr, access)?,
                "roles" => take(&mut roles, access)?,
                "email" => take(&mut email, access)?,
                // What we never write we do not understand either: `nbf`, `cnf` and the like
                // restrict a token, and ignoring a restriction would widen it.
                reserved if RESERVED_CLAIMS.contains(&reserved) => {
                    return Err(A::Error::custom("a reserved claim that is not understood"));
                }
                _ => {
                    let value = access.next_value_seed(Strict)?;
                    if extra.insert(name.into_owned(), value).is_some() {
                        return Err(A::Error::custom("a duplicate name"));
                    }
                }
            }
        }
        Ok(Claims {
            iss: there(iss, "iss")?,
            aud: there(aud, "aud")?,
            sub: parsed(there(sub, "sub")?)?,
            client_id: there(client_id, "client_id")?,
            sid: parsed(there(sid, "sid")?)?,
            jti: there(jti, "jti")?,
            iat: there(iat, "iat")?,
            exp: there(exp, "exp")?,
            auth_time: there(auth_time, "auth_time")?,
            amr: there(amr, "amr")?,
            roles: there(roles, "roles")?,
            email: there(email, "email")?,
            extra,
        })
    }
}

/// The name of a claim, taken from the text as it stands where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a claim of the right type into its place, once.
fn take<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    access: &mut A,
) -> Result<(), A::Error> {
    match place.replace(access.next_value()?) {
        Some(_) => Err(A::Error::custom("a duplicate name")),
        None => Ok(()),
    }
}

fn there<T, E: serde::de::Error>(claim: Option<T>, name: &'static str) -> Result<T, E> {
    claim.ok_or_else(|| E::missing_field(name))
}

fn parsed<T: FromStr, E: serde::de::Error>(Name(text): Name<'_>) -> Result<T, E> {
    text.parse().map_err(|_| E::custom("not an identifier"))
}

/// Serialises through `Display`.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
