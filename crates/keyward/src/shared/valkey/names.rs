//! What things are called on the server.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::keys::MasterKey;

/// Names made with a key, so that whoever reads them learns no address, and whoever chooses an
/// address or a user name cannot choose one that meets another's count.
pub(super) struct Names {
    key: hmac::Key,
    channel: String,
}

impl Names {
    /// The names that all nodes with this master key use.
    pub(super) fn new(master_key: &MasterKey) -> Self {
        let secret = master_key.derive("keyward shared state v1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice());
        let channel = name(&key, CHANNEL, "", &[]);
        Self { key, channel }
    }

    /// Of what a limit has counted for somebody.
    pub(super) fn counter(&self, limit: &str, key: &[u8]) -> String {
        name(&self.key, COUNTER, limit, key)
    }

    /// Of the channel that hints go over.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

fn name(key: &hmac::Key, prefix: &str, limit: &str, of: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [prefix.as_bytes(), limit.as_bytes()] {
        context.update(part);
        // Nothing before the last part holds a zero, so no two rows of parts are one text.
        context.update(&[0]);
    }
    context.update(of);
    let tag = context.sign();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(&tag.as_ref()[..TAG_BYTES]))
}

/// Half of the tag, as RFC 2104 permits in section 5: names are the most of what a count takes.
const TAG_BYTES: usize = 16;

const COUNTER: &str = "keyward:count:";
const CHANNEL: &str = "keyward:wake:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_its_key_its_limit_and_whom_it_counts() {
        let names = Names::new(&MasterKey::new(&[1; 32]));
        let name = names.counter("login_address", b"192.0.2.1");
        assert_eq!(
            name,
            Names::new(&MasterKey::new(&[1; 32])).counter("login_address", b"192.0.2.1")
        );
        assert!(name.starts_with("keyward:count:") && name.len() == 36, "{name}");
        assert_ne!(name, names.counter("login_address", b"192.0.2.2"));
        assert_ne!(name, names.counter("login_addres", b"s192.0.2.1"));
        assert_ne!(name, names.counter("register_address", b"192.0.2.1"));
        let others = Names::new(&MasterKey::new(&[2; 32]));
        assert_ne!(name, others.counter("login_address", b"192.0.2.1"));
        assert_ne!(names.channel(), others.channel());
    }
}
