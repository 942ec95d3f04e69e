//! The least that a server can do for one rotation: one guarded UPDATE of one row and its commit,
//! sent by pgbench.

use std::io;

use super::database::{Postgres, client};

/// Rotations of one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotations {
    pub(crate) per_second: f64,
    /// Per CPU-second of the server.
    pub(crate) per_cpu_second: f64,
}

/// Rotates `rows` rows over so many connections, each its share in turn.
pub(crate) fn rotate(
    postgres: &Postgres,
    connections: u64,
    rows: u64,
    seconds: u64,
) -> io::Result<Rotations> {
    let database = postgres.create("keyward_bench_bare")?;
    database.run(&TABLE.replace("$rows", &rows.to_string()))?;
    database.settle()?;
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), include_str!("bare.pgbench"))?;
    let file = script.path().to_string_lossy();
    let each = format!("each={}", rows / connections);
    let (connections, seconds) = (connections.to_string(), seconds.to_string());
    let arguments = [
        &["-n", "-M", "prepared", "-D", "turn=-1", "-D", &each][..],
        &["-c", &connections, "-T", &seconds, "-f", &file],
    ];
    let cpu = postgres.cpu()?;
    let said = client("pgbench", &arguments.concat(), database.url(), "")?;
    let cpu_secs = (postgres.cpu()? - cpu).as_secs_f64();
    let done = number(&said, "number of transactions actually processed: ")?;
    let rotated: f64 =
        database.run("SELECT sum(generation) FROM session")?.parse().map_err(io::Error::other)?;
    if (rotated - done).abs() > 0.5 {
        return Err(io::Error::other(format!("of {done} rotations {rotated} changed a row")));
    }
    Ok(Rotations { per_second: number(&said, "tps = ")?, per_cpu_second: done / cpu_secs })
}

/// The number that follows a label.
fn number(text: &str, label: &str) -> io::Result<f64> {
    text.split_once(label)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("pgbench did not say \"{label}\": {text}")))
}

/// No column but those that a rotation needs, and room in each page for the next versions.
const TABLE: &str = "CREATE TABLE session (id bigint PRIMARY KEY, generation bigint NOT NULL, \
    hash bytea NOT NULL, previous_hash bytea, rotated_at timestamptz NOT NULL, \
    revoked_at timestamptz) WITH (fillfactor = 70); \
    INSERT INTO session SELECT id, 0, sha256((id || ':0')::bytea), NULL, now(), NULL \
    FROM generate_series(0, $rows - 1) AS id;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_follows_its_label() {
        let said = "latency average = 1.9 ms\ntps = 16188.5 (without initial connection time)\n";
        assert!(number(said, "tps = ").is_ok_and(|tps| tps == 16188.5));
        assert!(number(said, "number of transactions: ").is_err());
    }
}
