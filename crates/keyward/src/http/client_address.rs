//! Who sent the request: the peer, or whom trusted proxies say they speak for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::header::FORWARDED;
use http::{Extensions, HeaderMap, HeaderName};

use crate::policy::WebPolicy;

/// The other end of the connection. The accept loop puts it into the extensions of each request;
/// where an app embeds the router, axum's `ConnectInfo<SocketAddr>` does as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The client's address. The outermost layer puts it into the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl ClientAddress {
    /// The address that the outermost layer found out.
    ///
    /// # Panics
    ///
    /// For a request that did not come through the router of this crate.
    pub(super) fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Self>().expect("every route lies under the outermost layer").0
    }
}

/// The peer's address. Without one, as in a test that calls the router directly, all callers are
/// one: limits then err towards refusing.
pub(super) fn peer_address(extensions: &Extensions) -> IpAddr {
    let peer = extensions
        .get::<PeerAddress>()
        .map(|peer| peer.0)
        .or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0));
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

/// The client's address: the nearest hop that is not a trusted proxy.
///
/// Each proxy appends whom it heard from, so the list is read from its end, and only as long as the
/// one who appended is trusted: everything before that may be made up. A hop that is no address
/// (`unknown`, an obfuscated name, garbage) ends the walk at the trusted proxy that reported it.
///
/// Where both `Forwarded` (RFC 7239) and `X-Forwarded-For` are there and disagree, one of them was
/// passed on from a stranger, and nothing tells which: then the peer's own address counts.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, policy: &WebPolicy) -> IpAddr {
    if !policy.is_trusted_proxy(peer) {
        return peer;
    }
    let told = |name: &HeaderName, node: fn(&str) -> Option<IpAddr>| {
        let walk = || nearest_untrusted(peer, hops(headers, name).map(node), policy);
        headers.contains_key(name).then(walk)
    };
    match (told(&FORWARDED, forwarded_for), told(&X_FORWARDED_FOR, parse_node)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

fn nearest_untrusted(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    policy: &WebPolicy,
) -> IpAddr {
    let mut nearest = peer;
    for hop in hops {
        let Some(hop) = hop else { return nearest };
        nearest = hop;
        if !policy.is_trusted_proxy(hop) {
            return nearest;
        }
    }
    nearest
}

/// The elements of a list header, last first; the lines of one header are one list. A line that is
/// no text is one element that is no address.
fn hops<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(','))
}

/// The `for` of one element of `Forwarded`. Two of them are no address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let (Some(node), None) = (nodes.next(), nodes.next()) else { return None };
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    parse_node(quoted.unwrap_or(node))
}

/// An address with or without port; IPv6 with or without brackets.
fn parse_node(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let address = node
        .parse::<IpAddr>()
        .ok()
        .or_else(|| node.parse::<SocketAddr>().ok().map(|node| node.ip()))
        .or_else(bracketed)?;
    Some(address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Policy;

    fn policy() -> WebPolicy {
        let trusted_proxies = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a net"));
        WebPolicy { trusted_proxies: trusted_proxies.into(), ..Policy::new("https://a.test").web }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn check(client: &str, peer: &str, lines: &[(&'static str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        assert_eq!(client_address(ip(peer), &headers, &policy()), ip(client), "{lines:?}");
    }

    #[test]
    fn the_peer_unless_a_trusted_proxy_says_otherwise() {
        check("192.0.2.9", "192.0.2.9", &[]);
        check("10.0.0.1", "10.0.0.1", &[]);
        check("192.0.2.9", "192.0.2.9", &[("x-forwarded-for", "198.51.100.1")]);
        check("198.51.100.1", "10.0.0.1", &[("x-forwarded-for", "198.51.100.1")]);
    }

    #[test]
    fn what_untrusted_hops_put_in_front_does_not_matter() {
        const XFF: &str = "x-forwarded-for";
        check("198.51.100.1", "10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1")]);
        check("198.51.100.1", "10.0.0.1", &[(XFF, "10.9.9.9,198.51.100.1 , 10.0.0.2")]);
        check("198.51.100.1", "10.0.0.1", &[(XFF, "1.1.1.1"), (XFF, "198.51.100.1")]);
        check("10.0.0.3", "10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")]);
    }

    #[test]
    fn a_hop_that_is_no_address_ends_at_the_last_trusted_one() {
        for garbage in ["unknown", "", "_hidden", "1.2.3", "198.51.100.1, ?", "[::1", "1.2.3.4:x"] {
            check("10.0.0.1", "10.0.0.1", &[("x-forwarded-for", garbage)]);
        }
        check("10.0.0.2", "10.0.0.1", &[("x-forwarded-for", "198.51.100.1, unknown, 10.0.0.2")]);
        check("10.0.0.1", "10.0.0.1", &[("forwarded", "for=198.51.100.1;for=198.51.100.2")]);
        check("10.0.0.1", "10.0.0.1", &[("forwarded", "proto=https;by=198.51.100.1")]);
    }

    #[test]
    fn reads_every_form_of_an_address() {
        for (client, node) in [
            ("198.51.100.1", "198.51.100.1:4711"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("2001:db8::1", "[2001:db8::1]:4711"),
            ("198.51.100.1", "::ffff:198.51.100.1"),
        ] {
            check(client, "fd00::1", &[("x-forwarded-for", node)]);
            check(client, "fd00::1", &[("forwarded", &format!("for=\"{node}\""))]);
        }
        check("198.51.100.1", "10.0.0.1", &[("forwarded", "proto=https; FOR=198.51.100.1 ;by=x")]);
        check("198.51.100.1", "10.0.0.1", &[("forwarded", "for=1.1.1.1, for=198.51.100.1")]);
    }

    #[test]
    fn two_headers_that_disagree_are_worth_nothing() {
        let lines = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=198.51.100.1")];
        check("10.0.0.1", "10.0.0.1", &lines);
        let lines = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];
        check("198.51.100.1", "10.0.0.1", &lines);
    }

    fn lines(forwarded: &str, x_forwarded_for: &str) -> HeaderMap {
        let value = |text| HeaderValue::from_str(text).expect("ASCII");
        let lines = [(FORWARDED, value(forwarded)), (X_FORWARDED_FOR, value(x_forwarded_for))];
        HeaderMap::from_iter(lines)
    }

    proptest! {
        #[test]
        fn headers_of_an_untrusted_peer_never_matter(
            peer: [u8; 4],
            forwarded in "(for=[0-9.]{7,15}|[ -~]{0,40})",
            x_forwarded_for in "[0-9a-f.:, \\[\\]]{0,40}",
        ) {
            prop_assume!(peer[0] != 10);
            let headers = lines(&forwarded, &x_forwarded_for);
            prop_assert_eq!(client_address(peer.into(), &headers, &policy()), IpAddr::from(peer));
        }

        #[test]
        fn no_header_crashes_the_walk(text in "[ -~]{0,60}") {
            let mut headers = lines(&text, &text);
            client_address(ip("10.0.0.1"), &headers, &policy());
            headers.remove(FORWARDED);
            client_address(ip("10.0.0.1"), &headers, &policy());
        }
    }
}
