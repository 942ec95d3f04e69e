//! Nodes are replaced one by one: while old ones and new ones share a database whose schema is the
//! new one's, either may start anew, and nobody is signed out.
//!
//! `cargo xtask upgrade` brings the program from before the newest migration. Without it the
//! present program plays the old one, on a schema with a migration that it does not know.

use std::path::PathBuf;

use crate::browser::{Storm, Turn, browsers, each};
use crate::database::Database;
use crate::nodes::Nodes;
use crate::place::BINARY;
use crate::random::Random;

#[test]
fn nodes_of_two_versions_are_one_service() {
    let database = Database::new();
    let old = std::env::var_os(OLD_BINARY).map(PathBuf::from);
    if old.is_none() {
        database.run(LATER_MIGRATION);
    }
    let old = old.unwrap_or_else(|| BINARY.into());
    let nodes = Nodes::of_two_versions(&database.service_url(), old);
    let browsers = browsers(&nodes, BROWSERS);
    Storm::rage(&nodes, &browsers, |storm| {
        for node in [OLD, NEW, OLD, NEW] {
            storm.wait_for(Turn::Exchanged, MANY);
            nodes.kill(node);
            storm.wait_for(Turn::Exchanged, MANY);
            nodes.restart(node);
        }
    });
    for (here, there) in [(OLD, NEW), (NEW, OLD)] {
        check_sign_out(&nodes, here, there);
    }
    let mut random = Random::new(SEED);
    for mut browser in each(&browsers) {
        browser.come_back(&nodes);
        browser.expect_spent_tokens_dead(&nodes, &mut random);
        assert_eq!(browser.refused, 0, "the store was there all the time");
    }
    nodes.stop();
}

/// What one of them issued, the other one exchanges, hands out again and takes back.
fn check_sign_out(nodes: &Nodes, here: usize, there: usize) {
    let answer = nodes.connect_to(here).login(crate::browser::EMAIL, crate::place::PASSWORD);
    let first = answer.expect("answered").tokens();
    let key = Some("a key for one rotation");
    let [next, again] = [there, here].map(|node| {
        let answer = nodes.connect_to(node).refresh(&first, key).expect("answered");
        assert_eq!(answer.outcome(), "200 -");
        answer.tokens()
    });
    assert_eq!(next.refresh, again.refresh);
    assert_eq!(nodes.connect_to(here).me(&next).expect("answered").status, 200);
    assert_eq!(nodes.connect_to(there).logout(&next).expect("answered").status, 200);
    nodes.connect_to(here).expect_revoked(&[first], &next);
}

const NEW: usize = 0;
const OLD: usize = 1;
const SEED: u64 = 1517;
const BROWSERS: usize = 4;
const MANY: usize = 30;

/// The program that plays the old version.
const OLD_BINARY: &str = "TEST_OLD_BINARY";

const LATER_MIGRATION: &str = "INSERT INTO keyward.migration VALUES (9999, 'later', '', 0, 1)";
