//! Sends from the beginning of a run to its end: a warm-up, the measured time, and what answers are left.
use std::{
    collections::HashMap,
    io,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{
    Mode, Plan, RunError,
    connection::{Answer, Connection},
    pace::{Schedule, Timer},
    tally::Tally,
};
use crate::{subject::Subject, workload::Prepared};

/// How many requests of an open loop may be under way on one connection: more than any target takes at once. What is
/// due beyond waits here, and its time counts.
const UNDER_WAY: usize = 256;

/// A run. All of it is on one thread.
pub(super) struct Driver<'a> {
    plan: &'a Plan<'a>,
    slots: Vec<Slot>,
    calls: FuturesUnordered<LocalBoxFuture<'static, (u64, Answer)>>,
    /// The calls that have no answer yet, by number.
    under_way: HashMap<u64, Call>,
    /// How many calls there were.
    count: u64,
    /// When requests are due, in an open loop.
    schedule: Option<Schedule>,
    phase: Phase,
    tally: Tally,
}

/// The place of a connection.
struct Slot {
    connection: Connection,
    /// How often it was replaced.
    generation: u64,
}

/// A request that is under way.
#[derive(Debug, Clone, Copy)]
struct Call {
    slot: usize,
    generation: u64,
    request: usize,
    due: Instant,
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is measured yet.
    WarmUp,
    /// All that is sent is measured.
    Measure,
    /// Nothing is sent any more.
    Drain,
}

impl<'a> Driver<'a> {
    /// Carries out `plan`.
    pub(super) async fn run(plan: &'a Plan<'a>, subject: Option<Subject>) -> Result<Tally, RunError> {
        let mut slots = Vec::new();
        for _ in 0..plan.connections {
            slots.push(Slot { connection: connect(plan).await?, generation: 0 });
        }
        let mut driver = Driver {
            plan,
            slots,
            calls: FuturesUnordered::new(),
            under_way: HashMap::new(),
            count: 0,
            schedule: None,
            phase: Phase::WarmUp,
            tally: Tally::new(plan),
        };
        driver.send(subject).await?;
        Ok(driver.tally)
    }

    async fn send(&mut self, subject: Option<Subject>) -> Result<(), RunError> {
        // Looking through all processes takes a while, in which answers would wait.
        let usage = || subject.map(|subject| spawn_blocking(move || subject.usage()));
        let (mut before, mut after) = (None, None);
        let mut timer = Timer::new()?;
        let mut until = pin!(sleep(self.plan.warm_up));
        self.begin();
        while self.phase != Phase::Drain || !self.under_way.is_empty() {
            let due = self.schedule.as_ref().filter(|_| self.has_room()).and_then(Schedule::next);
            tokio::select! {
                () = &mut until => {
                    let now = Instant::now();
                    let length = match self.phase {
                        Phase::WarmUp => {
                            before = usage();
                            self.open(now)
                        }
                        Phase::Measure => {
                            after = usage();
                            self.close(now)
                        }
                        Phase::Drain => break,
                    };
                    until.as_mut().reset((now + length).into());
                }
                Some((number, answer)) = self.calls.next() => self.answered(number, answer).await?,
                waited = wait(&mut timer, due) => {
                    waited?;
                    self.send_due(Instant::now());
                }
            }
        }
        self.end(Instant::now());
        if let (Some(before), Some(after)) = (before, after) {
            let read = async |usage: JoinHandle<_>| usage.await.map_err(io::Error::other);
            self.tally.used(read(before).await??, read(after).await??);
        }
        Ok(())
    }

    fn begin(&mut self) {
        let now = Instant::now();
        match self.plan.mode {
            Mode::Closed { in_flight } => {
                for slot in (0..self.slots.len()).cycle().take(self.slots.len() * in_flight) {
                    self.call(slot, now);
                }
            }
            Mode::Open { rate } => self.schedule = Some(Schedule::new(now, rate)),
        }
    }

    /// Begins to measure, and says for how long.
    const fn open(&mut self, now: Instant) -> Duration {
        self.tally.open(now);
        self.phase = Phase::Measure;
        self.plan.duration
    }

    /// Ends measuring and sending, and says how long answers may take.
    fn close(&mut self, now: Instant) -> Duration {
        self.tally.close(now);
        self.send_due(now);
        if let Some(schedule) = &mut self.schedule {
            schedule.end(now);
        }
        self.phase = Phase::Drain;
        self.plan.patience
    }

    /// Counts what is left.
    fn end(&mut self, now: Instant) {
        self.under_way.values().for_each(|call| self.tally.unanswered(call.due, now));
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            self.tally.unsent(due, now);
        }
    }

    /// Sends what is due, as far as there is room.
    fn send_due(&mut self, now: Instant) {
        while self.has_room()
            && let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now))
        {
            self.call(self.count as usize % self.slots.len(), due);
        }
    }

    fn has_room(&self) -> bool {
        self.phase != Phase::Drain && self.under_way.len() < self.slots.len() * UNDER_WAY
    }

    /// Sends the next request, which was due then.
    fn call(&mut self, slot: usize, due: Instant) {
        let request = self.count as usize % self.plan.workload.requests().len();
        self.tally.sent(self.request(request));
        self.call_with(slot, due, request);
    }

    /// Sends this request, for the first time or once more.
    fn call_with(&mut self, slot: usize, due: Instant, request: usize) {
        let number = self.count;
        self.count += 1;
        let Slot { connection, generation } = &self.slots[slot];
        self.under_way.insert(number, Call { slot, generation: *generation, request, due });
        let (connection, body) = (connection.clone(), self.request(request).body.clone());
        self.calls.push(Box::pin(async move { (number, connection.call(body).await) }));
    }

    fn request(&self, index: usize) -> &'a Prepared {
        &self.plan.workload.requests()[index]
    }

    /// Counts what became of a call. In a closed loop, the next one takes its place.
    async fn answered(&mut self, number: u64, answer: Answer) -> Result<(), RunError> {
        let now = Instant::now();
        let Some(call) = self.under_way.remove(&number) else { return Ok(()) };
        let is_lost = matches!(answer, Answer::Lost(_) | Answer::Unsent(_));
        if is_lost && self.phase != Phase::Drain && self.slots[call.slot].generation == call.generation {
            self.slots[call.slot] = Slot { connection: connect(self.plan).await?, generation: call.generation + 1 };
        }
        if matches!(answer, Answer::Unsent(_)) && self.phase != Phase::Drain {
            // A server may close a connection after so many requests. The next one takes this request.
            self.call_with(call.slot, call.due, call.request);
            return Ok(());
        }
        self.tally.answered(self.request(call.request), call.due, now, answer);
        if matches!(self.plan.mode, Mode::Closed { .. }) && self.phase != Phase::Drain {
            self.call(call.slot, Instant::now());
        }
        Ok(())
    }
}

async fn connect(plan: &Plan<'_>) -> Result<Connection, RunError> {
    let opened = Connection::open(plan.target, plan.workload.shape().compression).await;
    opened.map_err(|source| RunError::Connect { target: plan.target, source })
}

/// Waits until `due`, or for ever.
async fn wait(timer: &mut Timer, due: Option<Instant>) -> io::Result<()> {
    match due {
        Some(due) => timer.wait(due).await,
        None => std::future::pending().await,
    }
}
