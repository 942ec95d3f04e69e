//! What work costs.

use std::io;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of each call in nanoseconds. Every call must succeed: refusing is cheaper.
pub(crate) fn nanos_each<T>(items: &[T], mut call: impl FnMut(&T) -> bool) -> f64 {
    let began = thread_nanos();
    let good = items.iter().filter(|item| call(item)).count();
    let nanos = thread_nanos() - began;
    assert_eq!(good, items.len(), "every token is good");
    nanos as f64 / items.len() as f64
}

/// CPU time of this thread so far.
pub(crate) fn thread_nanos() -> u64 {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    at.tv_sec.unsigned_abs() * 1_000_000_000 + at.tv_nsec.unsigned_abs()
}

/// The memory that this process holds.
pub(crate) fn resident_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * 4096).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
