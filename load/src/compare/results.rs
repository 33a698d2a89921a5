//! What was measured, as it is kept in `results.json`.
use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{case::Case, machine::Machine, subject::Subject};
use crate::measured::Latency;

/// What was measured in one run of the comparison.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// The command that measured it.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// The version of each program.
    pub versions: BTreeMap<Subject, String>,
    /// Subjects whose programs were not there.
    pub missing: Vec<Subject>,
    /// How often each case was measured.
    pub rounds: usize,
    /// For how long each time, after a warm-up.
    pub seconds: f64,
    /// Under as much load as each takes.
    pub throughput: Vec<Cell<Throughput>>,
    /// At half of what each carries when requests come one by one.
    pub latency: Vec<Cell<Added>>,
    /// With a sink that takes far less than is sent.
    pub overload: Vec<Cell<Overload>>,
    /// What gave no figures.
    pub troubles: Vec<Trouble>,
}

/// What was measured of one case, round by round. A round in which something went wrong is not among them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell<T> {
    /// The case.
    pub case: Case,
    /// What came of each round.
    pub rounds: Vec<T>,
}

/// Why a case gave no figures in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trouble {
    /// The case.
    pub case: Case,
    /// What went wrong: records that didn't arrive, requests that were refused, a program that didn't start.
    pub what: String,
}

/// One round of a closed loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Which round, from 0.
    pub round: usize,
    /// Log records a second.
    pub records_per_second: f64,
    /// Log records by the subject's CPU time in seconds.
    pub records_per_cpu_second: f64,
    /// The most memory that the subject had resident, in bytes.
    pub peak_bytes: u64,
}

/// One round of an open loop, through the subject and straight to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Requests a second.
    pub rate: f64,
    /// Through the subject.
    pub through: Latency,
    /// The same load without it.
    pub direct: Latency,
}

/// One round with a sink that is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overload {
    /// The most memory that the subject had resident, in bytes.
    pub peak_bytes: u64,
    /// The share of the records on offer that were acknowledged, from 0 to 1.
    pub acknowledged: f64,
    /// The share that arrived at the sink. Less than was acknowledged is what would be lost, were the program to end.
    pub delivered: f64,
}

/// Several figures in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The one in the middle, or the mean of the two that are.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Results {
    /// What was measured of `case` in a closed loop.
    #[must_use]
    pub fn throughput(&self, case: &Case) -> Option<&Cell<Throughput>> {
        self.throughput.iter().find(|cell| cell.case == *case)
    }

    /// The ratio of records a CPU second, `of` to `to`, in each round that has both: they were measured one after the
    /// other there, so that what else the machine did falls on both.
    #[must_use]
    pub fn ratio(&self, of: &Case, to: &Case) -> Option<Spread> {
        let (of, to) = (self.throughput(of)?, self.throughput(to)?);
        let same = |figures: &Throughput| to.rounds.iter().find(|other| other.round == figures.round).copied();
        Spread::of(of.rounds.iter().filter_map(|of| Some(of.records_per_cpu_second / same(of)?.records_per_cpu_second)))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.case, self.what)
    }
}

impl<T> Cell<T> {
    /// The spread of one figure over all rounds.
    pub fn spread(&self, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }
}

impl Throughput {
    /// CPU time a record, in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        1e9 / self.records_per_cpu_second
    }
}

impl Added {
    /// How much longer one percentile is than without the subject, in microseconds. Where it is shorter, which is noise,
    /// nothing is added.
    #[must_use]
    pub fn microseconds(&self, percentile: impl Fn(&Latency) -> f64) -> f64 {
        (percentile(&self.through) - percentile(&self.direct)).max(0.0)
    }
}

impl Spread {
    /// The spread of these figures. None where there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let middle = |index: usize| figures[index];
        let median = f64::midpoint(middle((figures.len() - 1) / 2), middle(figures.len() / 2));
        Some(Self { median, min, max })
    }

    /// Each figure so many times.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, min: self.min * factor, max: self.max * factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(figures: &[f64], expected: Option<(f64, f64, f64)>) {
        let spread = Spread::of(figures.iter().copied()).map(|spread| (spread.min, spread.median, spread.max));
        assert_eq!(spread, expected, "{figures:?}");
    }

    #[test]
    fn the_one_in_the_middle() {
        check(&[], None);
        check(&[f64::NAN], None);
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[9.0, 1.0, 2.0], Some((1.0, 2.0, 9.0)));
        check(&[4.0, 1.0, 2.0, 9.0], Some((1.0, 3.0, 9.0)));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let cell = |batch, figures: &[(usize, f64)]| Cell {
            case: Case::new(Subject::Nginx, batch),
            rounds: figures
                .iter()
                .map(|&(round, records_per_cpu_second)| Throughput {
                    round,
                    records_per_second: 1.0,
                    records_per_cpu_second,
                    peak_bytes: 1,
                })
                .collect(),
        };
        // The machine was twice as fast in round 1, and round 0 of the second case went wrong.
        let throughput = vec![cell(10, &[(0, 100.0), (1, 200.0), (2, 90.0)]), cell(100, &[(1, 100.0), (2, 45.0)])];
        let results = Results { throughput, ..Results::default() };
        let [ten, hundred] = [10, 100].map(|batch| Case::new(Subject::Nginx, batch));
        let ratio = results.ratio(&ten, &hundred).expect("both were measured");
        assert_eq!((ratio.min, ratio.max), (2.0, 2.0));
        assert_eq!(results.ratio(&ten, &Case::new(Subject::Rotel, 10)), None);
    }
}
