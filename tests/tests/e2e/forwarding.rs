//! Application → Sluicegate → Collector → file.
use prost::Message as _;
use sluicegate_tests::{config::Config, example::Example, otlp, program::Sluicegate, sender::Sender, wire::Signal};

use crate::{
    collector::{Collector, as_the_collector_writes},
    inputs,
};

/// Sends the example's records and compares what the Collector wrote for each destination.
async fn check(example: &Example) {
    let expected = example.expected().expect("the example says what it expects");
    let collector = Collector::with_files(expected.keys().map(String::as_str)).await.expect("the Collector starts");
    let config = example
        .configuration_to(|name| format!("http://{}", collector.address(name)))
        .expect("the example has a configuration");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sluicegate = Example::start(&config, folder.path()).await.expect("it starts");
    for request in example.input().expect("the input is OTLP JSON") {
        sluicegate.sender().send_logs(&request).await.expect("it is taken");
    }
    let files = collector.stop().await.expect("the Collector ends");
    for (name, expected) in &expected {
        let written = files.rows(name).expect("what the Collector wrote is OTLP JSON");
        let expected = as_the_collector_writes(otlp::rows(expected));
        otlp::assert_same(&format!("{}: {name}", example.name), &written, &expected);
    }
}

#[tokio::test]
async fn every_example_arrives_as_it_says() {
    for example in &Example::all().expect("examples can be listed") {
        check(example).await;
    }
}

/// What comes through Sluicegate is written by the Collector just as what comes to it straight.
#[tokio::test]
async fn what_no_filter_touched_arrives_as_if_sent_straight() {
    let collector = Collector::with_files(["straight", "through"]).await.expect("the Collector starts");
    let config = Config::to(&format!("http://{}", collector.address("through")))
        .filter("drop_below_severity", "settings: { minimum: TRACE }")
        .profiles();
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let straight = Sender::new(collector.address("straight"));
    for (signal, body) in inputs::all() {
        sluicegate.sender().send(signal, body.clone()).await.expect("it is taken");
        straight.send(signal, body).await.expect("it is taken");
    }
    let files = collector.stop().await.expect("the Collector ends");
    let (straight, through) = (files.text("straight").expect("a file"), files.text("through").expect("a file"));
    assert!(!straight.is_empty());
    let lines: [Vec<&str>; 2] = [through.lines().collect(), straight.lines().collect()];
    otlp::assert_same("the Collector's lines", &lines[0], &lines[1]);
}

/// The Collector's own refusals reach the sender.
#[tokio::test]
async fn what_the_collector_refuses_the_sender_learns() {
    let collector = Collector::with_files(["logs"]).await.expect("the Collector starts");
    let sluicegate = Sluicegate::start(&Config::to(&format!("http://{}", collector.address("logs"))).yaml()).await;
    let sluicegate = sluicegate.expect("it starts");
    // Well-formed protobuf, but a trace id of five bytes, which the Collector can't read.
    let mut record = otlp::record(9, "one");
    record.trace_id = vec![1; 5];
    let request = otlp::request([record]).encode_to_vec();
    let straight = Sender::new(collector.address("logs")).send(Signal::Logs, request.clone()).await;
    let through = sluicegate.sender().send(Signal::Logs, request).await;
    let straight = straight.expect_err("the Collector can't read it").code();
    assert_eq!(through.expect_err("so nobody takes it").code(), straight);
}
