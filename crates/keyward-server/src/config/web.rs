//! `[server]` and `[cors]`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use keyward::policy::{AllowedOrigins, Policy, WebPolicy};

use super::origin::Origin;
use super::source::{Source, Value};
use super::{Overrides, ServerSettings, TlsFiles, open_to_loopback, secret_file, value};

/// Where and how the service listens.
pub(super) fn read_listener(source: &mut Source, overrides: &Overrides) -> ServerSettings {
    let configured = source.parsed("server.listen", address);
    let listen = overrides.listen.or(configured).unwrap_or(DEFAULT_LISTEN);
    if overrides.dev && !listen.ip().is_loopback() {
        source.problem(
            "server.listen",
            format!("is {listen}, but --dev is for this machine alone; use 127.0.0.1 or [::1]"),
        );
    }
    let tls = read_tls(source, overrides);
    let bounds = (Duration::ZERO, 10 * MINUTE);
    let shutdown_timeout =
        source.parsed("server.shutdown_timeout", |text| value::duration(text, bounds.0, bounds.1));
    let connections_max =
        source.parsed("server.connections_max", |count| value::number(count, 1, 100_000));
    let threads = source.parsed("server.threads", |count| value::number(count, 1, 1024));
    ServerSettings {
        listen,
        tls,
        shutdown_timeout: shutdown_timeout.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT),
        connections_max: connections_max.map_or(DEFAULT_CONNECTIONS_MAX, |count| count as usize),
        threads: threads.map(|count| count as usize),
    }
}

/// Where browsers reach the service.
pub(super) fn read_public_url(source: &mut Source, listener: &ServerSettings, dev: bool) -> Origin {
    let configured = source.parsed("server.public_url", |text| origin(&value::text(text)?));
    if let Some(origin) = configured {
        return origin;
    }
    let listen = listener.listen;
    let default = if dev {
        http_origin("localhost", listen.port())
    } else {
        let http = http_origin(&host_of(listen), listen.port());
        if listener.tls.is_some() { http.replacen("http:", "https:", 1) } else { http }
    };
    if !source.is_set("server.public_url") && !dev {
        complain_of_missing_url(source, listen, &default);
    }
    Origin::parse(&default).unwrap_or_else(|_| {
        Origin::parse("http://localhost").expect("the simplest origin there is")
    })
}

/// What the service does with requests.
pub(super) fn read_policy(
    source: &mut Source,
    listener: &ServerSettings,
    dev: bool,
    policy: &mut Policy,
) {
    let web = &mut policy.web;
    if let Some(path) = source.parsed("server.base_path", base_path) {
        web.base_path = path;
    }
    if let Some(networks) = source.parsed("server.trusted_proxies", value::networks) {
        web.trusted_proxies = networks;
    }
    if web.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        source.warn(
            "server.trusted_proxies",
            "trusts every address, so that any client can claim to be another; \
             name the proxies alone",
        );
    }
    warn_of_unnamed_proxy(source, listener, web);
    let timeout = source.parsed("server.request_timeout", |text| {
        value::duration(text, Duration::from_secs(1), 5 * MINUTE)
    });
    if let Some(timeout) = timeout {
        web.request_timeout = timeout;
    }
    let origins = source.parsed("cors.allowed_origins", origins);
    if dev {
        open_to_loopback(web, listener.listen.port(), origins.is_some());
    }
    for origin in origins.iter().flatten().filter(|origin| !origin.is_https) {
        if !origin.is_loopback() {
            let complaint = format!(
                "lists {}, whose pages anyone on the way can change; use https",
                origin.as_str()
            );
            source.warn("cors.allowed_origins", complaint);
        }
    }
    if let Some(origins) = origins {
        let texts = origins.iter().map(|origin| origin.as_str().to_owned());
        web.allowed_origins = AllowedOrigins::Listed(texts.collect());
    }
}

/// TLS that does not end here ends at a proxy, and whoever comes through it seems to be the proxy.
fn warn_of_unnamed_proxy(source: &mut Source, listener: &ServerSettings, web: &WebPolicy) {
    let is_proxied = listener.tls.is_none() && web.public_url.starts_with("https:");
    if is_proxied && web.trusted_proxies.is_empty() {
        source.warn(
            "server.trusted_proxies",
            "names no proxy, although the https of server.public_url ends at one, so that all \
             clients share its address and anyone can use up the limits of everyone; name it",
        );
    }
}

/// An `http` origin in the form that browsers send.
pub(super) fn http_origin(host: &str, port: u16) -> String {
    if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") }
}

fn host_of(listen: SocketAddr) -> String {
    match listen {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn complain_of_missing_url(source: &mut Source, listen: SocketAddr, default: &str) {
    if listen.ip().is_loopback() {
        source.warn(
            "server.public_url",
            format!("is not set, so that {default} is taken; set it to what browsers use"),
        );
    } else {
        source.problem(
            "server.public_url",
            "is not set, although the service listens beyond this machine; \
             set it to what browsers use, like https://auth.example.org",
        );
    }
}

fn read_tls(source: &mut Source, overrides: &Overrides) -> Option<TlsFiles> {
    let path = |value: &Value| value::text(value).map(|path| overrides.data_dir.join(path));
    let certificates = source.parsed("server.tls_cert", path);
    let key = source.parsed("server.tls_key", path);
    if overrides.dev && (certificates.is_some() || key.is_some()) {
        source.problem(
            "server.tls_cert",
            "has no place in --dev, which speaks plain HTTP; \
                                           remove it together with server.tls_key",
        );
        return None;
    }
    match (certificates, key) {
        (Some(certificates), Some(key)) => {
            warn_of_open_key(source, &key);
            Some(TlsFiles { certificates, key })
        }
        (Some(_), None) => {
            source.problem("server.tls_cert", "is set without server.tls_key; set both");
            None
        }
        (None, Some(_)) => {
            source.problem("server.tls_key", "is set without server.tls_cert; set both");
            None
        }
        (None, None) => None,
    }
}

fn warn_of_open_key(source: &mut Source, key: &Path) {
    if secret_file::is_readable_by_others(key) {
        let complaint = format!("can be read by others; run `chmod 600 {}`", key.display());
        source.warn("server.tls_key", complaint);
    }
}

pub(super) fn address(value: &Value) -> Result<SocketAddr, String> {
    let text = value::text(value)?;
    text.parse().map_err(|_| {
        format!(
            "is \"{text}\", which is no address and port; write it like 127.0.0.1:8080 or \
                 [::1]:8080"
        )
    })
}

fn base_path(value: &Value) -> Result<String, String> {
    let path = value::text(value)?;
    let segments = path.strip_prefix('/').unwrap_or_default().split('/');
    let fits = segments.into_iter().all(|segment| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !segment.is_empty() && segment.bytes().all(plain)
    });
    if fits {
        return Ok(path);
    }
    Err(format!(
        "is \"{path}\"; write it like /api/auth, of letters, digits, - and _, without a slash at \
         its end"
    ))
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).map_err(|why| format!("is \"{text}\", which {why}"))
}

fn origins(value: &Value) -> Result<Vec<Origin>, String> {
    let parse =
        |text: &String| Origin::parse(text).map_err(|why| format!("lists \"{text}\", which {why}"));
    value::list(value)?.iter().map(parse).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

/// Where the service listens where nothing else is said.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Below the ten seconds that container platforms wait before they kill.
const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// With the files of the store below the 1024 that a process may open where nobody raised that.
const DEFAULT_CONNECTIONS_MAX: usize = 900;
