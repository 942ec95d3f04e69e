//! Two nodes whose PostgreSQL server fails in earnest, while browsers refresh as fast as they can.
//!
//! While it is not there, every answer says so and when to come back; none takes long. Once it is
//! there again nobody restarts a node, and no browser has been signed out. No token ever has two
//! successors.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use keyward::store::postgres::PostgresSettings;
use keyward::store::{PostgresStore, Store as _, StoreError};
use keyward_core::time::Timestamp;

use crate::browser::{Browser, Storm, Turn, browsers, each};
use crate::cluster::Cluster;
use crate::nodes::Nodes;
use crate::place::PASSWORD;
use crate::random::Random;

#[test]
fn a_server_that_stops_in_any_way_is_missed_and_served_again() {
    let mut cluster = Cluster::start_with(&[]);
    let world = World::on(&[&cluster]);
    // In order, at once, and by a kill that leaves its processes behind.
    for signal in ["-INT", "-QUIT", "-KILL"] {
        world.storm(|storm| {
            cluster.end(signal);
            storm.wait_for(Turn::Refused, MANY);
            cluster.start();
        });
    }
    world.check();
}

#[test]
fn a_server_that_hangs_is_missed_and_served_again() {
    let cluster = Cluster::start_with(&[]);
    let world = World::on(&[&cluster]);
    world.storm(|storm| {
        cluster.freeze();
        storm.wait_for(Turn::Refused, 2 * BROWSERS);
        cluster.thaw();
    });
    world.check();
}

#[test]
fn a_server_without_a_connection_left_is_missed_and_served_again() {
    // Room for all that two nodes may have, or one could keep the other out for good.
    let cluster = Cluster::start_with(&["max_connections=30", "superuser_reserved_connections=3"]);
    let world = World::on(&[&cluster]);
    let taken = take_connections(&cluster, 27);
    Storm::rage(&world.nodes, &world.browsers, |storm| {
        storm.wait_for(Turn::Refused, MANY);
        let ends = |_| cluster.try_sql("postgres", END_TAKEN).status.success();
        assert!((0..ATTEMPTS_MAX).any(ends), "no connection is left to end the others with");
        storm.wait_for(Turn::Exchanged, MANY);
    });
    for mut client in taken {
        client.wait().expect("it ends");
    }
    world.check();
}

/// Takes every connection that the role may have, those of the nodes too.
fn take_connections(cluster: &Cluster, count: usize) -> Vec<Child> {
    let mut taken = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        // It fails while those who are about to be refused have every connection.
        cluster.try_sql("postgres", END_CONNECTIONS_OF_NODES);
        let mut taking = cluster.psql("keyward", "keyward", TAKE);
        taken.push(taking.stderr(Stdio::null()).spawn().expect("it starts"));
        let counted = cluster.try_sql("postgres", COUNT_TAKEN);
        if counted.stdout == format!("{count}\n").as_bytes() {
            return taken;
        }
    }
    panic!("the nodes do not let go");
}

/// A limit on the size of files stands in for the disk: the last write before it is cut short, as
/// on a disk that gets full.
#[cfg(target_os = "linux")]
#[test]
fn a_server_without_room_is_missed_and_served_again() {
    let cluster = Cluster::start_with(&[]);
    let world = World::on(&[&cluster]);
    world.storm(|storm| {
        cluster.limit_files(ROOM);
        let is_full = |_| !cluster.try_sql("keyward", FILL).status.success();
        assert!((0..ATTEMPTS_MAX).any(is_full), "there is always room");
        storm.wait_for(Turn::Refused, MANY);
        cluster.limit_files("unlimited");
    });
    world.check();
}

/// What the primary has confirmed the standby knows, or it would not have confirmed it.
#[test]
fn a_failover_to_a_synchronous_standby_loses_nothing() {
    let mut primary = Cluster::start_with(&[]);
    let standby = primary.synchronous_standby();
    let world = World::on(&[&primary, &standby]);
    world.storm(|storm| {
        primary.end("-QUIT");
        // The standby is there, but it is not to be written.
        storm.wait_for(Turn::Refused, MANY);
        standby.promote();
    });
    world.check();
    assert_eq!(standby.sql("keyward", COUNT_AHEAD_OF_STORE), "0");
}

/// A primary that is kept from writing instead of stopped goes on answering. Nodes leave it.
#[test]
fn a_failover_from_a_primary_that_became_read_only_is_followed() {
    let primary = Cluster::start_with(&[]);
    let standby = primary.synchronous_standby();
    let world = World::on(&[&primary, &standby]);
    world.storm(|storm| {
        primary.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        storm.wait_for(Turn::Refused, MANY);
        standby.promote();
    });
    world.check();
    assert_eq!(standby.sql("keyward", COUNT_AHEAD_OF_STORE), "0");
}

/// What the primary has just revoked a standby may not know yet: it passes for one that knows
/// nothing, until it is the primary.
#[tokio::test]
async fn a_standby_is_not_asked_for_revocations() {
    let primary = Cluster::start_with(&[]);
    let open = async |cluster: &Cluster| {
        let url = Cluster::url(&[cluster]);
        let url = url.split_once('?').expect("with settings").0;
        let settings = PostgresSettings::parse(url, Path::new("/")).expect("a good URL");
        PostgresStore::open(&settings, Timestamp::from_secs(1)).await.expect("a store")
    };
    let store = open(&primary).await;
    assert!(store.list_revocations(None, 9).await.is_ok());
    let standby = primary.synchronous_standby();
    let store = open(&standby).await;
    let refused = store.list_revocations(None, 9).await;
    let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("standby"), "{why}");
    drop(primary);
    standby.promote();
    assert!(store.list_revocations(None, 9).await.is_ok());
}

/// While nobody confirms what a primary writes, nobody is told that it was written: it would be
/// undone when the standby takes over.
#[test]
fn what_the_standby_does_not_know_is_not_confirmed() {
    let primary = Cluster::start_with(&[]);
    let standby = primary.synchronous_standby();
    let world = World::on(&[&primary, &standby]);
    world.storm(|storm| {
        standby.freeze();
        storm.wait_for(Turn::Refused, BROWSERS);
        primary.freeze();
        standby.thaw();
        standby.promote();
    });
    world.check();
    assert_eq!(standby.sql("keyward", COUNT_AHEAD_OF_STORE), "0");
}

/// PostgreSQL confirms a commit whose wait for the standby is cancelled. Its own deadline for a
/// statement does not do that, even one that is over before the node's is.
#[test]
fn no_deadline_of_the_server_confirms_what_the_standby_does_not_know() {
    let primary = Cluster::start_with(&[]);
    let standby = primary.synchronous_standby();
    let nodes = Nodes::on_postgres(&Cluster::url(&[&primary]));
    let tokens = nodes.register("ada@example.org");
    primary.sql("postgres", "ALTER ROLE keyward SET statement_timeout = '3s'");
    primary.sql("postgres", END_CONNECTIONS_OF_NODES);
    let tokens = (0..ATTEMPTS_MAX).find_map(|_| {
        let refreshed = nodes.connect().refresh(&tokens, Some(REFRESH_KEY)).expect("answered");
        (refreshed.status == 200).then(|| refreshed.tokens())
    });
    let tokens = tokens.expect("served again");
    standby.freeze();
    let refused = [
        nodes.connect().refresh(&tokens, None).expect("answered"),
        nodes.connect().logout(&tokens).expect("answered"),
        nodes.connect().login("ada@example.org", PASSWORD).expect("answered"),
    ];
    assert_eq!(refused.map(|answer| answer.status), [503; 3]);
    nodes.stop();
}

/// Nodes, and browsers that are signed in.
struct World {
    nodes: Nodes,
    browsers: Vec<Mutex<Browser>>,
}

impl World {
    fn on(clusters: &[&Cluster]) -> Self {
        let nodes = Nodes::on_postgres(&Cluster::url(clusters));
        let browsers = browsers(&nodes, BROWSERS);
        Self { nodes, browsers }
    }

    /// Lets something happen to the server while the browsers refresh, and waits until they are
    /// served as before.
    fn storm(&self, fault: impl FnOnce(&Storm)) {
        Storm::rage(&self.nodes, &self.browsers, |storm| {
            storm.wait_for(Turn::Exchanged, MANY);
            fault(storm);
            storm.wait_for(Turn::Exchanged, MANY);
        });
        for mut browser in each(&self.browsers) {
            browser.come_back(&self.nodes);
        }
    }

    /// Nobody was signed out, and what was spent stays spent.
    fn check(&self) {
        let mut random = Random::new(SEED);
        for browser in each(&self.browsers) {
            browser.expect_spent_tokens_dead(&self.nodes, &mut random);
        }
        self.nodes.stop();
    }
}

const REFRESH_KEY: &str = "0123456789abcdefghijkl";

const SEED: u64 = 1848;
const BROWSERS: usize = 6;
const MANY: usize = 30;
const ATTEMPTS_MAX: usize = 1000;

const TAKE: &str = "SET application_name = 'taken'; SELECT pg_sleep(600)";
const COUNT_TAKEN: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taken' AND state = 'active'";
const END_CONNECTIONS_OF_NODES: &str = "SELECT count(pg_terminate_backend(pid)) \
     FROM pg_stat_activity WHERE application_name = 'keyward'";
const END_TAKEN: &str = "SELECT count(pg_terminate_backend(pid)) \
     FROM pg_stat_activity WHERE application_name = 'taken'";

/// Room for a segment of the write-ahead log, and for a table of no more than half a page beyond.
#[cfg(target_os = "linux")]
const ROOM: &str = "1052672";

/// Some hundred events of the present month, as a refresh leaves them.
#[cfg(target_os = "linux")]
const FILL: &str = "INSERT INTO keyward.audit_event (at, name, detail) \
     SELECT extract(epoch FROM now()) * 1000, 'login.failed', '{}' FROM generate_series(1, 1000)";

const COUNT_AHEAD_OF_STORE: &str =
    "SELECT count(*) FROM keyward.audit_event WHERE name = 'refresh.ahead_of_store'";
