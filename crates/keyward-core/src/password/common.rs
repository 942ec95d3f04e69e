//! The most used passwords, as a sorted list of fingerprints.

use aws_lc_rs::digest::{SHA256, digest};

/// Whether the password is among the most used ones, in capitals or not. Says yes of one in 500,000
/// others by chance.
pub(super) fn is_common(password: &str) -> bool {
    let fingerprint = fingerprint(password);
    let (listed, _) = FINGERPRINTS.as_chunks::<4>();
    listed.binary_search(&fingerprint).is_ok()
}

/// The first four bytes of the SHA-256 of the text in lower case.
fn fingerprint(password: &str) -> [u8; 4] {
    let lower = zeroize::Zeroizing::new(password.to_lowercase());
    let hash = digest(&SHA256, lower.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_ref()[..4]);
    first
}

/// Written by `cargo xtask common-passwords`: 33 KiB for 8,354 passwords.
const FINGERPRINTS: &[u8] = include_bytes!("common.bin");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_password_is_common() {
        let list = include_str!("../../../../xtask/data/common-passwords.txt");
        assert_eq!(list.lines().count() * 4, FINGERPRINTS.len());
        for password in list.lines() {
            assert!(is_common(password), "{password}");
        }
        assert!(is_common("PassWord") && !is_common("zimtkringel im regen"));
    }

    #[test]
    fn few_others_are_taken_for_common() {
        let taken = (0..100_000).filter(|number| is_common(&format!("zimtkringel {number}")));
        assert!(taken.count() <= 3);
    }
}
