//! A published key set (RFC 7517), read by those who verify.

use std::collections::HashSet;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Map, Value, json};

use super::{Public, RSA_BITS_MIN, UnfitKey, VerifyingKey, header, thumbprint};
use crate::access_token::Algorithm;
use crate::{encoding, json};

/// The largest key set that is looked at, in bytes: a hundred RSA keys and more.
pub const JWK_SET_BYTES_MAX: usize = 64 * 1024;

/// Reads the keys of these algorithms from a set as [`SigningKey::jwk`](super::SigningKey::jwk)
/// writes it. Keys of other algorithms are passed over, so that a newer service may publish them.
///
/// The id of a key must be its thumbprint (RFC 7638), as ours are: then an id cannot come to stand
/// for another key, whoever writes the set. HS256 keys are never taken from a set.
///
/// # Errors
///
/// [`UnfitKey`] where the text is no key set, where any key of it is secret or comes twice, or
/// where one of these algorithms does not fit it, is too short or is for another use. Half a set
/// would refuse tokens that are good, without anybody knowing why.
pub fn read_jwk_set(text: &[u8], algorithms: &[Algorithm]) -> Result<Vec<VerifyingKey>, UnfitKey> {
    if text.len() > JWK_SET_BYTES_MAX {
        return Err(UnfitKey);
    }
    let mut set = json::read(text).ok_or(UnfitKey)?;
    let Some(Value::Array(members)) = set.get_mut("keys").map(Value::take) else {
        return Err(UnfitKey);
    };
    let mut keys = Vec::new();
    let mut ids = HashSet::new();
    for member in &members {
        let jwk = member.as_object().ok_or(UnfitKey)?;
        // Whoever publishes a secret has made everybody a signer.
        if SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err(UnfitKey);
        }
        let Some(algorithm) = text_of(jwk, "alg").and_then(Algorithm::from_name) else { continue };
        if algorithms.contains(&algorithm) {
            let key = read_jwk(jwk, algorithm).ok_or(UnfitKey)?;
            if !ids.insert(key.header.clone()) {
                return Err(UnfitKey);
            }
            keys.push(key);
        }
    }
    Ok(keys)
}

fn read_jwk(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<VerifyingKey> {
    if !is_for_verifying(jwk) {
        return None;
    }
    let (members, public) = match algorithm {
        Algorithm::EdDsa => ed25519(jwk)?,
        Algorithm::Es256 => p256(jwk)?,
        Algorithm::Rs256 => rsa(jwk)?,
        Algorithm::Hs256 => return None,
    };
    let id = thumbprint(&members);
    if text_of(jwk, "kid") != Some(&id) {
        return None;
    }
    Some(VerifyingKey { header: header(algorithm, &id), public: Public::Signature(public) })
}

/// RFC 7517, sections 4.2 and 4.3. Neither member has to be there.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let signs = jwk.get("use").is_none_or(|value| value == "sig");
    let verifies = jwk.get("key_ops").is_none_or(|value| {
        value.as_array().is_some_and(|operations| operations.iter().any(|one| one == "verify"))
    });
    signs && verifies
}

/// The members that the thumbprint covers, and the key.
type Read = Option<(Value, ParsedPublicKey)>;

fn ed25519(jwk: &Map<String, Value>) -> Read {
    let x = coordinate(jwk, "x")?;
    let members = json!({
        "crv": known(jwk, "crv", "Ed25519")?, "kty": known(jwk, "kty", "OKP")?, "x": jwk["x"],
    });
    Some((members, ParsedPublicKey::new(&ED25519, x).ok()?))
}

fn p256(jwk: &Map<String, Value>) -> Read {
    let (x, y) = (coordinate(jwk, "x")?, coordinate(jwk, "y")?);
    let members = json!({
        "crv": known(jwk, "crv", "P-256")?, "kty": known(jwk, "kty", "EC")?,
        "x": jwk["x"], "y": jwk["y"],
    });
    let point = [&[4][..], &x, &y].concat();
    Some((members, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?))
}

fn rsa(jwk: &Map<String, Value>) -> Read {
    let members =
        json!({ "e": jwk.get("e")?, "kty": known(jwk, "kty", "RSA")?, "n": jwk.get("n")? });
    // Small exponents have a history; ours is always this one.
    known(jwk, "e", "AQAB")?;
    let n = encoding::decode(text_of(jwk, "n")?)?;
    let bits_min = RSA_BITS_MIN / 8;
    if n.len() < bits_min || n[0] == 0 {
        return None;
    }
    let der = RsaPublicKeyComponents { n, e: [1, 0, 1].to_vec() }.as_der().ok()?;
    Some((members, ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).ok()?))
}

fn coordinate(jwk: &Map<String, Value>, name: &str) -> Option<[u8; 32]> {
    encoding::decode_exact(text_of(jwk, name)?)
}

fn known<'a>(jwk: &'a Map<String, Value>, name: &str, expected: &str) -> Option<&'a str> {
    text_of(jwk, name).filter(|text| *text == expected)
}

fn text_of<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

/// What only a secret key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const SECRET_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
