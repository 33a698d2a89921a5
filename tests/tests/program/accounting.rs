//! The account of records, whatever filters do, fail on and route, and whatever destinations answer:
//! received = forwarded + dropped + refused.
use std::time::Duration;

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
use tonic::Status;

/// Each case runs the program once.
const CASES: u32 = 12;

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
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Take,
    RefuseForNow,
    RefuseForGood,
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
    let (main, aside) = (Sink::start(), Sink::start());
    let mut config = Config::to(&main.endpoint());
    if case.fan_out {
        config = config.exporter("otlp_grpc/second", &exporter(&main.endpoint()));
    }
    for (at, processor) in case.chain.iter().enumerate() {
        config = config.processor(&format!("wasm/{at}"), processor);
    }
    let config = config.exporter("otlp_grpc/aside", &exporter(&aside.endpoint())).route("aside", "otlp_grpc/aside");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender().waiting(WAIT);
    let (mut received, mut refused) = (0, 0);
    for (number, round) in case.rounds.iter().enumerate() {
        for (sink, answer) in [&main, &aside].into_iter().zip(round.answers) {
            sink.answer(answer.into());
        }
        let request = otlp::request(round.records.iter().map(|&kind| record(kind)));
        let records = round.records.len() as u64;
        received += records;
        refused += match sender.send_logs(&request).await {
            Ok(answer) => answer.partial_success.map_or(0, |partial| partial.rejected_log_records.unsigned_abs()),
            Err(_) => records,
        };
        // A sender that has stopped waiting is noticed a little later.
        until("all records to be accounted for", async || {
            let accounts = page(&sluicegate).await.accounts();
            accounts.accepted + accounts.refused == received
        })
        .await;
        let page = page(&sluicegate).await;
        let accounts = page.accounts();
        prop_assert_eq!(page.sum("receiver_received_log_records", &[]), received, "round {}: {:?}", number, page);
        prop_assert_eq!(accounts.refused, refused, "round {}: {:?}", number, accounts);
        prop_assert_eq!(accounts.accepted, accounts.forwarded + accounts.dropped, "round {}: {:?}", number, accounts);
        let in_sinks = (otlp::count(&main.logs()) + otlp::count(&aside.logs())) as u64;
        prop_assert_eq!(in_sinks, accounts.sent, "round {}: {:?}", number, accounts);
        if !case.fan_out {
            let duplicated = page.sum("exporter_duplicated_log_records", &[]);
            prop_assert_eq!(accounts.forwarded, accounts.sent - duplicated, "round {}: {:?}", number, accounts);
        }
        for at in 0..case.chain.len() {
            let processor = format!("wasm/{at}");
            let sum = |metric: &str| page.sum(metric, &[("processor", &processor)]);
            let gone = sum("processor_incoming_items") - sum("processor_outgoing_items");
            let rejected =
                page.sum("filter_failed_log_records", &[("processor", &processor), ("on_failure", "reject")]);
            let dropped = sum("filter_dropped_log_records");
            prop_assert_eq!(gone, dropped + rejected, "round {}, {}: {:?}", number, processor, page);
        }
    }
    Ok(())
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

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Take => Self::Take,
            Reply::RefuseForNow => Self::Refuse(Status::unavailable("down")),
            Reply::RefuseForGood => Self::Refuse(Status::invalid_argument("never")),
        }
    }
}

fn case() -> impl Strategy<Value = Case> {
    let chain = prop::collection::vec(processor(), 1..4);
    let rounds = prop::collection::vec(round(), 5..12);
    (chain, any::<bool>(), rounds).prop_map(|(chain, fan_out, rounds)| Case { chain, fan_out, rounds })
}

fn round() -> impl Strategy<Value = Round> {
    let kind = prop_oneof![2 => Just('d'), 2 => Just('e'), 8 => Just('i'), 1 => Just('x'), 1 => Just('y')];
    let reply = prop_oneof![8 => Just(Reply::Take), 1 => Just(Reply::RefuseForNow), 1 => Just(Reply::RefuseForGood)];
    (prop::collection::vec(kind, 0..40), [reply.clone(), reply])
        .prop_map(|(records, answers)| Round { records, answers })
}

/// A processor's keys.
fn processor() -> impl Strategy<Value = String> {
    let sound = prop_oneof![
        Just(("drop_below_severity", "minimum: INFO")),
        Just(("route", "rules: [{ if: { field: severity_number, at_least: ERROR }, route: aside }]")),
    ];
    let sound = sound.prop_map(|(filter, settings)| (filter, settings.to_owned()));
    let how = prop::sample::select(vec!["panic", "refuse", "garbage", "grow_memory"]);
    let body = prop::sample::select(vec!["x", "y"]);
    let failing = (how, body).prop_map(|(how, body)| ("trap", format!("how: {how}, body: {body}")));
    let policies = vec!["reject", "pass", "drop", "route:aside", "{ default: drop, trap: reject, memory: pass }"];
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
