//! `cargo xtask common-passwords`: the list of most used passwords as the core embeds it.
//!
//! `xtask/data/common-passwords.txt` is what has eight characters and more of the list that comes
//! with Django 5.2 (BSD-3-Clause): Royce Williams's of the 20,000 passwords that leaked most often,
//! in lower case. It is sorted, so that a newer one can be compared with it.

use std::collections::BTreeSet;
use std::fs;

use aws_lc_rs::digest::{SHA256, digest};

use crate::steps::{Failure, root, say};

/// Writes the fingerprints anew. The same list gives the same bytes.
pub(crate) fn run() -> Result<(), Failure> {
    let list = fs::read_to_string(root().join(LIST))
        .map_err(|error| Failure(format!("{LIST} cannot be read: {error}.")))?;
    let bytes = fingerprints(&list);
    fs::write(root().join(FINGERPRINTS), &bytes)
        .map_err(|error| Failure(format!("{FINGERPRINTS} cannot be written: {error}.")))?;
    say(&format!("{} passwords take {} bytes.", bytes.len() / 4, bytes.len()));
    Ok(())
}

/// The first four bytes of each password's SHA-256, sorted and distinct.
fn fingerprints(list: &str) -> Vec<u8> {
    let hashes = list.lines().map(|password| digest(&SHA256, password.as_bytes()));
    let sorted: BTreeSet<Vec<u8>> = hashes.map(|hash| hash.as_ref()[..4].to_vec()).collect();
    sorted.into_iter().flatten().collect()
}

const LIST: &str = "xtask/data/common-passwords.txt";
const FINGERPRINTS: &str = "crates/keyward-core/src/password/common.bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_is_made_from_the_list() {
        let list = fs::read_to_string(root().join(LIST)).expect("the list");
        let embedded = fs::read(root().join(FINGERPRINTS)).expect("the fingerprints");
        assert!(fingerprints(&list) == embedded, "run `cargo xtask common-passwords`");
        assert!(list.lines().is_sorted() && list.lines().all(|line| line.chars().count() >= 8));
    }
}
