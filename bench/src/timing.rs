//! Whether the time of an answer tells who has an account: the same request for addresses that have
//! one and for addresses that have none, in random order, compared by rank.
//!
//! A rank test asks one thing: drawn at random, is one of these more often slower than one of
//! those? It needs no shape of the times, and the spikes of a busy machine count no more than their
//! rank.

use std::io;
use std::time::Duration;

use crate::Plan;
use crate::client::Client;
use crate::pace;
use crate::report::{Report, median};
use crate::server::Server;

/// Everything, one route after the other.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> io::Result<()> {
    let samples = plan.samples;
    for route in ROUTES {
        report.progress(&format!("{}, {samples} known and {samples} unknown", route.name));
        let folder = tempfile::tempdir()?;
        let server = Server::keyward(&plan.keyward, folder.path(), LIMITS_OFF)?;
        let known = known_addresses(&server).await?;
        let server = if route.settings.is_empty() {
            server
        } else {
            drop(server);
            let settings: Vec<_> = LIMITS_OFF.iter().chain(route.settings).copied().collect();
            Server::keyward(&plan.keyward, folder.path(), &settings)?
        };
        let Times { mut known, mut unknown } = route.time(&server, &known, samples).await?;
        let verdict = compare(&known, &unknown);
        report.add(&format!("{}, known, median ms", route.name), median(&mut known));
        report.add(&format!("{}, unknown, median ms", route.name), median(&mut unknown));
        report.add(&format!("{}, known slower than unknown", route.name), verdict.slower);
        report.add(&format!("{}, p", route.name), verdict.p);
    }
    Ok(())
}

/// A request that must not tell.
struct Route {
    name: &'static str,
    path: &'static str,
    /// The rest of the body, after the address.
    rest: &'static str,
    status: u16,
    settings: &'static [(&'static str, &'static str)],
}

/// Milliseconds of each answer.
#[derive(Debug, Default)]
struct Times {
    known: Vec<f64>,
    unknown: Vec<f64>,
}

impl Route {
    /// Chance decides of each request anew whether its address has an account: nothing that drifts,
    /// and nothing that a request leaves to the next one, is more often on one side.
    async fn time(&self, server: &Server, known: &[String], samples: usize) -> io::Result<Times> {
        let mut client = Client::connect(server.address).await?;
        let mut times = Times::default();
        let mut coin = Coin(0x9e37_79b9_7f4a_7c15);
        for number in 0.. {
            let is_own = coin.toss();
            let nobody = address("nobody", number);
            let email = if is_own { &known[number % known.len()] } else { &nobody };
            let millis = self.ask(&mut client, email).await?;
            // What is answered before it is worked off is worked off now.
            tokio::time::sleep(BETWEEN).await;
            if number >= WARM_UP {
                if is_own { &mut times.known } else { &mut times.unknown }.push(millis);
            }
            if times.known.len().min(times.unknown.len()) == samples {
                break;
            }
        }
        times.known.truncate(samples);
        times.unknown.truncate(samples);
        Ok(times)
    }

    async fn ask(&self, client: &mut Client, email: &str) -> io::Result<f64> {
        let Self { path, rest, status, .. } = self;
        let body = format!(r#"{{"email":"{email}"{rest}}}"#);
        let begun = pace::instant();
        let answer = client.send("POST", path, JSON, &body).await?;
        let elapsed = begun.elapsed();
        if answer.status == *status {
            return Ok(elapsed.as_secs_f64() * 1e3);
        }
        let said = String::from_utf8_lossy(&answer.body);
        Err(io::Error::other(format!("{path} was answered {}: {said}", answer.status)))
    }
}

async fn known_addresses(server: &Server) -> io::Result<Vec<String>> {
    let mut client = Client::connect(server.address).await?;
    let mut known = Vec::with_capacity(ACCOUNTS);
    for number in 0..ACCOUNTS {
        let email = address("person", number);
        let body = format!(r#"{{"email":"{email}","password":"zimtkringel im regen"}}"#);
        let answer = client.send("POST", "/api/auth/register", JSON, &body).await?;
        answer.text("accessToken")?;
        known.push(email);
    }
    Ok(known)
}

/// All of one length, and so are the requests.
fn address(who: &str, number: usize) -> String {
    format!("{who}{number:06}@example.org")
}

/// What a rank test says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Verdict {
    /// How often one of the first is greater than one of the second: 0.5 where they are alike.
    slower: f64,
    /// How often samples that are alike differ as much by chance; two-sided.
    p: f64,
}

/// The test of Mann and Whitney, by its normal approximation with ties, which is exact enough from
/// some dozens of samples on.
fn compare(first: &[f64], second: &[f64]) -> Verdict {
    let mut all: Vec<(f64, bool)> = first
        .iter()
        .map(|value| (*value, true))
        .chain(second.iter().map(|value| (*value, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let size = group.len() as f64;
        let firsts = group.iter().filter(|(_, is_first)| *is_first).count() as f64;
        rank_sum += firsts * (before + (size + 1.0) / 2.0);
        ties += size.powi(3) - size;
        before += size;
    }
    let (one, other, both) = (first.len() as f64, second.len() as f64, all.len() as f64);
    let u = rank_sum - one * (one + 1.0) / 2.0;
    let variance = one * other / 12.0 * ((both + 1.0) - ties / (both * (both - 1.0)));
    let distance = (u - one * other / 2.0).abs();
    let z = if variance > 0.0 { (distance - 0.5).max(0.0) / variance.sqrt() } else { 0.0 };
    Verdict { slower: u / (one * other), p: two_sided(z) }
}

/// How often a normal variable is at least `z` away from its mean (Abramowitz and Stegun, 7.1.26:
/// exact to 1.5e-7, far below what any bound here asks).
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    (sum * (-x * x).exp()).clamp(0.0, 1.0)
}

/// A coin that every run tosses alike (xorshift).
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40 & 1 == 1
    }
}

const ROUTES: &[Route] = &[
    Route {
        name: "login",
        path: "/api/auth/login",
        rest: r#","password":"zimtkringel im schnee""#,
        status: 401,
        settings: &[],
    },
    Route {
        name: "forgot",
        path: "/api/auth/password/forgot",
        rest: "",
        status: 202,
        settings: &[],
    },
    Route {
        name: "register",
        path: "/api/auth/register",
        rest: r#","password":"zimtkringel im schnee""#,
        status: 202,
        settings: &[("KEYWARD_ACCOUNTS__REGISTRATION", "verified")],
    },
];

/// Besides those that every measurement has off.
const LIMITS_OFF: &[(&str, &str)] =
    &[("KEYWARD_LIMITS__MAIL_ACCOUNT", "off"), ("KEYWARD_LIMITS__MAIL_ADDRESS", "off")];

/// Accounts that are asked for in turn.
const ACCOUNTS: usize = 200;

/// Requests that are not counted.
const WARM_UP: usize = 100;

/// Longer than it takes to look an address up and to queue a mail.
const BETWEEN: Duration = Duration::from_millis(8);

const JSON: &str = "Content-Type: application/json\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-4, "{found} is not {expected}");
    }

    /// As the tables of the normal distribution have it.
    #[test]
    fn the_tails_are_those_of_the_tables() {
        for (z, p) in [(0.0, 1.0), (1.0, 0.3173), (1.96, 0.0500), (2.5758, 0.0100), (5.0, 0.0)] {
            near(two_sided(z), p);
        }
    }

    /// The example that textbooks have of it, with ties: U is 10.5 of 64.
    #[test]
    fn ranks_are_shared_by_those_that_tie() {
        let first = [1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 5.0, 6.0];
        let second = [4.0, 5.0, 6.0, 6.0, 7.0, 7.0, 8.0, 9.0];
        let pairs = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
        let u: f64 = pairs
            .map(|(a, b)| {
                if a > b {
                    1.0
                } else if a < b {
                    0.0
                } else {
                    0.5
                }
            })
            .sum();
        let verdict = compare(&first, &second);
        near(verdict.slower, u / 64.0);
        near(compare(&second, &first).slower, 1.0 - u / 64.0);
        near(compare(&second, &first).p, verdict.p);
        assert!(verdict.p < 0.02, "{verdict:?}");
    }

    #[test]
    fn what_is_alike_is_told_from_what_is_not() {
        let mut state = Coin(7);
        let mut bits = || (0..20).fold(0_u32, |bits, _| bits << 1 | u32::from(state.toss()));
        let mut sample = |shift: f64| -> Vec<f64> {
            (0..2000).map(|_| f64::from(bits()) / 1_048_576.0 + shift).collect()
        };
        let (one, other, later) = (sample(0.0), sample(0.0), sample(0.05));
        assert!(compare(&one, &other).p > 0.01, "{:?}", compare(&one, &other));
        let verdict = compare(&later, &one);
        assert!(verdict.p < 1e-4 && verdict.slower > 0.53, "{verdict:?}");
        let flat = [1.0; 50];
        assert_eq!(compare(&flat, &flat), Verdict { slower: 0.5, p: two_sided(0.0) });
    }
}
