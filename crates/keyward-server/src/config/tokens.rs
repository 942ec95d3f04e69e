//! `[access_token]` and `[refresh_token]`.

use std::collections::HashSet;
use std::time::Duration;

use keyward::policy::{AccessTokenPolicy, Delivery, Policy};
use keyward_core::access_token::Algorithm;
use keyward_core::keys::HMAC_SECRET_BYTES_MIN;
use keyward_core::rotation::{OnReuse, RotationPolicy};

use super::secret_file::Secret;
use super::source::{Source, Value};
use super::value;
use zeroize::Zeroizing;

/// Reads both sections; how the access token travels decides how long a retry may come.
pub(super) fn read(source: &mut Source, policy: &mut Policy) {
    let deliveries = [("body", Delivery::Body), ("cookie", Delivery::Cookie)];
    let delivery = source.parsed("access_token.delivery", |text| value::choice(text, &deliveries));
    if delivery == Some(Delivery::Cookie) {
        policy.deliver_by_cookie();
    }
    read_access(source, &mut policy.access_token);
    read_refresh(source, policy.access_token.delivery, &mut policy.rotation);
    warn_of_short_idling(source, policy);
}

/// An access token ends with its session's idle timeout at the latest.
fn warn_of_short_idling(source: &mut Source, policy: &Policy) {
    let (idle, ttl) = (policy.rotation.idle_ttl, policy.access_token.ttl);
    if idle < 2 * ttl {
        source.warn(
            "refresh_token.idle_ttl",
            format!(
                "is {}, and access_token.ttl is {}: a client that refreshes once its access token \
                 has expired comes too late, and its user is signed out while at work; \
                 set it to twice the other at least",
                value::show(idle),
                value::show(ttl)
            ),
        );
    }
}

fn read_access(source: &mut Source, access: &mut AccessTokenPolicy) {
    let algorithms: Vec<(&str, Algorithm)> =
        Algorithm::ALL.iter().map(|algorithm| (algorithm.as_str(), *algorithm)).collect();
    let algorithm =
        source.parsed("access_token.algorithm", |text| value::choice(text, &algorithms));
    access.algorithm = algorithm.unwrap_or(access.algorithm);
    let ttl = source.parsed("access_token.ttl", |text| {
        value::duration(text, Duration::from_secs(1), ACCESS_TTL_MAX)
    });
    access.ttl = ttl.unwrap_or(access.ttl);
    if let Some(issuer) = source.parsed("access_token.issuer", claim) {
        access.audience.clone_from(&issuer);
        access.issuer = issuer;
    }
    if let Some(audience) = source.parsed("access_token.audience", claim) {
        access.audience = audience;
    }
    if let Some(client_id) = source.parsed("access_token.client_id", claim) {
        access.client_id = client_id;
    }
    access.hmac_secret = read_hmac_secret(source, access.algorithm);
}

/// A text that every token repeats.
fn claim(value: &Value) -> Result<String, String> {
    let text = value::text(value)?;
    if text.len() <= CLAIM_BYTES_MAX {
        return Ok(text);
    }
    Err(format!(
        "has {} bytes, with which tokens become too long to be taken; \
         write {CLAIM_BYTES_MAX} at most",
        text.len()
    ))
}

fn read_hmac_secret(source: &mut Source, algorithm: Algorithm) -> Option<Zeroizing<Vec<u8>>> {
    const KEY: &str = "access_token.hmac_secret";
    let secret = source.secret(KEY, "access_token.hmac_secret_file", Secret::Made)?;
    if secret.len() < HMAC_SECRET_BYTES_MIN {
        source.problem(
            KEY,
            format!(
                "is shorter than {HMAC_SECRET_BYTES_MIN} bytes, so that it can be guessed \
                     from one token; take what `keyward secret` prints"
            ),
        );
    } else if secret.bytes().collect::<HashSet<_>>().len() < DISTINCT_BYTES_MIN {
        source.problem(KEY, "is a pattern and no secret; take what `keyward secret` prints");
    }
    if algorithm != Algorithm::Hs256 {
        source.warn(KEY, "is used with algorithm HS256 only; remove it");
    }
    Some(Zeroizing::new(secret.as_bytes().to_vec()))
}

fn read_refresh(source: &mut Source, delivery: Delivery, rotation: &mut RotationPolicy) {
    let least = Duration::from_secs(1);
    let absolute = source
        .parsed("refresh_token.absolute_ttl", |text| value::duration(text, least, SESSION_TTL_MAX));
    rotation.absolute_ttl = absolute.unwrap_or(rotation.absolute_ttl);
    let idle = source
        .parsed("refresh_token.idle_ttl", |text| value::duration(text, least, SESSION_TTL_MAX));
    rotation.idle_ttl = idle.unwrap_or(rotation.idle_ttl);
    if rotation.idle_ttl > rotation.absolute_ttl {
        source.problem(
            "refresh_token.idle_ttl",
            format!(
                "is {}, longer than absolute_ttl, which is {}; set it to that at most",
                value::show(rotation.idle_ttl),
                value::show(rotation.absolute_ttl)
            ),
        );
    }
    let choices = [("session", OnReuse::Session), ("user", OnReuse::User)];
    let on_reuse = source.parsed("refresh_token.on_reuse", |text| value::choice(text, &choices));
    rotation.on_reuse = on_reuse.unwrap_or(rotation.on_reuse);
    read_windows(source, delivery, rotation);
}

fn read_windows(source: &mut Source, delivery: Delivery, rotation: &mut RotationPolicy) {
    let race = source.parsed("refresh_token.race_window", |text| {
        value::duration(text, Duration::ZERO, RACE_WINDOW_MAX)
    });
    rotation.race_window = race.unwrap_or(rotation.race_window);
    if !rotation.race_window.is_zero() {
        source.warn(
            "refresh_token.race_window",
            "lets a stolen token that was just replaced go unnoticed for as long; \
             set it to 0s where every client sends an Idempotency-Key",
        );
    }
    // A key that a server derives can be had by whoever goes through that server, so it must not
    // count for long where access tokens travel in cookies.
    let most = match delivery {
        Delivery::Body => RETRY_WINDOW_BODY_MAX,
        Delivery::Cookie => RETRY_WINDOW_COOKIE_MAX,
    };
    let retry = source
        .parsed("refresh_token.retry_window", |text| value::duration(text, Duration::ZERO, most));
    rotation.retry_window = retry.unwrap_or(rotation.retry_window);
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A token that nobody can take back should not outlive an hour.
const ACCESS_TTL_MAX: Duration = AccessTokenPolicy::TTL_MAX;

/// Three of them stand in every token, beside address and roles; a token has 4096 bytes at most.
const CLAIM_BYTES_MAX: usize = 255;

const SESSION_TTL_MAX: Duration = RotationPolicy::ABSOLUTE_TTL_MAX;

/// A race between tabs is over within seconds.
const RACE_WINDOW_MAX: Duration = Duration::from_secs(60);

const RETRY_WINDOW_BODY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const RETRY_WINDOW_COOKIE_MAX: Duration = HOUR;

/// Thirty-two random bytes in any text form show more than this; `change-me` patterns do not.
const DISTINCT_BYTES_MIN: usize = 10;
