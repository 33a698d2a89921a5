//! Measures case after case, in turns, several rounds.
use std::{collections::HashMap, iter, net::SocketAddr, time::Duration};

use anyhow::Result;

use super::{
    case::Case,
    machine::Machine,
    peers::{Peer, Peers},
    plan::Plan,
    results::{Added, Cell, Overload, Results, Throughput, Trouble},
};
use crate::{
    measured::{Measured, Refusals},
    sender::{self, Mode},
    sink::{Sink, SinkOptions},
    workload::{Kept, Shape, Workload},
};

/// Measures, and keeps what it needs from one case to the next.
struct Measurement<'a> {
    plan: &'a Plan,
    peers: &'a Peers,
    workloads: HashMap<Shape, Workload>,
    /// What each case was found to carry in an open loop, in requests a second, if anything.
    capacities: HashMap<Case, Option<f64>>,
    results: Results,
    progress: Box<dyn FnMut(&str) + 'a>,
}

/// Connections to the subject, at most: as many agents send to one endpoint on a small machine.
const CONNECTIONS: usize = 16;
/// How many bytes of requests are under way at once, about: enough that the subject has the next request when it answers
/// the last, and little enough that it is not the memory that is measured.
const UNDER_WAY: f64 = (4 << 20) as f64;
/// The fewest requests and the most that this may be.
const REQUESTS: (f64, f64) = (4.0, 64.0);
/// Connections while the sink is too slow: enough that not they are what bounds the memory.
const CONNECTIONS_IN_OVERLOAD: usize = 16;
/// What is sent to a subject while the sink is too slow, in bytes a second.
const OFFERED: f64 = 64.0 * 1024.0 * 1024.0;
/// What the sink takes of it then, in bytes a second.
const TAKEN: u64 = 8 << 20;
/// How long that lasts, in measured times. Everything that isn't bounded is large by then.
const OVERLOAD: u32 = 3;
/// How long answers are waited for after that. Those that are due will not come.
const PATIENCE_IN_OVERLOAD: Duration = Duration::from_millis(200);
/// A subject carries an open loop while 99 of a hundred requests are answered within this. Where more come than are
/// answered, they soon wait for longer.
const CARRIED: Duration = Duration::from_millis(100);
/// Each rate that is tried to find what is carried, as a share of the one before. The first is what a closed loop came
/// to, in which requests share reads and writes as they don't when they come one by one.
const LESS: f64 = 0.8;
/// How many rates are tried: down to an eighth or so.
const TRIES: usize = 10;
/// How many times as many rounds there are of cases whose figures are close.
const CLOSER: usize = 3;
/// The share of the time measured that is sent before: connections are made and caches filled by then.
const WARM_UP: f64 = 0.25;

/// Carries out `plan`, and hands what it is at to `progress`.
///
/// # Errors
/// When there can be no sink, or it can't be reached. What goes wrong with a subject is among the results.
pub fn measure(plan: &Plan, peers: &Peers, command: String, progress: impl FnMut(&str)) -> Result<Results> {
    let all = || [&plan.throughput, &plan.latency, &plan.overload].into_iter().flatten().map(|case| case.subject);
    let mut missing: Vec<_> = all().filter(|&subject| peers.program(subject).is_none()).collect();
    missing.sort();
    missing.dedup();
    let results = Results {
        command,
        machine: Machine::this(),
        versions: all().filter_map(|subject| Some((subject, peers.version(subject)?))).collect(),
        missing,
        rounds: plan.rounds,
        seconds: plan.duration.as_secs_f64(),
        ..Results::default()
    };
    let mut measurement = Measurement {
        plan,
        peers,
        workloads: HashMap::new(),
        capacities: HashMap::new(),
        results,
        progress: Box::new(progress),
    };
    for round in 0..plan.rounds {
        for case in &plan.throughput {
            measurement.throughput(case, round)?;
        }
    }
    for round in plan.rounds..plan.rounds * CLOSER {
        for case in &plan.close {
            measurement.throughput(case, round)?;
        }
    }
    for round in 0..plan.rounds {
        for case in &plan.latency {
            measurement.latency(case, round)?;
        }
    }
    for case in &plan.overload {
        measurement.overload(case)?;
    }
    Ok(measurement.results)
}

/// How many requests are under way at once in a closed loop, over all connections.
fn requests(workload: &Workload) -> usize {
    let bytes = workload.bytes_per_record() * workload.shape().records as f64;
    (UNDER_WAY / bytes).clamp(REQUESTS.0, REQUESTS.1) as usize
}

impl Measurement<'_> {
    fn throughput(&mut self, case: &Case, round: usize) -> Result<()> {
        if !self.begin("throughput", case, Some(round)) {
            return Ok(());
        }
        let _kept = case.cores.keep()?;
        let sink = Sink::start(SinkOptions::default())?;
        let mode = Mode::Closed { in_flight: self.in_flight(case) };
        let Some(measured) = self.through(case, &sink, mode)? else { return Ok(()) };
        let (Some(records_per_cpu_second), Some(peak_bytes)) =
            (measured.records_per_cpu_second, measured.peak_rss_bytes)
        else {
            return Ok(());
        };
        let records_per_second = measured.records_per_second;
        let figures = Throughput { round, records_per_second, records_per_cpu_second, peak_bytes };
        add(&mut self.results.throughput, case, figures);
        Ok(())
    }

    fn latency(&mut self, case: &Case, round: usize) -> Result<()> {
        let Some(capacity) = self.capacity(case)? else { return Ok(()) };
        if !self.begin("latency", case, Some(round)) {
            return Ok(());
        }
        let rate = capacity / 2.0;
        let sink = Sink::start(SinkOptions::default())?;
        let Some(through) = self.through(case, &sink, Mode::Open { rate })? else { return Ok(()) };
        let workload = self.workload(case);
        let plan = self.send(sink.address(), &workload, Kept::All, Mode::Open { rate });
        let direct = sender::run(&plan, None, &sink)?.latency;
        add(&mut self.results.latency, case, Added { rate, through: through.latency, direct });
        Ok(())
    }

    /// How many requests a second `case` carries in an open loop, the sender and the sink beside it. Found out once.
    fn capacity(&mut self, case: &Case) -> Result<Option<f64>> {
        if let Some(capacity) = self.capacities.get(case) {
            return Ok(*capacity);
        }
        let capacity = self.find_capacity(case)?;
        self.capacities.insert(*case, capacity);
        Ok(capacity)
    }

    fn find_capacity(&mut self, case: &Case) -> Result<Option<f64>> {
        let closed = self.results.throughput(case).and_then(|cell| cell.spread(|round| round.records_per_second));
        let Some(closed) = closed else { return Ok(None) };
        let first = closed.median / case.batch as f64;
        for rate in iter::successors(Some(first), |rate| Some(rate * LESS)).take(TRIES) {
            if !self.begin(&format!("{rate:.0} requests a second"), case, None) {
                return Ok(None);
            }
            let sink = Sink::start(SinkOptions::default())?;
            let Some(measured) = self.load(case, &sink, Mode::Open { rate })? else { return Ok(None) };
            let is_carried = measured.latency.p99_us < CARRIED.as_micros() as f64;
            if is_carried && measured.problems(Refusals::Unexpected).is_empty() {
                return Ok(Some(rate));
            }
        }
        self.trouble(case, "it carried none of the rates that were tried".into());
        Ok(None)
    }

    fn overload(&mut self, case: &Case) -> Result<()> {
        if !self.begin("slow sink", case, None) {
            return Ok(());
        }
        let workload = self.workload(case);
        let sink = Sink::start(SinkOptions { bytes_per_second: Some(TAKEN), ..SinkOptions::default() })?;
        let Some(peer) = self.start(case, &sink) else { return Ok(()) };
        let rate = OFFERED / (workload.bytes_per_record() * case.batch as f64);
        let plan = sender::Plan {
            connections: CONNECTIONS_IN_OVERLOAD,
            warm_up: Duration::ZERO,
            duration: self.plan.duration * OVERLOAD,
            patience: PATIENCE_IN_OVERLOAD,
            ..self.send(peer.address, &workload, Kept::Unknown, Mode::Open { rate })
        };
        match sender::run(&plan, Some(peer.program.subject()), &sink) {
            Ok(measured) => {
                let offered = rate * case.batch as f64 * plan.duration.as_secs_f64();
                let figures = Overload {
                    peak_bytes: measured.peak_rss_bytes.unwrap_or_default(),
                    acknowledged: measured.records_accepted as f64 / offered,
                    delivered: measured.records_at_sink as f64 / offered,
                };
                add(&mut self.results.overload, case, figures);
            }
            Err(error) => self.trouble(case, error.to_string()),
        }
        Ok(())
    }

    /// Loads the subject of `case`. None where something went wrong, which is noted: a request that was refused, too.
    fn through(&mut self, case: &Case, sink: &Sink, mode: Mode) -> Result<Option<Measured>> {
        let Some(measured) = self.load(case, sink, mode)? else { return Ok(None) };
        let problems = measured.problems(Refusals::Unexpected);
        if !problems.is_empty() {
            self.trouble(case, problems.join("; "));
            return Ok(None);
        }
        Ok(Some(measured))
    }

    /// Loads the subject of `case`. None where it can't be, which is noted.
    fn load(&mut self, case: &Case, sink: &Sink, mode: Mode) -> Result<Option<Measured>> {
        let workload = self.workload(case);
        let Some(peer) = self.start(case, sink) else { return Ok(None) };
        let plan = self.send(peer.address, &workload, case.subject.kept(), mode);
        match sender::run(&plan, Some(peer.program.subject()), sink) {
            Ok(measured) => {
                if !measured.problems(Refusals::Unexpected).is_empty() {
                    (self.progress)(&peer.program.log());
                }
                Ok(Some(measured))
            }
            Err(error) => {
                (self.progress)(&peer.program.log());
                self.trouble(case, error.to_string());
                Ok(None)
            }
        }
    }

    /// Starts the subject of `case`. None where it doesn't start, which is noted.
    fn start(&mut self, case: &Case, sink: &Sink) -> Option<Peer> {
        self.peers.start(case, sink).map_err(|error| self.not_started(case, &error)).ok()
    }

    fn send<'w>(&self, target: SocketAddr, workload: &'w Workload, kept: Kept, mode: Mode) -> sender::Plan<'w> {
        sender::Plan {
            target,
            workload,
            kept,
            connections: requests(workload).min(CONNECTIONS),
            mode,
            warm_up: self.plan.duration.mul_f64(WARM_UP),
            duration: self.plan.duration,
            patience: sender::PATIENCE,
        }
    }

    /// How many requests of `case` are under way on each connection in a closed loop.
    fn in_flight(&mut self, case: &Case) -> usize {
        requests(&self.workload(case)).div_ceil(CONNECTIONS)
    }

    /// The requests for `case`. Cases of one shape share them; a clone shares their bytes.
    fn workload(&mut self, case: &Case) -> Workload {
        let shape = case.shape();
        self.workloads.entry(shape).or_insert_with(|| Workload::new(shape)).clone()
    }

    /// Says what comes next, unless its program isn't there.
    fn begin(&mut self, what: &str, case: &Case, round: Option<usize>) -> bool {
        let is_there = !self.results.missing.contains(&case.subject);
        if is_there {
            let round = round.map_or(String::new(), |round| format!("round {}: ", round + 1));
            (self.progress)(&format!("{round}{what}, {case}"));
        }
        is_there
    }

    /// The whole error names files of this machine, so it is told here only.
    fn not_started(&mut self, case: &Case, error: &anyhow::Error) {
        (self.progress)(&format!("{error:#}"));
        self.trouble(case, "it did not start".into());
    }

    /// Notes that a case gave no figures. What is wrong with one is no reason not to measure the others.
    fn trouble(&mut self, case: &Case, what: String) {
        (self.progress)(&what);
        self.results.troubles.push(Trouble { case: *case, what });
    }
}

fn add<T>(cells: &mut Vec<Cell<T>>, case: &Case, figures: T) {
    match cells.iter_mut().find(|cell| cell.case == *case) {
        Some(cell) => cell.rounds.push(figures),
        None => cells.push(Cell { case: *case, rounds: vec![figures] }),
    }
}
