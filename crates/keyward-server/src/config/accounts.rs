//! `[password]`, `[limits]` and `[accounts]`.

use std::time::Duration;

use keyward::policy::{HashingPolicy, Policy, Registration};
use keyward_core::limits::Quota;

use super::source::Source;
use super::value;

/// Reads the three sections.
pub(super) fn read(source: &mut Source, policy: &mut Policy) {
    let min_length = source.parsed("password.min_length", |count| value::number(count, 8, 128));
    if let Some(min_length) = min_length {
        policy.password.min_length = min_length as usize;
    }
    policy.breached_list = source.path("password.breached_list");
    read_hashing(source, &mut policy.hashing);
    let limits = &mut policy.limits;
    read_limit(source, "limits.login_account", &mut limits.login_account);
    read_limit(source, "limits.login_account_total", &mut limits.login_account_total);
    read_limit(source, "limits.login_address", &mut limits.login_address);
    read_limit(source, "limits.login_device", &mut limits.login_device);
    read_limit(source, "limits.login_range", &mut limits.login_range);
    read_limit(source, "limits.mail_account", &mut limits.mail_account);
    read_limit(source, "limits.mail_address", &mut limits.mail_address);
    read_limit(source, "limits.mfa_account", &mut limits.mfa_account);
    read_limit(source, "limits.mfa_challenge", &mut limits.mfa_challenge);
    read_limit(source, "limits.register_address", &mut limits.register_address);
    read_limit(source, "limits.refresh_session", &mut limits.refresh_session);
    read_limit(source, "limits.refresh_address", &mut limits.refresh_address);
    read_limit(source, "limits.service_key_address", &mut limits.service_key_address);
    let choices = [
        ("open", Registration::Open),
        ("verified", Registration::Verified),
        ("closed", Registration::Closed),
    ];
    let registration = source.parsed("accounts.registration", |text| value::choice(text, &choices));
    policy.accounts.registration = registration.unwrap_or(policy.accounts.registration);
    let verified = source.parsed("accounts.require_verified_email", value::boolean);
    policy.accounts.require_verified_email = verified.unwrap_or(false);
    if policy.accounts.registration == Registration::Verified
        && !policy.accounts.require_verified_email
    {
        let complaint = "is \"verified\" so that nobody learns who has an account, but whoever \
             registers an address and signs in at once learns whether it was free; set \
             accounts.require_verified_email = true";
        source.warn("accounts.registration", complaint);
    }
    let window = source.parsed("accounts.reauthentication_window", |text| {
        value::duration(text, Duration::from_secs(60), Duration::from_secs(24 * 60 * 60))
    });
    let accounts = &mut policy.accounts;
    accounts.reauthentication_window = window.unwrap_or(accounts.reauthentication_window);
    let sessions_max =
        source.parsed("accounts.sessions_max", |count| value::number(count, 1, 10_000));
    accounts.sessions_max = sessions_max.unwrap_or(accounts.sessions_max);
}

fn read_limit(source: &mut Source, key: &'static str, limit: &mut Option<Quota>) {
    let Some(quota) = source.parsed(key, value::quota) else { return };
    if quota.is_none() {
        source.warn(key, "is off, so that trying is free for everyone; set it like \"5 per 15m\"");
    }
    *limit = quota;
}

fn read_hashing(source: &mut Source, hashing: &mut HashingPolicy) {
    let count =
        source.parsed("password.max_concurrent_hashes", |count| value::number(count, 1, 256));
    if let Some(count) = count {
        let waiting_per_hash = hashing.queue_max / hashing.concurrency_max.max(1);
        hashing.concurrency_max = count as usize;
        hashing.queue_max = hashing.concurrency_max * waiting_per_hash;
    }
    let memory = source.parsed("password.argon2.memory", value::memory_kib);
    let passes = source.parsed("password.argon2.passes", |count| {
        value::number(count, 1, HashingPolicy::PASSES_MAX)
    });
    let lanes = source
        .parsed("password.argon2.lanes", |count| value::number(count, 1, HashingPolicy::LANES_MAX));
    hashing.memory_kib = memory.unwrap_or(hashing.memory_kib);
    hashing.passes = passes.unwrap_or(hashing.passes);
    hashing.lanes = lanes.unwrap_or(hashing.lanes);
    if !is_above_floor(hashing) {
        source.problem(
            "password.argon2",
            format!(
                "takes {} MiB and {} passes, with which a stolen database is guessed too \
                     fast; use at least 19MiB with 2 passes, 46MiB with 1 or 12MiB with 3",
                hashing.memory_kib / 1024,
                hashing.passes
            ),
        );
    }
    if hashing.memory_kib > HashingPolicy::MEMORY_KIB_MAX {
        source.problem("password.argon2.memory", "is more than 1GiB a hash; set it lower");
    }
}

/// The least that the OWASP password storage cheat sheet recommends for Argon2id.
fn is_above_floor(hashing: &HashingPolicy) -> bool {
    const FLOOR: [(u32, u32); 3] = [(46, 1), (19, 2), (12, 3)];
    FLOOR.iter().any(|(memory_mib, passes)| {
        hashing.memory_kib >= memory_mib * 1024 && hashing.passes >= *passes
    })
}
