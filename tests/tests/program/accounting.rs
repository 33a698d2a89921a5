//! The account of records, whatever filters do, fail on and route, whatever destinations answer, and whichever
//! configurations come in between: received = forwarded + dropped + refused.
use std::{net::SocketAddr, time::Duration};

use proptest::{
    prelude::*,
    test_runner::{Config as Runner, TestCaseError},
};
use sluicegate_tests::{
    config::{Config, otlp as exporter},
    metrics::Page,
    otlp,
    program::Sluicegate,
    sink::{Answer, Sink},
    until,
};
use tonic::{Code, Status};

/// Each case runs the program once.
const CASES: u32 = 32;

/// How long senders wait, which is how long a part that fails in a way that may pass is tried again.
const WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
struct Case {
    chain: Vec<String>,
    /// Whether every record without a route goes to two destinations.
    fan_out: bool,
    rounds: Vec<Round>,
}

#[derive(Debug, Clone)]
struct Round {
    /// What the records are, by a letter each.
    records: Vec<char>,
    /// How the destinations answer.
    answers: [Reply; 2],
    /// The chain that takes the place of the one before, if any does.
    chain: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Reply {
    Take,
    /// All but one record are taken.
    LeaveOne,
    RefuseForNow,
    RefuseForGood,
    /// Nobody is there. Afterwards there is again.
    Down,
}

/// A sink that goes down and comes up again, at the same place.
struct Destination {
    address: SocketAddr,
    /// None while it is down.
    sink: Option<Sink>,
    /// How many records it took so far.
    taken: u64,
}

proptest! {
    #![proptest_config(Runner { cases: CASES, max_shrink_iters: 0, failure_persistence: None, ..Runner::default() })]

    #[test]
    fn received_is_forwarded_dropped_and_refused(case in case()) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        runtime.block_on(check(&case))?;
    }
}

async fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut destinations = [Destination::start(), Destination::start()];
    let [main, aside] = destinations.each_ref().map(|destination| format!("http://{}", destination.address));
    let config = |chain: &[String]| {
        let mut config = Config::to(&main);
        if case.fan_out {
            config = config.exporter("otlp_grpc/second", &exporter(&main));
        }
        for (at, processor) in chain.iter().enumerate() {
            config = config.processor(&format!("wasm/{at}"), processor);
        }
        config.exporter("otlp_grpc/aside", &exporter(&aside)).route("aside", "otlp_grpc/aside").yaml()
    };
    let sluicegate = Sluicegate::start(&config(&case.chain)).await.expect("it starts");
    let sender = sluicegate.sender().waiting(WAIT);
    let (mut received, mut refused) = (0, 0);
    // Whether every answer of a destination was waited for.
    let mut is_exact = true;
    for (number, round) in case.rounds.iter().enumerate() {
        if let Some(chain) = &round.chain {
            sluicegate.rewrite(&config(chain)).expect("a file");
            prop_assert!(sluicegate.reload().await.expect("it runs"), "round {}: it takes the chain", number);
        }
        for (destination, reply) in destinations.iter_mut().zip(round.answers) {
            destination.reply(reply).await;
        }
        let request = otlp::request(round.records.iter().map(|&kind| record(kind)));
        let records = round.records.len() as u64;
        let answer = sender.send_logs(&request).await;
        received += records;
        refused += match &answer {
            Ok(answer) => answer.partial_success.as_ref().map_or(0, |left| left.rejected_log_records.unsigned_abs()),
            Err(_) => records,
        };
        // A sender that has stopped waiting is noticed a little later.
        until("all records to be accounted for", async || {
            let accounts = page(&sluicegate).await.accounts();
            accounts.accepted + accounts.refused == received
        })
        .await;
        for (destination, reply) in destinations.iter_mut().zip(round.answers) {
            destination.settle(reply);
        }
        let page = page(&sluicegate).await;
        let accounts = page.accounts();
        if let Err(status) = &answer {
            let is_late = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
            is_exact &= !is_late && !status.message().contains("no answer within");
            if is_late && accounts.refused < refused {
                // The answer was on its way.
                refused -= records;
            }
        }
        prop_assert_eq!(page.sum("receiver_received_log_records", &[]), received, "round {}: {:?}", number, page);
        prop_assert_eq!(accounts.refused, refused, "round {}: {:?}", number, accounts);
        prop_assert_eq!(accounts.accepted, accounts.forwarded + accounts.dropped, "round {}: {:?}", number, accounts);
        let in_sinks: u64 = destinations.iter().map(|destination| destination.taken).sum();
        // Of what was given up midway nobody knows whether it has arrived.
        let is_sent = if is_exact { in_sinks == accounts.sent } else { in_sinks >= accounts.sent };
        prop_assert!(is_sent, "round {}: {} in the sinks, {:?}", number, in_sinks, accounts);
        if !case.fan_out {
            let duplicated = page.sum("exporter_duplicated_log_records", &[]);
            prop_assert_eq!(accounts.forwarded, accounts.sent - duplicated, "round {}: {:?}", number, accounts);
        }
        for (processor, _) in page.by("processor_incoming_items", "processor", "") {
            let sum = |metric: &str| page.sum(metric, &[("processor", &processor.0)]);
            let gone = sum("processor_incoming_items") - sum("processor_outgoing_items");
            let rejected =
                page.sum("filter_failed_log_records", &[("processor", &processor.0), ("on_failure", "reject")]);
            let dropped = sum("filter_dropped_log_records");
            prop_assert_eq!(gone, dropped + rejected, "round {}, {:?}: {:?}", number, processor, page);
        }
    }
    Ok(())
}

impl Destination {
    fn start() -> Self {
        let sink = Sink::start();
        Self { address: sink.address(), sink: Some(sink), taken: 0 }
    }

    /// Answers so from now on.
    async fn reply(&mut self, reply: Reply) {
        let sink = self.sink.take().expect("it is up between rounds");
        let answer = match reply {
            Reply::Take => Answer::Take,
            Reply::LeaveOne => Answer::Partial { rejected: 1, message: "one is too old".to_owned() },
            Reply::RefuseForNow => Answer::Refuse(Status::unavailable("down")),
            Reply::RefuseForGood => Answer::Refuse(Status::invalid_argument("never")),
            Reply::Down => {
                sink.down().await;
                return;
            }
        };
        sink.answer(answer);
        self.sink = Some(sink);
    }

    /// Counts what it took while it answered so, and is up again.
    fn settle(&mut self, reply: Reply) {
        let sink = self.sink.get_or_insert_with(|| Sink::start_at(self.address));
        for received in sink.drain() {
            self.taken += otlp::count(&[received.logs()]) as u64 - u64::from(reply == Reply::LeaveOne);
        }
    }
}

async fn page(sluicegate: &Sluicegate) -> Page {
    sluicegate.page().await.expect("a page of metrics")
}

fn record(kind: char) -> opentelemetry_proto::tonic::logs::v1::LogRecord {
    match kind {
        'd' => otlp::record(5, "debug"),
        'e' => otlp::record(17, "error"),
        'i' => otlp::record(9, "sound"),
        poison => otlp::record(9, &poison.to_string()),
    }
}

fn case() -> impl Strategy<Value = Case> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(routes, fan_out)| {
        let rounds = prop::collection::vec(round(routes), 5..12);
        (chain(routes), rounds).prop_map(move |(chain, rounds)| Case { chain, fan_out, rounds })
    })
}

fn round(routes: bool) -> impl Strategy<Value = Round> {
    let kind = prop_oneof![2 => Just('d'), 2 => Just('e'), 8 => Just('i'), 1 => Just('x'), 1 => Just('y')];
    let reply = prop_oneof![
        7 => Just(Reply::Take),
        1 => Just(Reply::LeaveOne),
        1 => Just(Reply::RefuseForNow),
        1 => Just(Reply::RefuseForGood),
        1 => Just(Reply::Down),
    ];
    let other = prop::option::weighted(0.25, chain(routes));
    (prop::collection::vec(kind, 0..40), [reply.clone(), reply], other).prop_map(|(records, answers, chain)| Round {
        records,
        answers,
        chain,
    })
}

/// Processors' keys.
fn chain(routes: bool) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(processor(routes), 1..4)
}

/// A processor's keys. Nothing has a route unless it `routes`.
fn processor(routes: bool) -> impl Strategy<Value = String> {
    let below = ("drop_below_severity", "minimum: INFO");
    let route = ("route", "rules: [{ if: { field: severity_number, at_least: ERROR }, route: aside }]");
    let sound = prop::sample::select(if routes { vec![below, route] } else { vec![below] });
    let sound = sound.prop_map(|(filter, settings)| (filter, settings.to_owned()));
    let how = prop::sample::select(vec!["panic", "refuse", "garbage", "grow_memory"]);
    let body = prop::sample::select(vec!["x", "y"]);
    let failing = (how, body).prop_map(|(how, body)| ("trap", format!("how: {how}, body: {body}")));
    let mut policies = vec!["reject", "pass", "drop", "{ default: drop, trap: reject, memory: pass }"];
    policies.extend(routes.then_some("route:aside"));
    let breaker = prop::sample::select(vec!["enabled: false", "threshold: 1, initial_interval: 10ms"]);
    let share = prop::sample::select(vec!["100%", "100%", "50%"]);
    let keys = (prop::sample::select(policies), 1..30_u32, breaker, share);
    (prop_oneof![1 => sound.boxed(), 2 => failing.boxed()], keys).prop_map(
        |((filter, settings), (on_failure, max_rows, breaker, share))| {
            let component = sluicegate_tests::component(filter);
            format!(
                "component: {component:?}, settings: {{ {settings} }}, deadline: 30s, on_failure: {on_failure}, \
                 max_rows: {max_rows}, circuit_breaker: {{ {breaker} }}, share: {share}"
            )
        },
    )
}
