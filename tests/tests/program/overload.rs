//! More comes in than the destination takes: memory stays bounded, and every record is accounted for.
use std::collections::BTreeSet;

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value, logs::v1::LogRecord,
};
use prost::Message as _;
use sluicegate_tests::{
    client::{Client, Protocol},
    config::Config,
    otlp,
    program::Sluicegate,
    sender::Sender,
    sink::{Answer, Sink},
    until,
};
use tonic::Code;
use tonic_types::StatusExt as _;

/// The memory that the program may use in all, of which the limit for requests is a part.
const LIMIT_MIB: usize = 192;

/// A large batch, so that few of them fill the memory.
const RECORDS: usize = 1000;

/// In each round twice as many requests come as the destination takes in it.
const ROUNDS: usize = 6;

/// What became of one request.
#[derive(Debug)]
enum Fate {
    Delivered,
    /// To be sent again, after a delay.
    Refused,
}

/// The records of request `n`. Each names itself in its body, and is about a kilobyte large.
fn request(n: usize) -> ExportLogsServiceRequest {
    let filling = "x".repeat(1000);
    otlp::request((0..RECORDS).map(|row| LogRecord {
        attributes: vec![otlp::attribute("filling", &filling)],
        ..otlp::record(9, &format!("{n}/{row}"))
    }))
}

/// The names of the records in `requests`, and how many there are.
fn names(requests: &[ExportLogsServiceRequest]) -> (BTreeSet<String>, usize) {
    let rows = otlp::rows(requests);
    let name = |row: &otlp::Row| match &row.record.body.as_ref()?.value {
        Some(Value::StringValue(name)) => Some(name.clone()),
        _ => None,
    };
    (rows.iter().filter_map(name).collect(), rows.len())
}

/// Sends request `n`, by one transport or the other.
async fn send(client: &Client, sender: &Sender, n: usize) -> Fate {
    let request = request(n);
    if n.is_multiple_of(2) {
        return match sender.send_logs(&request).await {
            Ok(answer) => {
                assert_eq!(answer.partial_success, None);
                Fate::Delivered
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                assert!(status.get_details_retry_info().is_some(), "{status:?}");
                Fate::Refused
            }
        };
    }
    let headers = [("content-type", "application/x-protobuf")];
    let answer = client.post("/v1/logs", &headers, request.encode_to_vec()).await.expect("an answer");
    match answer.status {
        200 => Fate::Delivered,
        status => {
            assert_eq!(status, 503);
            let delay = answer.header("retry-after").expect("a delay");
            assert!(delay.parse::<u64>().is_ok(), "{delay}");
            Fate::Refused
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_what_the_destination_takes() {
    let sink = Sink::start();
    let limiter = format!("limit_mib: {}", LIMIT_MIB / 4);
    let config = Config::to(&sink.endpoint())
        .http("")
        .extension("memory_limiter", &limiter)
        .filter("drop_below_severity", "settings: { minimum: INFO }");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let (sender, client) = (sluicegate.sender(), Client::new(sluicegate.http(), Protocol::Http1));
    let (mut sent, mut delivered, mut refused) = (0, BTreeSet::new(), 0);
    // How many fit at once shows in the first round.
    let mut taken_in_a_round = 8;
    for _ in 0..ROUNDS {
        sink.answer(Answer::Hold);
        let arrived_before = sink.requests();
        let mut requests = Vec::new();
        for n in sent..sent + 2 * taken_in_a_round {
            let (client, sender) = (client.clone(), sender.clone());
            requests.push(tokio::spawn(async move { (n, send(&client, &sender, n).await) }));
        }
        sent += requests.len();
        until("each request to be refused or to wait for the destination", async || {
            let waiting = sink.requests() - arrived_before;
            requests.iter().filter(|request| request.is_finished()).count() + waiting == requests.len()
        })
        .await;
        taken_in_a_round = (sink.requests() - arrived_before).max(1);
        sink.answer(Answer::Take);
        for request in requests {
            match request.await.expect("no panic") {
                (n, Fate::Delivered) => drop(delivered.insert(n)),
                (_, Fate::Refused) => refused += 1,
            }
        }
    }
    assert_eq!(delivered.len() + refused, sent);
    assert!(!delivered.is_empty() && refused > 0, "{} delivered, {refused} refused", delivered.len());

    let expected: BTreeSet<_> =
        delivered.iter().flat_map(|n| (0..RECORDS).map(move |row| format!("{n}/{row}"))).collect();
    let (arrived, rows) = names(&sink.logs());
    assert_eq!(rows, expected.len(), "nothing arrived twice");
    assert!(arrived == expected, "what was acknowledged is what arrived");
    let page = sluicegate.page().await.expect("a page of metrics");
    assert_eq!(page.gauge("receiver_in_flight_bytes"), 0);
    let accounts = page.accounts();
    assert_eq!(accounts.accepted, expected.len() as u64);
    assert!(accounts.balance(), "{accounts:?}");
    let peak = sluicegate.peak_memory().expect("the system tells");
    assert!(peak < LIMIT_MIB << 20, "{} MiB", peak >> 20);
}
