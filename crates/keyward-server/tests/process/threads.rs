//! How many threads answer requests.

use std::fs;
use std::thread;
use std::time::Duration;

#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::place::{Place, Running};

#[test]
fn a_service_runs_as_many_threads_as_it_is_told() {
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_SERVER__THREADS", "9")]);
    check_threads(&service, 9);
    service.stop();
}

#[test]
fn a_service_with_a_file_runs_a_thread_for_each_core() {
    let place = Place::new();
    let service = place.serve();
    check_threads(&service, cores());
    service.stop();
}

#[cfg(feature = "postgres")]
#[test]
fn a_service_leaves_half_of_the_cores_to_a_database_beside_it() {
    let database = Database::new();
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_STORE__URL", &database.service_url())]);
    check_threads(&service, (cores() / 2).max(1));
    service.stop();
}

/// Those for what blocks have the same name as those that answer, and end after ten idle seconds.
fn check_threads(service: &Running, expected: usize) {
    thread::sleep(Duration::from_secs(12));
    let mut running = 0;
    for _ in 0..300 {
        running = workers(service.id());
        if running == expected {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{running} threads run, not {expected}");
}

fn workers(process: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
    let names = threads.filter_map(|thread| name(thread.ok()?));
    names.filter(|name| name.trim_end() == "tokio-rt-worker").count()
}

fn cores() -> usize {
    thread::available_parallelism().expect("some").get()
}
