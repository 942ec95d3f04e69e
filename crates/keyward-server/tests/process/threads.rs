//! How many threads answer requests. That a runtime has as many as it is told is tested with it.

use std::thread;

#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::place::Place;

#[test]
fn a_service_runs_as_many_threads_as_it_is_told() {
    check_threads(&[("KEYWARD_SERVER__THREADS", "9")], 9);
}

#[test]
fn a_service_with_a_file_runs_a_thread_for_each_core() {
    check_threads(&[], cores());
}

#[cfg(feature = "postgres")]
#[test]
fn a_service_leaves_half_of_the_cores_to_a_database_beside_it() {
    let database = Database::new();
    check_threads(&[("KEYWARD_STORE__URL", &database.service_url())], (cores() / 2).max(1));
}

fn check_threads(environment: &[(&str, &str)], expected: usize) {
    let place = Place::new();
    place.serve_with(environment).stop();
    let log = place.log();
    assert!(log.contains(&format!("starting threads={expected}\n")), "{log}");
}

fn cores() -> usize {
    thread::available_parallelism().expect("some").get()
}
