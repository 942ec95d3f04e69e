//! Origins (RFC 6454), as browsers send them.

use std::net::{IpAddr, Ipv6Addr};

/// Scheme, host, and port where it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whether the scheme is `https`.
    pub(crate) is_https: bool,
    /// A name in lower case, or an address; IPv6 without brackets.
    pub(crate) host: String,
    text: String,
}

impl Origin {
    /// Reads an origin in exactly the form that browsers send. The error is a complaint that reads
    /// on after "`text`".
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('*') {
            return Err("has a wildcard, which would let any such site act for its users; \
                        list each origin");
        }
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("is neither http nor https; use one of them"),
        };
        if rest.contains(['/', '?', '#']) {
            return Err("has a path or a slash at its end; write only scheme://host[:port]");
        }
        let (host, port) = split_port(rest).ok_or(FORM)?;
        if port == Some(if is_https { 443 } else { 80 }) {
            return Err("names its scheme's own port, which browsers leave out; leave it out");
        }
        Ok(Self { is_https, host, text: text.to_owned() })
    }

    /// The text, as browsers send it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is this very machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether cookies for `domain` reach this host.
    pub(crate) fn is_within(&self, domain: &str) -> bool {
        let below = self.host.strip_suffix(domain);
        below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Whether the text is a host name in lower case.
pub(crate) fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

fn split_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok().filter(|parsed: &Ipv6Addr| {
            // Browsers send the canonical text, and texts are what is compared.
            parsed.to_string() == address
        })?;
        let port = if rest.is_empty() { None } else { Some(port(rest.strip_prefix(':')?)?) };
        return Some((address.to_string(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, digits)) => (host, Some(port(digits)?)),
        None => (text, None),
    };
    is_host_name(host).then(|| (host.to_owned(), port))
}

fn port(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == digits)
}

const FORM: &str = "is no origin; write it in lower case like https://app.example.org or \
                    http://localhost:3000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_browsers_send() {
        for text in [
            "https://app.example.org",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(Origin::parse(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "*",
            "https://*.example.org",
            "null",
            "app.example.org",
            "ftp://example.org",
            "https://example.org/",
            "https://example.org/path",
            "https://example.org?x",
            "https://Example.org",
            "https://example.org:443",
            "http://example.org:80",
            "https://example.org:0",
            "https://example.org:080",
            "https://example.org:99999",
            "https://user@example.org",
            "https://",
            "https://a..b",
            "http://[::1",
            "http://[0:0::1]",
        ] {
            Origin::parse(text).expect_err(text);
        }
    }

    #[test]
    fn knows_loopback_and_domains() {
        let origin = |text| Origin::parse(text).expect("an origin");
        for text in ["http://localhost", "http://127.1.2.3:1", "http://[::1]", "http://a.localhost"]
        {
            assert!(origin(text).is_loopback(), "{text}");
        }
        assert!(!origin("http://localhost.example.org").is_loopback());
        assert!(origin("https://auth.example.org").is_within("example.org"));
        assert!(!origin("https://badexample.org").is_within("example.org"));
    }
}
