//! `[cookies]`, and what plain HTTP does to them.

use keyward::policy::{CookiePolicy, Policy, SameSitePolicy};

use super::origin::{Origin, is_host_name};
use super::source::{Source, Value};
use super::{ServerSettings, value};

/// Reads the section and refuses what would send cookies in the clear.
pub(super) fn read(
    source: &mut Source,
    listener: &ServerSettings,
    public: &Origin,
    dev: bool,
    policy: &mut Policy,
) {
    let cookies = &mut policy.cookies;
    let choices = [
        ("strict", SameSitePolicy::Strict),
        ("lax", SameSitePolicy::Lax),
        ("none", SameSitePolicy::None),
    ];
    cookies.secure = source.parsed("cookies.secure", value::boolean).unwrap_or(!dev);
    if let Some(policy) = source.parsed("cookies.same_site", |v| value::choice(v, &choices)) {
        cookies.same_site = policy;
    }
    read_names(source, cookies);
    read_domain(source, public, cookies);
    let allow_insecure = source.parsed("cookies.allow_insecure", value::boolean).unwrap_or(false);
    if cookies.same_site == SameSitePolicy::None && !cookies.secure {
        source.problem(
            "cookies.same_site",
            "is \"none\", which browsers take with Secure only; set cookies.secure to true",
        );
    }
    if allow_insecure {
        source.warn(
            "cookies.allow_insecure",
            "lets sign-ins travel in the clear; remove it and use https",
        );
    } else {
        refuse_insecure(source, listener, public, cookies.secure);
    }
}

fn refuse_insecure(source: &mut Source, listener: &ServerSettings, public: &Origin, secure: bool) {
    let is_remote = !listener.listen.ip().is_loopback() || !public.is_loopback();
    if !secure && is_remote {
        source.problem(
            "cookies.secure",
            "is false although the service is reached from other machines, so that anyone on the \
             way can take a session; set it to true and use https",
        );
    }
    // Where it is not set, that is a problem of its own already.
    if !public.is_https && !public.is_loopback() && source.is_set("server.public_url") {
        source.problem(
            "server.public_url",
            "is plain http beyond this machine, so that anyone on the way can take a session; \
             use https",
        );
    }
}

fn read_names(source: &mut Source, cookies: &mut CookiePolicy) {
    if let Some(name) = source.parsed("cookies.refresh_name", cookie_name) {
        cookies.refresh_name = name;
    }
    if let Some(name) = source.parsed("cookies.access_name", cookie_name) {
        cookies.access_name = name;
    }
    if let Some(name) = source.parsed("cookies.csrf_name", cookie_name) {
        cookies.csrf_name = name;
    }
    if let Some(name) = source.parsed("cookies.device_name", cookie_name) {
        cookies.device_name = name;
    }
    if !cookies.has_distinct_names() {
        source.problem(
            "cookies.refresh_name",
            "and its siblings access_name, csrf_name and device_name are not distinct; give each \
             its own name",
        );
    }
}

fn read_domain(source: &mut Source, public: &Origin, cookies: &mut CookiePolicy) {
    let Some(domain) = source.parsed("cookies.domain", domain) else { return };
    if public.is_within(&domain) {
        source.warn(
            "cookies.domain",
            format!(
                "lets every host under {domain} read and set the cookies; \
                     remove it unless several hosts need them"
            ),
        );
    } else {
        source.problem(
            "cookies.domain",
            format!(
                "is {domain}, to which the host of server.public_url does not belong; \
                     browsers would refuse the cookies, so remove it or mend either"
            ),
        );
    }
    cookies.domain = Some(domain);
}

/// A name that the policy takes. The prefixes are the policy's to give.
fn cookie_name(value: &Value) -> Result<String, String> {
    let name = value::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() <= 64 && name.bytes().all(is_plain) && !name.starts_with("__") {
        return Ok(name);
    }
    Err(format!(
        "is \"{name}\"; write a base name like refreshToken, of letters, digits, -, _ and . \
         and without the prefix, which is added"
    ))
}

fn domain(value: &Value) -> Result<String, String> {
    let domain = value::text(value)?;
    let is_address = domain.parse::<std::net::IpAddr>().is_ok();
    if is_host_name(&domain) && domain.contains('.') && !is_address {
        return Ok(domain);
    }
    Err(format!("is \"{domain}\"; write it in lower case like example.org, without a leading dot"))
}
