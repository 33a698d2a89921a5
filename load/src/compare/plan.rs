//! Which cases are measured.
use std::time::Duration;

use super::{
    case::{BATCHES, Case, LATENCY_BATCHES, UNREAD_BYTES, matrix, overloads},
    goal::{Measure, goals},
    report::UNREAD_BATCH,
    subject::{Subject, Work},
};
use crate::workload::Compression;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Under as much load as each takes.
    pub throughput: Vec<Case>,
    /// Those of `throughput` that are compared with each other by a goal that is near 1, which takes more rounds to tell.
    pub close: Vec<Case>,
    /// At half of what each carries when requests come one by one. Those that aren't in `throughput` are left out.
    pub latency: Vec<Case>,
    /// With a sink that takes far less than is sent.
    pub overload: Vec<Case>,
    /// How often.
    pub rounds: usize,
    /// For how long each time.
    pub duration: Duration,
}

/// What one wants to know. Empty lists mean everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of these.
    pub subjects: Vec<Subject>,
    /// With these batches.
    pub batches: Vec<usize>,
    /// Compressed so in and out.
    pub compressions: Vec<Compression>,
    /// These parts.
    pub parts: Vec<Part>,
}

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Each subject with each batch, uncompressed and by gzip
    Throughput,
    /// What only one goal is about: chains, native filters, one core, large attributes
    Goals,
    /// What each subject adds at half load
    Latency,
    /// Memory while the sink is too slow
    Overload,
}

impl Plan {
    /// What `selection` asks for.
    #[must_use]
    pub fn new(selection: &Selection, rounds: usize, duration: Duration) -> Self {
        let has = |part| selection.parts.is_empty() || selection.parts.contains(&part);
        let mut throughput: Vec<Case> = Vec::new();
        let mut add = |cases: Vec<Case>| {
            for case in cases {
                if selection.has(&case) && !throughput.contains(&case) {
                    throughput.push(case);
                }
            }
        };
        if has(Part::Throughput) {
            add(if selection.subjects.is_empty() { matrix() } else { selection.matrix() });
        }
        if has(Part::Goals) {
            add(goals().into_iter().flat_map(|goal| goal.measure.cases()).chain(unread()).collect());
        }
        let throughput = side_by_side(&throughput);
        let close = if has(Part::Goals) { close(&throughput) } else { Vec::new() };
        let mut latency = Vec::new();
        if has(Part::Latency) {
            latency =
                Subject::main().flat_map(|subject| LATENCY_BATCHES.map(|batch| Case::new(subject, batch))).collect();
            latency.retain(|case| selection.has(case) && throughput.contains(case));
        }
        let mut overload = if has(Part::Overload) { overloads() } else { Vec::new() };
        overload.retain(|case| selection.has(case));
        Self { throughput, close, latency, overload, rounds, duration }
    }

    /// Everything once and for a moment, to see that it works: each subject with the smallest batch, and one case of
    /// each other part.
    #[must_use]
    pub fn moment() -> Self {
        let [smallest, ..] = BATCHES;
        let first = Case::new(Subject::Sluicegate(Work::PassThrough), smallest);
        let throughput = Subject::all().map(|subject| Case::new(subject, smallest));
        let others =
            [first.compressed(Compression::Gzip), first.gzip_out(), first.on_one_core(), first.unread(1 << 10)];
        Self {
            throughput: throughput.chain(others).collect(),
            close: vec![first],
            latency: vec![first],
            overload: vec![first],
            rounds: 1,
            duration: Duration::from_millis(300),
        }
    }
}

impl Selection {
    fn has(&self, case: &Case) -> bool {
        (self.subjects.is_empty() || self.subjects.contains(&case.subject))
            && (self.batches.is_empty() || self.batches.contains(&case.batch))
            && (self.compressions.is_empty() || self.compressions.contains(&case.received))
    }

    /// Every subject that is asked for by its name with every batch, those with batches of one's own included.
    fn matrix(&self) -> Vec<Case> {
        let batches = if self.batches.is_empty() { &BATCHES[..] } else { &self.batches };
        let both = [Compression::None, Compression::Gzip];
        let compressions = if self.compressions.is_empty() { &both[..] } else { &self.compressions };
        let mut cases = Vec::new();
        for &subject in &self.subjects {
            for &batch in batches {
                cases.extend(compressions.iter().map(|&compression| Case::new(subject, batch).compressed(compression)));
            }
        }
        cases
    }
}

/// The same cases with those near each other of which a goal says how they compare: a machine is not always equally fast.
fn side_by_side(cases: &[Case]) -> Vec<Case> {
    let mut ordered: Vec<Case> = Vec::with_capacity(cases.len());
    for goal in goals() {
        let compared: Vec<_> = goal.measure.cases().into_iter().filter(|case| cases.contains(case)).collect();
        for case in &compared {
            if !ordered.contains(case) {
                let place = |other| ordered.iter().position(|placed| placed == other);
                let last = compared.iter().filter_map(place).max();
                ordered.insert(last.map_or(ordered.len(), |last| last + 1), *case);
            }
        }
    }
    for case in cases {
        if !ordered.contains(case) {
            ordered.push(*case);
        }
    }
    ordered
}

/// Those of `cases` by which goals compare Sluicegate with itself: in other batches, on other cores, with a filter more.
fn close(cases: &[Case]) -> Vec<Case> {
    let of_itself = goals().into_iter().filter(|goal| match goal.measure {
        Measure::Ratio(of, to) => {
            [of, to].iter().all(|case| matches!(case.subject, Subject::Sluicegate(_) | Subject::Native(_)))
        }
        Measure::Scaling(_) => true,
        Measure::AddedP99(_) | Measure::OverloadMemory(_) => false,
    });
    let close: Vec<_> = of_itself.flat_map(|goal| goal.measure.cases()).collect();
    cases.iter().copied().filter(|case| close.contains(case)).collect()
}

/// The cases that show what bytes cost that nobody reads.
fn unread() -> impl Iterator<Item = Case> {
    let subjects = [Subject::Sluicegate(Work::PassThrough), Subject::Sluicegate(Work::Severity), Subject::Nginx];
    let sizes = std::iter::once(0).chain(UNREAD_BYTES);
    subjects
        .into_iter()
        .flat_map(move |subject| sizes.clone().map(move |bytes| Case::new(subject, UNREAD_BATCH).unread(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far apart cases that a goal compares may be: a minute of a run as it is usual.
    const APART: usize = 20;

    fn plan(subjects: &[&str], batches: &[usize], parts: &[Part]) -> Plan {
        let subjects = subjects.iter().map(|name| name.parse().expect("a subject")).collect();
        let selection =
            Selection { subjects, batches: batches.to_vec(), compressions: Vec::new(), parts: parts.to_vec() };
        Plan::new(&selection, 1, Duration::ZERO)
    }

    #[test]
    fn the_whole_comparison_has_what_every_goal_needs() {
        let plan = plan(&[], &[], &[]);
        for goal in goals() {
            assert!(goal.measure.cases().iter().all(|case| plan.throughput.contains(case)), "{goal:?}");
        }
        let twice = |cases: &[Case]| cases.iter().enumerate().any(|(index, case)| cases[..index].contains(case));
        assert!(!twice(&plan.throughput) && !twice(&plan.latency) && !twice(&plan.overload));
        assert!(plan.latency.iter().all(|case| plan.throughput.contains(case)));
        for goal in goals() {
            let places = goal.measure.cases().into_iter().map(|case| plan.throughput.iter().position(|c| *c == case));
            let (first, last) = (places.clone().min(), places.max());
            let apart = last.flatten().zip(first.flatten()).map_or(0, |(last, first)| last - first);
            assert!(apart < APART, "{goal:?} compares cases that are {apart} apart");
        }
    }

    #[test]
    fn what_is_compared_with_itself_takes_more_rounds() {
        let plan = plan(&[], &[], &[]);
        let is_close = |name: &str, batch| plan.close.contains(&Case::new(name.parse().expect("a subject"), batch));
        for name in ["sluicegate", "sluicegate-chain-1", "sluicegate-chain-5", "native-redact"] {
            assert!(is_close(name, 1_000), "{name}");
        }
        assert!(is_close("sluicegate", 8_000) && !is_close("sluicegate", 100) && !is_close("nginx", 1_000));
        assert!(plan.close.iter().all(|case| plan.throughput.contains(case)));
    }

    #[test]
    fn single_cases() {
        let plan = plan(&["nginx", "native-severity"], &[10, 500], &[Part::Throughput]);
        // Two subjects, two batches, two compressions.
        assert_eq!(plan.throughput.len(), 8, "{:?}", plan.throughput);
        assert!(plan.latency.is_empty() && plan.overload.is_empty());
    }

    #[test]
    fn a_moment_has_every_subject() {
        let plan = Plan::moment();
        assert!(Subject::all().all(|subject| plan.throughput.iter().any(|case| case.subject == subject)));
    }
}
