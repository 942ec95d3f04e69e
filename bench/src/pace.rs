//! How virtual users repeat what they do: as fast as they are answered, or at a steady rate.

use std::io;
use std::time::{Duration, Instant};

use futures_util::future;

/// Seconds that each request took, and how long all of them were under way.
#[derive(Debug)]
pub(crate) struct Window {
    times: Vec<f64>,
    pub(crate) wall_secs: f64,
}

impl Window {
    /// How many requests were answered; one at least, since ratios are taken of it.
    pub(crate) fn requests(&self) -> f64 {
        self.times.len().max(1) as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests() / self.wall_secs
    }

    /// How many milliseconds this part of the requests took at most: 0.99 is for the p99.
    pub(crate) fn quantile_millis(&self, part: f64) -> f64 {
        let place = (self.times.len() as f64 * part) as usize;
        self.times.get(place).map_or(f64::NAN, |secs| secs * 1e3)
    }

    /// The seconds of several users' requests, which ended just now.
    pub(crate) fn of(times: Vec<Vec<f64>>, begun: Instant) -> Self {
        let wall_secs = begun.elapsed().as_secs_f64();
        let mut times = times.concat();
        times.sort_by(f64::total_cmp);
        Self { times, wall_secs }
    }
}

/// Each user begins again as soon as it was answered.
pub(crate) async fn repeat<U>(
    users: &mut [U],
    window: Duration,
    step: impl AsyncFn(&mut U) -> io::Result<()>,
) -> io::Result<Window> {
    let begun = instant();
    let times = future::try_join_all(users.iter_mut().map(async |user| {
        let mut times = Vec::new();
        while begun.elapsed() < window {
            let sent = instant();
            step(user).await?;
            times.push(sent.elapsed().as_secs_f64());
        }
        io::Result::Ok(times)
    }))
    .await?;
    Ok(Window::of(times, begun))
}

/// One step each five milliseconds, over all users in turn; its time counts from when it was due.
pub(crate) async fn paced<U>(
    users: &mut [U],
    window: Duration,
    step: impl AsyncFn(&mut U) -> io::Result<()>,
) -> io::Result<Window> {
    let begun = instant();
    let count = users.len() as u32;
    let times = future::try_join_all(users.iter_mut().zip(0u32..).map(async |(user, place)| {
        let mut times = Vec::new();
        for turn in 0u32.. {
            let due = begun + PACE * (turn * count + place);
            if due > begun + window {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            step(user).await?;
            times.push(due.elapsed().as_secs_f64());
        }
        io::Result::Ok(times)
    }))
    .await?;
    Ok(Window::of(times, begun))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

const PACE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times = vec![vec![0.004, 0.001], vec![0.003, 0.002]];
        let window = Window::of(times, instant());
        assert_eq!(window.requests(), 4.0);
        assert_eq!(window.quantile_millis(0.5), 3.0);
        assert_eq!(window.quantile_millis(0.99), 4.0);
    }
}
