//! What came of a run.
use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What came of a run. Rates, CPU and latency are of the measured time alone; what was sent and what arrived is of the
/// whole run, so that it can be compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// How long was measured.
    pub seconds: f64,
    /// Log records a second that were acknowledged while it was measured.
    pub records_per_second: f64,
    /// CPU time of the program under test, user and system, with its children. None where there is no such program.
    pub cpu_seconds: Option<f64>,
    /// Log records acknowledged while it was measured, by `cpu_seconds`.
    pub records_per_cpu_second: Option<f64>,
    /// The most memory that the program had resident since it began, in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// The memory that it had resident at the end of the measured time, in bytes.
    pub rss_bytes: Option<u64>,
    /// How long answers took that came since measuring began, from when their requests were due. A request without an
    /// answer counts with the time that it was waited for.
    pub latency: Latency,
    /// Requests sent in the whole run.
    pub requests_sent: u64,
    /// Log records in them.
    pub records_sent: u64,
    /// Log records that were acknowledged: neither refused nor rejected by a partial success.
    pub records_accepted: u64,
    /// Log records that a partial success rejected.
    pub records_rejected: u64,
    /// Requests that were not acknowledged, by the name of their gRPC status or what else became of them.
    pub refused: BTreeMap<String, u64>,
    /// Log records that must have arrived, since what they are in was acknowledged. None where nobody knows which
    /// records the program drops.
    pub records_expected: Option<u64>,
    /// Log records in the requests that the sink took.
    pub records_at_sink: u64,
    /// Requests that the sink took.
    pub requests_at_sink: u64,
    /// Their bytes as they came, compressed or not.
    pub bytes_at_sink: u64,
}

/// Whether it was asked for that requests are refused, as by a sink that is told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusals {
    /// It was.
    Expected,
    /// It wasn't, so each is a problem.
    Unexpected,
}

/// A histogram of times, each within a thousandth of what it was. In microseconds where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half of them took no longer.
    pub p50_us: f64,
    /// Nine of ten.
    pub p90_us: f64,
    /// 99 of a hundred.
    pub p99_us: f64,
    /// 999 of a thousand.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// Takes times and gives a [`Latency`].
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Measured {
    /// Log records that were acknowledged and have not arrived.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.records_expected.unwrap_or_default().saturating_sub(self.records_at_sink)
    }

    /// Log records that have arrived though they should have been dropped. Of requests that were refused some may have
    /// arrived too, so that nothing is said where there are such.
    #[must_use]
    pub fn surplus(&self) -> u64 {
        let all_known = self.refused.is_empty() && self.records_rejected == 0;
        let expected = self.records_expected.filter(|_| all_known);
        expected.map_or(0, |expected| self.records_at_sink.saturating_sub(expected))
    }

    /// What must not have happened, in words: records that are missing or too many at the sink, and
    /// requests that were refused, unless that was asked for.
    #[must_use]
    pub fn problems(&self, refusals: Refusals) -> Vec<String> {
        let mut problems = Vec::new();
        if self.missing() > 0 {
            problems.push(format!("{} acknowledged records are missing at the sink", self.missing()));
        }
        if self.surplus() > 0 {
            problems.push(format!("{} records arrived at the sink that should have been dropped", self.surplus()));
        }
        if refusals == Refusals::Unexpected {
            problems.extend(self.refused.iter().map(|(status, count)| format!("{count} requests: {status}")));
            if self.records_rejected > 0 {
                problems.push(format!("{} records were rejected by partial successes", self.records_rejected));
            }
            if self.records_accepted == 0 {
                problems.push("nothing was acknowledged".into());
            }
        }
        problems
    }
}

impl Latencies {
    /// Longer than any run may take, in nanoseconds.
    const LONGEST: u64 = 3_600_000_000_000;

    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, Self::LONGEST, 3).expect("these bounds are sound"))
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    pub(crate) fn summary(&self) -> Latency {
        let quantile = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: self.0.max() as f64 / 1e3,
        }
    }
}
