//! The commands, their exit codes and what they say.
use std::{fs, net::TcpListener};

use sluicegate_tests::{
    config::Config,
    otlp,
    program::{self, Sluicegate, sluicegate},
    sink::{Answer, Sink},
};
use tonic::Status;

#[tokio::test]
async fn a_port_in_use_ends_the_program_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the system gives a port");
    let address = taken.local_addr().expect("a listener has an address").to_string();
    let config = Config::to("http://127.0.0.1:1").yaml();
    for (what, from, to) in [
        ("gRPC", "grpc: { endpoint: '127.0.0.1:0' }", format!("grpc: {{ endpoint: '{address}' }}")),
        ("metrics", "metrics: { endpoint: '127.0.0.1:0' }", format!("metrics: {{ endpoint: '{address}' }}")),
        ("health", "health_check: { endpoint: '127.0.0.1:0' }", format!("health_check: {{ endpoint: '{address}' }}")),
    ] {
        let (_folder, file) = program::write(&config.replace(from, &to)).expect("a file");
        let file = file.to_str().expect("a path in UTF-8");
        let ended = sluicegate(&["run", "--config", file]).await.expect("it runs");
        assert_eq!(ended.code, Some(1), "{what}: {}", ended.log);
        assert!(ended.log.contains(&address), "{what}: {}", ended.log);
        let valid = sluicegate(&["validate", "--config", file]).await.expect("it runs");
        assert_eq!(valid.code, Some(0), "the file is right, {what}: {}", valid.log);
    }
}

#[tokio::test]
async fn send_sends_files_and_tells_how_it_went() {
    let sink = Sink::start();
    let sluicegate_under_test = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    let endpoint = format!("http://{}", sluicegate_under_test.grpc());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let requests = [otlp::request([otlp::record(9, "one")]), otlp::request([otlp::record(17, "two")])];
    let json: Vec<_> = requests.iter().map(|request| serde_json::to_value(request).expect("JSON")).collect();
    let lines = folder.path().join("lines.jsonl");
    fs::write(&lines, format!("{}\n\n{}\n", json[0], json[1])).expect("a file");
    let document = folder.path().join("document.json");
    fs::write(&document, format!("{:#}", json[0])).expect("a file");
    let broken = folder.path().join("broken.jsonl");
    fs::write(&broken, format!("{}\n{{\"resourceLogs\": 1}}\n", json[0])).expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();

    let send = async |files: &[&str]| {
        let arguments = [&["send", "--endpoint", &endpoint], files].concat();
        sluicegate(&arguments).await.expect("it runs")
    };
    let sent = send(&[&path(&lines), &path(&document)]).await;
    assert_eq!(sent.code, Some(0), "{}", sent.log);
    assert_eq!(sink.logs(), [&requests[..], &requests[..1]].concat());

    let refused = send(&[&path(&broken)]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.log);
    assert!(refused.log.contains("broken.jsonl:2"), "{}", refused.log);

    sink.answer(Answer::Refuse(Status::unavailable("later, please")));
    let failed = send(&[&path(&lines)]).await;
    assert_eq!(failed.code, Some(1), "{}", failed.log);
    assert!(failed.log.contains("later, please"), "{}", failed.log);
}
