//! The client's part against a service that is killed again and again: whoever keeps it is never
//! signed out.
//!
//! Every answer to one token, whoever reads it and whenever, holds the same successor, and none
//! signs the browser out. Where there is another node, browsers go on there while the killed one is
//! down.

use crate::browser::{Storm, Turn, browsers, each};
#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::nodes::Nodes;
use crate::random::Random;

#[test]
fn lost_answers_and_kills_sign_no_honest_client_out() {
    check(&Nodes::on_sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn lost_answers_and_kills_of_either_node_sign_no_honest_client_out() {
    let database = Database::new();
    check(&Nodes::on_postgres(&database.service_url()));
}

fn check(nodes: &Nodes) {
    let mut random = Random::new(SEED);
    let browsers = browsers(nodes, BROWSERS);
    let mut sent_in_vain = 0;
    for kill in 0..KILLS {
        Storm::rage(nodes, &browsers, |storm| {
            storm.wait_for(Turn::Exchanged, KILL_AFTER_MIN + random.below(KILL_AFTER_RANGE));
            nodes.kill(kill % nodes.count());
            if nodes.count() > 1 {
                storm.wait_for(Turn::Exchanged, KILL_AFTER_MIN);
            }
        });
        nodes.restart(kill % nodes.count());
        for mut browser in each(&browsers) {
            sent_in_vain += usize::from(browser.has_sent_key);
            browser.come_back(nodes);
        }
    }
    let (mut given_up, mut read_late) = (0, 0);
    for browser in each(&browsers) {
        browser.expect_spent_tokens_dead(nodes, &mut random);
        given_up += browser.given_up;
        read_late += browser.read_late;
        assert_eq!(browser.refused, 0, "the store was there all the time");
    }
    nodes.stop();
    nodes.assert_database_is_sound();
    // Otherwise the hard cases were not met.
    assert!(sent_in_vain > 0, "each kill came between two requests");
    assert!(given_up > 0 && read_late > 0, "{given_up} were given up, {read_late} read late");
    // Each browser repeats itself once after each kill; the others are answers that were lost.
    let retried = nodes.prints(&["audit", "--type", "refresh.retried", "--json"]);
    assert!(retried.lines().count() > KILLS * BROWSERS);
}

const SEED: u64 = 1789;
const KILLS: usize = 10;
const BROWSERS: usize = 6;

/// The kill comes after at least so many answers in all, and before so many more.
const KILL_AFTER_MIN: usize = 20;
const KILL_AFTER_RANGE: usize = 150;
