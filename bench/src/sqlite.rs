//! What is measured on SQLite.

use std::io;
use std::time::Duration;

use futures_util::future;
use keyward_core::time::Timestamp;

use crate::client::Client;
use crate::load::{Step, User};
use crate::pace::Window;
use crate::report::{Report, median};
use crate::server::Server;
use crate::{Plan, fill, pace};

/// Connections of every throughput measurement.
const CONNECTIONS: usize = 32;

/// Requests in a window and the CPU time that the server spent on them.
#[derive(Debug)]
struct Sample {
    window: Window,
    cpu_secs: f64,
}

impl Sample {
    fn cpu_micros_each(&self) -> f64 {
        self.cpu_secs * 1e6 / self.window.requests()
    }
}

/// Everything, one measurement after the other.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> io::Result<()> {
    report.progress(&format!("throughput, {} rounds of {} s each", plan.rounds, plan.seconds));
    throughput(plan, report).await?;
    report.progress("latency of refresh while sign-ins saturate the hash pool");
    latency(plan, report).await?;
    report.progress("memory and start, empty");
    let empty = footprint(plan, None, report).await?;
    report.progress(&format!("memory and start, {} sessions", plan.sessions));
    footprint(plan, Some(empty), report).await.map(drop)
}

/// Bare answers, refreshes, reads of `/me` and sign-ins, visited in turn each round.
async fn throughput(plan: &Plan, report: &mut Report) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let keyward = Server::keyward(&plan.keyward, folder.path(), &[])?;
    let bare = Server::bare()?;
    let mut users = signed_in(&keyward, 0, false).await?;
    let mut keyed_users = signed_in(&keyward, CONNECTIONS as u64, true).await?;

    for round in 0..plan.rounds {
        report.progress(&format!("round {} of {}", round + 1, plan.rounds));
        let one_bare = bare_answers(&bare, plan.window()).await?.cpu_micros_each();
        report.add("bare axum answer, CPU µs", one_bare);

        let refresh = repeat(&keyward, &mut users, Step::Refresh, plan.window()).await?;
        report.add("refresh, CPU µs", refresh.cpu_micros_each());
        report.add("refresh, per second", refresh.window.per_second());
        report.add("refresh / bare answer, CPU", refresh.cpu_micros_each() / one_bare);

        let keyed = repeat(&keyward, &mut keyed_users, Step::Refresh, plan.window()).await?;
        report.add("refresh with key, CPU µs", keyed.cpu_micros_each());
        report.add("refresh with key / bare answer, CPU", keyed.cpu_micros_each() / one_bare);

        let me = repeat(&keyward, &mut users, Step::Me, plan.window()).await?;
        report.add("me, CPU µs", me.cpu_micros_each());
        report.add("me, per second", me.window.per_second());
        report.add("me / bare answer, CPU", me.cpu_micros_each() / one_bare);

        let raw = argon2_per_cpu_second(plan.window())?;
        report.add("Argon2id alone, per CPU-second", raw);
        let login = repeat(&keyward, &mut users, Step::Login, plan.window()).await?;
        let logins = login.window.requests() / login.cpu_secs;
        report.add("login, per CPU-second", logins);
        report.add("login / Argon2id alone", logins / raw);
    }
    Ok(())
}

/// Refreshes at a steady, low rate: first alone, then while sign-ins saturate the hash pool.
async fn latency(plan: &Plan, report: &mut Report) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let keyward = Server::keyward(&plan.keyward, folder.path(), &[])?;
    let mut users = signed_in(&keyward, 0, true).await?;
    let mut loginers = signed_in(&keyward, CONNECTIONS as u64, false).await?;

    for _ in 0..plan.rounds {
        let idle = paced_p99(&mut users, plan.window()).await?;
        let (busy, logins) = future::join(
            paced_p99(&mut users, plan.window()),
            repeat(&keyward, &mut loginers, Step::Login, plan.window()),
        )
        .await;
        logins?;
        let busy = busy?;
        report.add("refresh p99 idle, ms", idle);
        report.add("refresh p99 beside sign-ins, ms", busy);
        report.add("refresh p99 beside sign-ins / idle", busy / idle);
    }
    Ok(())
}

/// Resident memory and time to start. `empty` is what an empty store took, for the ratios.
async fn footprint(
    plan: &Plan,
    empty: Option<Footprint>,
    report: &mut Report,
) -> io::Result<Footprint> {
    let filled = tempfile::tempdir()?;
    if empty.is_some() {
        fill::fill(&filled.path().join("keyward.db"), plan.sessions, now()).await?;
    }
    let label = if empty.is_some() { "filled" } else { "empty" };
    let (mut memory, mut start) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds.max(5) {
        let fresh = tempfile::tempdir()?;
        let folder = if empty.is_some() { filled.path() } else { fresh.path() };
        let server = Server::keyward(&plan.keyward, folder, &[])?;
        let mut client = Client::connect(server.address).await?;
        client.send("GET", "/readyz", "", "").await?;
        memory.push(server.resident_bytes()? as f64 / f64::from(1 << 20));
        start.push(server.started_in.as_secs_f64() * 1e3);
    }
    let footprint = Footprint { memory: median(&mut memory), start: median(&mut start) };
    report.add(&format!("resident, {label}, MiB"), footprint.memory);
    report.add(&format!("start until ready, {label}, ms"), footprint.start);
    if let Some(empty) = empty {
        report.add("resident, filled / empty", footprint.memory / empty.memory);
        report.add("start until ready, filled / empty", footprint.start / empty.start);
    }
    Ok(footprint)
}

/// Medians of one store.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    memory: f64,
    start: f64,
}

async fn signed_in(server: &Server, first: u64, with_key: bool) -> io::Result<Vec<User>> {
    let numbers = first..first + CONNECTIONS as u64;
    future::try_join_all(numbers.map(|number| User::register(server.address, number, with_key)))
        .await
}

async fn repeat(
    server: &Server,
    users: &mut [User],
    step: Step,
    window: Duration,
) -> io::Result<Sample> {
    future::try_join_all(users.iter_mut().map(User::reconnect)).await?;
    let cpu = server.cpu()?;
    let window = pace::repeat(users, window, async |user: &mut User| user.step(step).await).await?;
    Ok(Sample { window, cpu_secs: (server.cpu()? - cpu).as_secs_f64() })
}

async fn bare_answers(server: &Server, window: Duration) -> io::Result<Sample> {
    let connect = (0..CONNECTIONS).map(|_| Client::connect(server.address));
    let mut clients = future::try_join_all(connect).await?;
    let cpu = server.cpu()?;
    let ask = async |client: &mut Client| client.send("GET", "/", "", "").await.map(drop);
    let window = pace::repeat(&mut clients, window, ask).await?;
    Ok(Sample { window, cpu_secs: (server.cpu()? - cpu).as_secs_f64() })
}

/// Milliseconds of the p99 of refreshes at a steady, low rate.
async fn paced_p99(users: &mut [User], window: Duration) -> io::Result<f64> {
    future::try_join_all(users.iter_mut().map(User::reconnect)).await?;
    let step = async |user: &mut User| user.step(Step::Refresh).await;
    Ok(pace::paced(users, window, step).await?.quantile_millis(0.99))
}

/// Hashes with the service's default parameters and reused memory, on as many threads as there are
/// cores.
fn argon2_per_cpu_second(window: Duration) -> io::Result<f64> {
    let cores = std::thread::available_parallelism()?.get();
    let cpu = own_cpu()?;
    let begun = pace::instant();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            std::thread::spawn(move || {
                let params =
                    argon2::Params::new(19 * 1024, 2, 1, None).map_err(io::Error::other)?;
                let mut blocks = vec![argon2::Block::default(); params.block_count()];
                let argon2 = argon2::Argon2::new(
                    argon2::Algorithm::Argon2id,
                    argon2::Version::V0x13,
                    params,
                );
                let mut done = 0u32;
                while begun.elapsed() < window {
                    let mut hash = [0; 32];
                    argon2
                        .hash_password_into_with_memory(
                            b"zimtkringel im regen",
                            &[7; 16],
                            &mut hash,
                            &mut blocks,
                        )
                        .map_err(io::Error::other)?;
                    done += 1;
                }
                io::Result::Ok(done)
            })
        })
        .collect();
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| io::Error::other("a hash thread ended early"))??;
    }
    Ok(f64::from(done) / (own_cpu()? - cpu).as_secs_f64())
}

fn own_cpu() -> io::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

#[expect(clippy::disallowed_methods, reason = "sessions must be live when the server starts")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
