//! What the system says of processes: CPU time and memory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// CPU time that a process and all that it has started have used so far, those that have ended
/// included.
pub(crate) fn tree_cpu(root: u32) -> io::Result<Duration> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ends meanwhile is counted with its parent.
        if let Some(usage) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(parse) {
            processes.insert(pid, usage);
        }
    }
    if !processes.contains_key(&root) {
        return Err(io::Error::other(format!("process {root} is gone")));
    }
    let ticks: u64 = processes
        .iter()
        .filter(|&(&pid, _)| is_within(pid, root, &processes))
        .map(|(_, usage)| usage.ticks)
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Resident memory of one process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("no resident size"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// What a process is called, where it runs on this machine.
pub(crate) fn name(pid: u32) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/comm"))?.trim().to_owned())
}

/// Who started a process, and the clock ticks that it and its ended children have used.
#[derive(Debug, PartialEq, Eq)]
struct Usage {
    parent: u32,
    ticks: u64,
}

fn parse(stat: String) -> Option<Usage> {
    // The name in parentheses may hold spaces. After it the parent is the 2nd field, and the 12th
    // to 15th are user and system time of the process and of its ended children.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok());
    Some(Usage { parent: fields.get(1)?.parse().ok()?, ticks: ticks.sum::<Option<u64>>()? })
}

fn is_within(mut pid: u32, root: u32, processes: &HashMap<u32, Usage>) -> bool {
    while pid != root {
        match processes.get(&pid) {
            Some(usage) if usage.parent != pid => pid = usage.parent,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5";
        assert_eq!(parse(stat.to_owned()), Some(Usage { parent: 3, ticks: 100 }));
        assert_eq!(parse("7 (a) S 3".to_owned()), None);
    }

    #[test]
    fn a_tree_is_all_that_leads_to_its_root() {
        let usage = |parent| Usage { parent, ticks: 1 };
        let processes = HashMap::from([(1, usage(0)), (2, usage(1)), (3, usage(2)), (4, usage(1))]);
        let within: Vec<bool> = (1..=5).map(|pid| is_within(pid, 2, &processes)).collect();
        assert_eq!(within, [false, true, true, false, false]);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(tree_cpu(std::process::id()).is_ok());
        assert!(resident_bytes(std::process::id()).is_ok_and(|bytes| bytes > 0));
    }
}
