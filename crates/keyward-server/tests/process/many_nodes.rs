//! Two nodes on one database, and clients whose every request may reach either: what one node has
//! done holds at the other from its answer on.

use std::thread;

use serde_json::json;

use crate::client::{Answer, Tokens};
use crate::database::Database;
use crate::nodes::Nodes;
use crate::over::Over;
use crate::place::PASSWORD;

#[test]
fn a_line_goes_on_at_either_node() {
    let (nodes, _database) = two_nodes();
    let mut tokens = nodes.register(ADA);
    for number in 0..10 {
        let spent = tokens.clone();
        let key = format!("the {number:03}rd rotation");
        tokens = exchanged(&nodes, number % 2, &spent, Some(&key));
        // As if the answer had been lost: the other node hands out the same successor.
        let again = exchanged(&nodes, (number + 1) % 2, &spent, Some(&key));
        assert_eq!(again.refresh, tokens.refresh);
        assert_eq!(me(&nodes, (number + 1) % 2, &tokens), "200 -");
    }
    nodes.stop();
}

#[test]
fn a_spent_token_is_noticed_by_the_other_node() {
    let (nodes, _database) = two_nodes();
    let spent = nodes.register(ADA);
    let current = exchanged(&nodes, 0, &spent, None);
    let replayed = nodes.connect_to(1).refresh(&spent, None).expect("answered");
    assert_eq!(replayed.outcome(), "401 REFRESH_TOKEN_REUSED");
    for node in 0..2 {
        nodes.connect_to(node).expect_revoked(std::slice::from_ref(&spent), &current);
    }
    nodes.stop();
}

#[test]
fn of_a_race_over_both_nodes_one_wins_and_the_session_ends() {
    let (nodes, _database) = two_nodes();
    nodes.register(ADA);
    for _ in 0..RACES {
        let tokens = nodes.login(ADA);
        let answers = race(&nodes, &tokens, None);
        let count = |outcome| answers.iter().filter(|answer| answer.outcome() == outcome).count();
        assert_eq!(count("200 -"), 1);
        assert_eq!(count("401 REFRESH_TOKEN_REUSED"), 1);
        assert_eq!(count("401 SESSION_REVOKED"), RACERS - 2);
        let winner = answers.iter().find(|answer| answer.status == 200).expect("one");
        nodes.connect().expect_revoked(&[tokens], &winner.tokens());
    }
    nodes.stop();
}

#[test]
fn tabs_that_share_a_key_get_one_successor_from_both_nodes() {
    let (nodes, _database) = two_nodes();
    let mut tokens = nodes.register(ADA);
    for _ in 0..RACES {
        let answers = race(&nodes, &tokens, Some("one key for this rotation"));
        let successors: Vec<Tokens> = answers.iter().map(Answer::tokens).collect();
        assert!(successors.iter().all(|successor| successor.refresh == successors[0].refresh));
        tokens = successors[0].clone();
    }
    nodes.stop();
}

#[test]
fn who_signs_out_at_one_node_is_signed_out_at_the_other() {
    let (nodes, _database) = two_nodes();
    let [here, elsewhere] = [nodes.register(ADA), nodes.login(ADA)];
    let left = nodes.connect_to(0).logout(&here).expect("answered");
    assert_eq!(left.status, 200);
    nodes.connect_to(1).expect_revoked(&[], &here);
    assert_eq!(me(&nodes, 1, &elsewhere), "200 -");

    let all = [elsewhere, nodes.login(ADA), nodes.login(ADA)];
    let left = nodes.connect_to(1).send(
        "POST",
        "/api/auth/logout-all",
        &[("Authorization", &all[0].bearer())],
        "",
    );
    assert_eq!(left.expect("answered").json()["revokedSessions"], 3);
    for tokens in &all {
        nodes.connect_to(0).expect_revoked(&[], tokens);
    }
    nodes.stop();
}

#[test]
fn a_password_changed_at_one_node_counts_at_the_other() {
    let (nodes, _database) = two_nodes();
    let [first, other] = [nodes.register(ADA), nodes.login(ADA)];
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW_PASSWORD });
    let changed = nodes.connect_to(0).post(
        "/api/auth/password/change",
        &[("Authorization", &first.bearer())],
        &body,
    );
    let here = changed.expect("answered").tokens();
    for tokens in [&first, &other] {
        nodes.connect_to(1).expect_revoked(&[], tokens);
    }
    assert_eq!(me(&nodes, 1, &here), "200 -");
    let refused = nodes.connect_to(1).login(ADA, PASSWORD).expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_CREDENTIALS");
    let answer = nodes.connect_to(1).login(ADA, NEW_PASSWORD).expect("answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
    nodes.stop();
}

#[test]
fn a_user_disabled_beside_one_node_is_refused_by_both() {
    let (nodes, _database) = two_nodes();
    let tokens = nodes.register(ADA);
    nodes.prints(&["user", "disable", ADA]);
    for node in 0..2 {
        nodes.connect_to(node).expect_revoked(&[], &tokens);
        let refused = nodes.connect_to(node).login(ADA, PASSWORD).expect("answered");
        assert_eq!(refused.outcome(), "403 ACCOUNT_DISABLED");
    }
    nodes.stop();
}

/// Tokens that one node has signed with a key of a moment ago are presented to the other at once.
#[test]
fn no_node_refuses_what_the_other_one_signed_with_a_new_key() {
    let (nodes, _database) = two_nodes();
    nodes.register(ADA);
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_end();
        for first in 0..2 {
            let (nodes, over) = (&nodes, &over);
            scope.spawn(move || alternate_until(nodes, first, over));
        }
        for _ in 0..ROTATIONS {
            nodes.prints(&["key", "rotate", "--purpose", "all"]);
        }
    });
    nodes.stop();
}

/// Refreshes at the one node what the other one has issued.
fn alternate_until(nodes: &Nodes, first: usize, over: &Over) {
    let mut tokens = nodes.login(ADA);
    let mut clients = [0, 1].map(|node| nodes.connect_to((first + node) % 2));
    let mut count = 0;
    while !over.is_set() {
        let answer = clients[count % 2].refresh(&tokens, None).expect("answered");
        assert_eq!(answer.outcome(), "200 -");
        tokens = answer.tokens();
        count += 1;
        let who = clients[count % 2].me(&tokens).expect("answered");
        assert_eq!(who.outcome(), "200 -");
    }
}

/// Presents one token over both nodes at once.
fn race(nodes: &Nodes, tokens: &Tokens, key: Option<&str>) -> Vec<Answer> {
    let mut clients: Vec<_> = (0..RACERS).map(|number| nodes.connect_to(number % 2)).collect();
    for client in &mut clients {
        client.present(tokens, key).expect("sent");
    }
    clients.iter_mut().map(|client| client.answer().expect("answered")).collect()
}

fn exchanged(nodes: &Nodes, node: usize, tokens: &Tokens, key: Option<&str>) -> Tokens {
    let answer = nodes.connect_to(node).refresh(tokens, key).expect("answered");
    assert_eq!(answer.outcome(), "200 -");
    answer.tokens()
}

fn me(nodes: &Nodes, node: usize, tokens: &Tokens) -> String {
    nodes.connect_to(node).me(tokens).expect("answered").outcome()
}

fn two_nodes() -> (Nodes, Database) {
    let database = Database::new();
    (Nodes::on_postgres(&database.service_url()), database)
}

const RACERS: usize = 20;
const RACES: usize = 5;
const ROTATIONS: usize = 3;
const ADA: &str = "ada@example.org";
const NEW_PASSWORD: &str = "a window over the harbour";
