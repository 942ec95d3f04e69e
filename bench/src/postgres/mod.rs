//! What is measured on PostgreSQL: the same service, with its sessions planted in the database.
//!
//! CPU seconds are those of the service and of every process of the database server together.

mod database;
mod pgbench;
mod planted;
mod revocations;
mod site;

use std::io;

use crate::Plan;
use crate::report::Report;
use database::{Database, Postgres};
use site::Site;

/// A measurement that can be asked for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Refreshes beside the bare rotation of one row.
    Refresh,
    /// With and without shared commits.
    Commits,
    /// Few sessions against many.
    Size,
    /// The size of the table after an hour's refreshes.
    Bloat,
    /// From the end of a session at one node to its refusal at another.
    Nodes,
    /// From the end of a session to its refusal by many verifiers.
    Verifiers,
}

impl Part {
    pub(crate) fn find(name: &str) -> Option<Self> {
        PARTS.iter().find(|(_, known)| *known == name).map(|(part, _)| *part)
    }
}

/// Measures on the server at this URL: one part, or all.
pub(crate) async fn measure(plan: &Plan, url: &str, report: &mut Report) -> io::Result<()> {
    let postgres = Postgres::at(url)?;
    for (part, name) in PARTS {
        if plan.only.is_none_or(|only| only == *part) {
            report.progress(&format!("{name}, {} rounds of {} s each", plan.rounds, plan.seconds));
            match part {
                Part::Refresh => refresh(plan, &postgres, report).await?,
                Part::Commits => commits(plan, &postgres, report).await?,
                Part::Size => size(plan, &postgres, report).await?,
                Part::Bloat => bloat(plan, &postgres, report).await?,
                Part::Nodes => revocations::nodes(plan, &postgres, report).await?,
                Part::Verifiers => revocations::verifiers(plan, &postgres, report).await?,
            }
        }
    }
    Ok(())
}

/// Refreshes, and the least that the database could do for as many rotations.
async fn refresh(plan: &Plan, postgres: &Postgres, report: &mut Report) -> io::Result<()> {
    let site = Site::plant(plan, postgres, "keyward_bench_refresh", FEW, report).await?;
    let node = site.node(&[])?;
    let mut callers = site.callers(CONNECTIONS, false);
    for round in 0..plan.rounds {
        report.progress(&format!("round {} of {}", round + 1, plan.rounds));
        let bare = pgbench::rotate(postgres, CONNECTIONS, FEW, plan.seconds)?;
        report.add("bare rotation, per second", bare.per_second);
        report.add("bare rotation, per CPU-second", bare.per_cpu_second);
        let refreshed = site::refresh(postgres, &node, &mut callers, plan.window()).await?;
        let per_second = refreshed.window.per_second();
        report.add("refresh, per second", per_second);
        report.add("refresh, per CPU-second", refreshed.per_cpu_second());
        report.add("refresh p50, ms", refreshed.window.quantile_millis(0.5));
        report.add("refresh p99, ms", refreshed.window.quantile_millis(0.99));
        report.add("refresh / bare rotation", per_second / bare.per_second);
    }
    Ok(())
}

/// Two nodes on one database, of which one commits each refresh by itself.
async fn commits(plan: &Plan, postgres: &Postgres, report: &mut Report) -> io::Result<()> {
    const SHARE: &str = "KEYWARD_STORE__SHARE_COMMITS";
    let site = Site::plant(plan, postgres, "keyward_bench_commits", FEW, report).await?;
    let (shared, single) = (site.node(&[(SHARE, "true")])?, site.node(&[(SHARE, "false")])?);
    let mut callers = site.callers(CALLERS_MAX, false);
    for round in 0..plan.rounds {
        report.progress(&format!("round {} of {}", round + 1, plan.rounds));
        for count in [1, 8, 32, CALLERS_MAX] {
            let callers = &mut callers[..count as usize];
            let one = site::refresh(postgres, &single, callers, plan.window()).await?.window;
            let many = site::refresh(postgres, &shared, callers, plan.window()).await?.window;
            for (kind, window) in [("own commits", &one), ("shared commits", &many)] {
                report.add(&format!("{kind}, {count} conn., per second"), window.per_second());
                report.add(&format!("{kind}, {count} conn., p99 ms"), window.quantile_millis(0.99));
            }
            let [throughput, p99] = [
                many.per_second() / one.per_second(),
                many.quantile_millis(0.99) / one.quantile_millis(0.99),
            ];
            report.add(&format!("shared / own, {count} conn., per second"), throughput);
            report.add(&format!("shared / own, {count} conn., p99"), p99);
        }
    }
    Ok(())
}

/// The same refreshes on a small table and on a large one.
async fn size(plan: &Plan, postgres: &Postgres, report: &mut Report) -> io::Result<()> {
    let many = plan.sessions.max(CONNECTIONS);
    let small = Site::plant(plan, postgres, "keyward_bench_small", FEW, report).await?;
    let large = Site::plant(plan, postgres, "keyward_bench_large", many, report).await?;
    let nodes = [small.node(&[])?, large.node(&[])?];
    let mut callers = [small.callers(CONNECTIONS, true), large.callers(CONNECTIONS, true)];
    for round in 0..plan.rounds {
        report.progress(&format!("round {} of {}", round + 1, plan.rounds));
        let (mut p50, mut per_second) = ([0.0; 2], [0.0; 2]);
        for (place, kind) in ["few", "many"].into_iter().enumerate() {
            let (node, callers) = (&nodes[place], &mut callers[place]);
            let ease = site::refresh_at_ease(node, callers, plan.window()).await?;
            p50[place] = ease.quantile_millis(0.5);
            report.add(&format!("refresh p50, {kind} sessions, ms"), p50[place]);
            let busy = site::refresh(postgres, node, callers, plan.window()).await?;
            per_second[place] = busy.window.per_second();
            report.add(&format!("refresh, {kind} sessions, per second"), per_second[place]);
        }
        report.add("refresh p50, many / few sessions", p50[1] / p50[0]);
        report.add("refresh per second, many / few", per_second[1] / per_second[0]);
    }
    Ok(())
}

/// An hour's refreshes, as fast as they go: so the server's own vacuum has far less than an hour.
async fn bloat(plan: &Plan, postgres: &Postgres, report: &mut Report) -> io::Result<()> {
    let sessions = plan.sessions.clamp(CONNECTIONS, HOUR_SESSIONS);
    let site = Site::plant(plan, postgres, "keyward_bench_bloat", sessions, report).await?;
    let node = site.node(&[])?;
    let mut callers = site.callers(CONNECTIONS, true);
    let before = Extent::of(&site.database)?;
    let (mut done, wanted) = (0.0, (sessions * HOUR_REFRESHES) as f64);
    while done < wanted {
        report.progress(&format!("{done} of {wanted} refreshes"));
        done +=
            site::refresh(postgres, &node, &mut callers, plan.window()).await?.window.requests();
    }
    drop(node);
    let after = Extent::of(&site.database)?;
    report.add("session table before the hour, MiB", before.table / MIB);
    report.add("session table after the hour, MiB", after.table / MIB);
    report.add("its indexes before the hour, MiB", before.indexes / MIB);
    report.add("its indexes after the hour, MiB", after.indexes / MIB);
    report.add("heap-only updates, part", after.heap_only);
    let (before, after) = (before.table + before.indexes, after.table + after.indexes);
    report.add("table and indexes, after / before", after / before);
    Ok(())
}

/// How much room the sessions take, in bytes.
#[derive(Debug)]
struct Extent {
    table: f64,
    indexes: f64,
    /// The part of all updates that changed no index.
    heap_only: f64,
}

impl Extent {
    fn of(database: &Database) -> io::Result<Self> {
        let line = database.run(
            "SELECT pg_table_size(relid), pg_indexes_size(relid), \
             n_tup_hot_upd / greatest(n_tup_upd, 1)::float8 FROM pg_stat_user_tables \
             WHERE schemaname = 'keyward' AND relname = 'session'",
        )?;
        let fields: Result<Vec<f64>, _> = line.split('|').map(str::parse).collect();
        match fields.map_err(io::Error::other)?[..] {
            [table, indexes, heap_only] => Ok(Self { table, indexes, heap_only }),
            _ => Err(io::Error::other("the database has no table of sessions")),
        }
    }
}

const PARTS: &[(Part, &str)] = &[
    (Part::Refresh, "refresh"),
    (Part::Commits, "commits"),
    (Part::Size, "size"),
    (Part::Bloat, "bloat"),
    (Part::Nodes, "nodes"),
    (Part::Verifiers, "verifiers"),
];

/// Connections of most measurements, and the most of any.
const CONNECTIONS: u64 = 32;
const CALLERS_MAX: u64 = 256;

/// Sessions of a small installation.
const FEW: u64 = 10_000;

/// A number of sessions whose hour fits into minutes.
const HOUR_SESSIONS: u64 = 50_000;

/// Refreshes of one session in an hour where access tokens live for five minutes; they live for
/// fifteen unless configured otherwise.
const HOUR_REFRESHES: u64 = 12;

const MIB: f64 = 1_048_576.0;
