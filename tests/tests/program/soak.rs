//! Load while components and configurations are swapped, some of them broken: no request fails, no record is lost or
//! counted twice, and nothing grows.
use std::{
    collections::HashSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value};
use sluicegate_tests::{
    client::{Client, Protocol},
    component,
    config::Config,
    otlp,
    program::{Sluicegate, replace},
    sender::Sender,
    sink::Sink,
    until,
};
use tokio::{sync::watch, task::JoinSet};

/// How long it takes, unless `SLUICEGATE_SOAK_SECONDS` says otherwise: enough for some dozen swaps.
const SECONDS: u64 = 20;

const SENDERS_OF_EACH_KIND: u64 = 2;

/// The severities of a request's records: some filters drop the first, some the second, none the last.
const SEVERITIES: [i32; 3] = [5, 9, 17];

/// What a filter does beside, at times for real and at times as a shadow.
const SWAPPED: &str = "settings: { operations: [{ set: { field: { attribute: swapped }, value: true } }] }";

/// A record that was sent: by whom, in which request, and which of its records.
type Id = (u64, u64, usize);

/// An application, over either transport.
enum Application {
    Grpc(Sender),
    Http(Client),
}

impl Application {
    async fn send(&self, request: &ExportLogsServiceRequest) {
        match self {
            Self::Grpc(sender) => {
                let answer = sender.send_logs(request).await.expect("no request fails");
                assert_eq!(answer.partial_success, None);
            }
            Self::Http(client) => {
                let answer = client.send_logs(request).await.expect("no request fails");
                assert!(answer.status == 200 && answer.body.is_empty(), "{answer:?}");
            }
        }
    }

    /// Sends without a pause until it is told to stop, and says how many requests that were.
    async fn run(self, number: u64, stopped: watch::Receiver<bool>) -> u64 {
        let mut sent = 0;
        while !*stopped.borrow() {
            let record = |(nth, severity)| otlp::record(severity, &format!("{number} {sent} {nth}"));
            self.send(&otlp::request(SEVERITIES.into_iter().enumerate().map(record))).await;
            sent += 1;
        }
        sent
    }
}

/// The `nth` configuration, and whether it is good. The component that it names changes as well.
fn change(nth: usize, folder: &Path, sink: &Sink) -> (Config, bool) {
    // Another file of the same filter: a custom section at its end means nothing.
    let mut policy = fs::read(component("drop_below_severity")).expect("a filter");
    policy.extend([0, 2, 1, b'a' + u8::try_from(nth % 26).expect("it is small")]);
    let path = folder.join("policy.wasm");
    replace(&path, policy).expect("a file");
    let minimum = ["DEBUG", "INFO", "WARN"][nth % 3];
    let policy = format!("component: {path:?}, deadline: 30s, settings: {{ minimum: {minimum} }}");
    let config = Config::default().http("");
    // Its connections are made anew each time that this changes.
    let exporter = format!("{{ endpoint: {:?}, compression: none, timeout: {}s }}", sink.endpoint(), 30 + nth / 5);
    let config = config.exporter("otlp_grpc/main", &exporter).processor("wasm/policy", &policy);
    match nth % 9 {
        2 => (config.processor("wasm/missing", "component: nowhere.wasm"), false),
        5 => (config.filter("trap", "settings: { how: unreachable }"), false),
        8 => (config.exporter("otlp_grpc/broken", "{ endpoint: [ }"), false),
        4 => (config.filter("enrich", SWAPPED), true),
        7 => (config.filter("enrich", &format!("{SWAPPED}, mode: shadow")), true),
        _ => (config, true),
    }
}

/// Which records have come since the last time. None may have come before.
fn collect(sink: &Sink, arrived: &mut HashSet<Id>) {
    for received in sink.drain() {
        for row in otlp::rows(&[received.logs()]) {
            let Some(Value::StringValue(body)) = row.record.body.and_then(|body| body.value) else {
                panic!("a record without its body");
            };
            let mut numbers = body.split(' ').map(|number| number.parse::<u64>().expect("a number"));
            let mut next = || numbers.next().expect("three numbers");
            let id = (next(), next(), usize::try_from(next()).expect("it is small"));
            assert!(arrived.insert(id), "{body} came twice");
        }
    }
}

#[tokio::test]
async fn swaps_under_load_lose_nothing_and_leave_nothing_behind() {
    let seconds = std::env::var("SLUICEGATE_SOAK_SECONDS").map_or(SECONDS, |text| text.parse().expect("seconds"));
    let (started, length) = (Instant::now(), Duration::from_secs(seconds));
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&change(0, folder.path(), &sink).0.yaml()).await.expect("it starts");
    let threads = sluicegate.threads().expect("it runs");

    let (stop, stopped) = watch::channel(false);
    let mut applications = JoinSet::new();
    for number in 0..SENDERS_OF_EACH_KIND {
        let http = Client::new(sluicegate.http(), Protocol::Http1);
        applications.spawn(Application::Grpc(sluicegate.sender()).run(2 * number, stopped.clone()));
        applications.spawn(Application::Http(http).run(2 * number + 1, stopped.clone()));
    }
    let mut arrived = HashSet::new();
    let mut early = None;
    let (mut swaps, mut broken) = (0, 0);
    while started.elapsed() < length || swaps < 9 {
        swaps += 1;
        let (config, is_good) = change(swaps, folder.path(), &sink);
        sluicegate.rewrite(&config.yaml()).expect("a file");
        broken += u64::from(!is_good);
        assert_eq!(sluicegate.reload().await.expect("it runs"), is_good, "the {swaps}th: {}", config.yaml());
        collect(&sink, &mut arrived);
        if started.elapsed() > length / 3 {
            early.get_or_insert_with(|| (swaps, sluicegate.memory().expect("it runs")));
        }
    }
    stop.send_replace(true);
    let requests: u64 = applications.join_all().await.into_iter().sum();
    collect(&sink, &mut arrived);

    let page = sluicegate.page().await.expect("a page of metrics");
    let accounts = page.accounts();
    let received = requests * SEVERITIES.len() as u64;
    assert_eq!((accounts.accepted, accounts.refused), (received, 0));
    assert!(accounts.balance(), "{accounts:?}");
    assert_eq!((accounts.sent, accounts.sent + accounts.dropped), (arrived.len() as u64, received));
    let kept = arrived.iter().filter(|(_, _, nth)| SEVERITIES[*nth] == 17).count();
    assert_eq!(kept as u64, requests, "what no filter drops has come");
    assert_eq!(page.sum("config_reloads", &[("result", "failure")]), broken);

    let (early_swaps, early) = early.expect("a third of the time has passed");
    let late = sluicegate.memory().expect("it runs");
    println!("{requests} requests, {swaps} swaps, {early} bytes of memory after {early_swaps}, {late} late");
    // An allocator keeps what it may need again, and the last moment may be a busy one. A generation that stayed would
    // take megabytes.
    let bound = early + (32 << 20) + (swaps - early_swaps) * (64 << 10);
    assert!(late < bound, "memory has grown from {early} to {late} bytes in {} swaps", swaps - early_swaps);
    // Threads that were lent out go a while after they have come back.
    until("the threads of former generations to end", async || {
        sluicegate.threads().is_ok_and(|now| now <= threads + 4)
    })
    .await;
}
