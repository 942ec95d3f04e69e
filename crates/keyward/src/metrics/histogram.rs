//! How long things take: durations counted in fixed buckets, without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A distribution of durations. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// In microseconds, rising.
    bounds: &'static [u64],
    /// One for each bound, and one for what takes longer than all.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// For what a client waits for.
    pub(crate) fn of_requests() -> Self {
        Self::new(REQUEST_MICROS)
    }

    /// For what a request asks of the store.
    pub(crate) fn of_store_calls() -> Self {
        Self::new(STORE_CALL_MICROS)
    }

    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum_micros: AtomicU64::new(0) }))
    }

    /// Counts one.
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.0.bounds.partition_point(|bound| *bound < micros);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Buckets { bounds, counts, sum_micros } = &*self.0;
        let bounds = bounds.iter().map(|micros| secs(*micros)).chain([f64::INFINITY]);
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // The number of all that is counted is read from the buckets, so that it fits them.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = secs(sum_micros.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

fn secs(micros: u64) -> f64 {
    micros as f64 / 1e6
}

const REQUEST_MICROS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

const STORE_CALL_MICROS: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bucket_and_all_above() {
        let histogram = Histogram::of_requests();
        for micros in [0, 500, 501, 9_999_999, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("took_seconds", "Test", histogram);
        let mut page = String::new();
        encode(&mut page, &registry).expect("a string takes everything");
        for line in [
            "took_seconds_count 5",
            "took_seconds_sum 20.001001",
            r#"took_seconds_bucket{le="0.0005"} 2"#,
            r#"took_seconds_bucket{le="0.001"} 3"#,
            r#"took_seconds_bucket{le="5.0"} 3"#,
            r#"took_seconds_bucket{le="10.0"} 4"#,
            r#"took_seconds_bucket{le="+Inf"} 5"#,
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
        }
    }
}
