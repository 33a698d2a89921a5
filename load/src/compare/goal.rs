//! What is to be shown, and whether it is.
use super::{
    case::{Case, OVERLOAD_BATCH},
    results::{Results, Spread},
    subject::{LONGEST_CHAIN, Subject, Work},
};
use crate::workload::Compression;

/// Something that is to be shown.
#[derive(Debug, Clone)]
pub struct Goal {
    /// What is compared with what.
    pub what: String,
    /// Under which load.
    pub at: String,
    /// How it is measured.
    pub measure: Measure,
    /// What it should be.
    pub bound: Bound,
}

/// How a goal is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// The first's records a CPU second by the second's.
    Ratio(Case, Case),
    /// Records a CPU second with all cores by those with one, the load tool beside it in both, times the cores: what the
    /// machine takes, if the load tool took nothing of it.
    Scaling(Case),
    /// The 99th percentile of added latency, in microseconds.
    AddedP99(Case),
    /// The most memory while the sink is too slow, in bytes.
    OverloadMemory(Case),
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At least so much.
    AtLeast(f64),
    /// Less than so much.
    Below(f64),
}

/// All goals, in the order in which they are shown.
#[must_use]
pub fn goals() -> Vec<Goal> {
    use Subject::{Collector, Native, Nginx, Rotel, Sluicegate};
    use Work::{Attribute, Chain, PassThrough, Policy, Redact, Severity};
    let mut goals = Vec::new();
    let mut ratios = |what: &str, of: Subject, to: Subject, bounds: &[(usize, f64)]| {
        for &(batch, bound) in bounds {
            let (of, to) = (Case::new(of, batch), Case::new(to, batch));
            goals.push(Goal::ratio(what, &format!("batches of {}", thousands(batch)), of, to, bound));
        }
    };
    ratios("nginx, without filters", Sluicegate(PassThrough), Nginx, &[(10, 1.3), (100, 1.3), (1_000, 0.9)]);
    ratios("nginx, severity filter", Sluicegate(Severity), Nginx, &[(10, 1.1), (100, 1.0), (1_000, 0.6)]);
    let collector = [(10, 2.0), (100, 3.0), (1_000, 3.0)];
    ratios("the Collector, without filters", Sluicegate(PassThrough), Collector(PassThrough), &collector);
    let filter = [(10, 2.0), (100, 3.0), (1_000, 4.0)];
    ratios("the Collector's filter processor, severity filter", Sluicegate(Severity), Collector(Severity), &filter);
    ratios("the Collector's transform and routing, policy", Sluicegate(Policy), Collector(Policy), &[(1_000, 5.0)]);
    let [of, to] = [Sluicegate(Severity), Collector(Severity)]
        .map(|subject| Case::new(subject, 1_000).compressed(Compression::Gzip));
    let what = "the Collector's filter processor, severity filter";
    goals.push(Goal::ratio(what, "batches of 1,000, gzip in and out", of, to, 2.5));
    let (of, to) = (Case::new(Sluicegate(PassThrough), 1_000).gzip_out(), Case::new(Rotel, 1_000));
    goals.push(Goal::ratio("rotel, without filters", "batches of 1,000, gzip out", of, to, 3.0));
    for (work, name, bound) in [(Severity, "severity", 0.95), (Attribute, "attribute", 0.9), (Redact, "redaction", 0.6)]
    {
        let (of, to) = (Case::new(Sluicegate(work), 1_000), Case::new(Native(work), 1_000));
        goals.push(Goal::ratio(
            &format!("itself with the {name} filter compiled in"),
            "batches of 1,000",
            of,
            to,
            bound,
        ));
    }
    let chain = |length| match length {
        0 => Case::new(Sluicegate(PassThrough), 1_000),
        _ => Case::new(Sluicegate(Chain(length)), 1_000),
    };
    for length in 1..=LONGEST_CHAIN {
        let what = format!("itself with {} trivial filters, with {length}", length - 1);
        goals.push(Goal::ratio(&what, "batches of 1,000", chain(length), chain(length - 1), 0.97));
    }
    for work in [PassThrough, Severity] {
        let [of, to] = [8_000, 1_000].map(|batch| Case::new(Sluicegate(work), batch));
        let what = format!("itself at batches of 1,000, {}", work.name());
        goals.push(Goal::ratio(&what, "batches of 8,000", of, to, 1.0));
    }
    for work in [PassThrough, Policy] {
        goals.push(Goal {
            what: format!("itself on one core, {}", work.name()),
            at: "batches of 1,000, all cores".into(),
            measure: Measure::Scaling(Case::new(Sluicegate(work), 1_000)),
            bound: Bound::AtLeast(1.8),
        });
    }
    for work in [PassThrough, Severity] {
        goals.push(Goal {
            what: format!("added latency, p99, {}", work.name()),
            at: "batches of 100, half load".into(),
            measure: Measure::AddedP99(Case::new(Sluicegate(work), 100)),
            bound: Bound::Below(1_000.0),
        });
    }
    for work in [PassThrough, Severity] {
        goals.push(Goal {
            what: format!("memory while the sink is too slow, {}", work.name()),
            at: "batches of 1,000, defaults".into(),
            measure: Measure::OverloadMemory(Case::new(Sluicegate(work), OVERLOAD_BATCH)),
            bound: Bound::Below(f64::from(100 << 20)),
        });
    }
    goals
}

impl Goal {
    fn ratio(what: &str, at: &str, of: Case, to: Case, bound: f64) -> Self {
        let measure = Measure::Ratio(of, to);
        Self { what: what.into(), at: at.into(), measure, bound: Bound::AtLeast(bound) }
    }
}

impl Measure {
    /// The cases that must be measured in a closed loop for it.
    #[must_use]
    pub fn cases(self) -> Vec<Case> {
        match self {
            Self::Ratio(of, to) => vec![of, to],
            Self::Scaling(case) => vec![case, case.on_one_core()],
            Self::AddedP99(case) => vec![case],
            Self::OverloadMemory(_) => Vec::new(),
        }
    }

    /// What was measured, if it was.
    #[must_use]
    pub fn figure(self, results: &Results) -> Option<Spread> {
        match self {
            Self::Ratio(of, to) => results.ratio(&of, &to),
            Self::Scaling(case) => {
                let cores = results.machine.cores as f64;
                results.ratio(&case, &case.on_one_core()).map(|ratio| ratio.times(cores))
            }
            Self::AddedP99(case) => {
                let cell = results.latency.iter().find(|cell| cell.case == case)?;
                cell.spread(|added| added.microseconds(|latency| latency.p99_us))
            }
            Self::OverloadMemory(case) => {
                let cell = results.overload.iter().find(|cell| cell.case == case)?;
                cell.spread(|overload| overload.peak_bytes as f64)
            }
        }
    }
}

impl Bound {
    /// Whether a figure is within it.
    #[must_use]
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::Below(bound) => figure < bound,
        }
    }
}

/// A number with commas: `8,000`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_or_not() {
        assert!(Bound::AtLeast(1.0).is_met(1.0) && !Bound::AtLeast(1.0).is_met(0.99));
        assert!(Bound::Below(1.0).is_met(0.99) && !Bound::Below(1.0).is_met(1.0));
    }

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [(10, "10"), (100, "100"), (8_000, "8,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
