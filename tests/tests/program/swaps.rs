//! Another configuration takes the place of the one that serves: what changes, what stays, and what is said.
use std::{fs, os::unix::fs::symlink, path::Path};

use sluicegate_tests::{
    component,
    config::{Config, otlp as exporter},
    otlp,
    program::{self, Sluicegate, replace, sluicegate},
    sink::{Answer, Sink},
    until,
    wire::Signal,
};
use tokio::{process::Command, task::JoinSet};
use tonic::Code;

const INFO: i32 = 9;
const WARN: i32 = 13;
const ERROR: i32 = 17;

/// A configuration that drops records below `minimum`.
fn from(minimum: &str, sink: &Sink) -> Config {
    Config::to(&sink.endpoint()).filter("drop_below_severity", &format!("settings: {{ minimum: {minimum} }}"))
}

/// Whether a record of this severity reaches `sink`.
async fn passes(severity: i32, sluicegate: &Sluicegate, sink: &Sink) -> bool {
    let before = otlp::count(&sink.logs());
    sluicegate.sender().send_logs(&otlp::request([otlp::record(severity, "one")])).await.expect("it is taken");
    otlp::count(&sink.logs()) > before
}

/// Gives it this configuration, which it must take.
async fn swap(sluicegate: &Sluicegate, config: &Config) {
    sluicegate.rewrite(&config.yaml()).expect("a file");
    assert!(sluicegate.reload().await.expect("it runs"), "it takes the configuration");
}

#[tokio::test]
async fn a_changed_setting_counts_from_the_next_request_on() {
    let sink = Sink::start();
    // The first filter works on one record for so long that the swap comes meanwhile; the second one decides.
    let slow = Config::to(&sink.endpoint())
        .filter("trap", "settings: { how: slow, body: slow, milliseconds: 6000 }")
        .filter("drop_below_severity", "settings: { minimum: INFO }");
    let sluicegate = Sluicegate::start(&slow.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let under_way = otlp::request([otlp::record(INFO, "slow")]);
    let waiting = tokio::spawn(async move { sender.send_logs(&under_way).await });
    let is_under_way = async || sluicegate.page().await.is_ok_and(|page| page.gauge("receiver_in_flight_bytes") > 0);
    until("a request to be under way", is_under_way).await;

    swap(&sluicegate, &from("ERROR", &sink)).await;
    assert!(!waiting.is_finished(), "its first filter is still at work");
    sluicegate.sender().send_logs(&otlp::request([otlp::record(INFO, "quick")])).await.expect("it is taken");
    waiting.await.expect("no panic").expect("it is taken");
    let bodies: Vec<_> = otlp::rows(&sink.logs()).into_iter().map(|row| row.record.body.expect("a body")).collect();
    assert_eq!(bodies, [otlp::text("slow")], "each was decided by the filters of its own time");
    assert!(passes(ERROR, &sluicegate, &sink).await);
    let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
    assert_eq!((accounts.accepted, accounts.dropped, accounts.sent), (3, 1, 2), "the counters go on");
}

#[tokio::test]
async fn what_can_not_be_used_changes_nothing_and_is_said() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&from("WARN", &sink).yaml()).await.expect("it starts");
    let to = Config::to(&sink.endpoint());
    let trap = |settings: &str| to.clone().filter("trap", &format!("settings: {{ {settings} }}, deadline: 2s")).yaml();
    let right = from("INFO", &sink).yaml();
    let cases = [
        (right.replace("receivers: [otlp]\n", "receivers: [otlp\n"), "sluicegate.yaml:"),
        (right.replace("minimum: INFO", "minimum: LOUD"), "the filter refuses its settings: "),
        (right.replace("drop_below_severity.wasm", "nowhere.wasm"), "can't read the component "),
        (right.replace("otlp:", "otlp/other:").replace("[otlp]", "[otlp/other]"), "`otlp/other` is not running"),
        (
            to.clone()
                .filter("route", "settings: { rules: [{ if: { field: body, equals: x }, route: nowhere }] }")
                .yaml(),
            "which is no route of the logs pipeline",
        ),
        (trap("how: panic"), "wasm/trap fails on sample records: the filter trapped: "),
        (trap("how: grow_memory"), "wasm/trap fails on sample records: the filter asked for "),
        (trap("how: loop"), "wasm/trap fails on sample records: the filter took longer than "),
        (trap("how: loop, at: configure"), "the filter took longer than its deadline"),
        (
            to.clone()
                .filter("garbage", "settings: { answer: rows-too-few }")
                .exporter("debug", "{}")
                .route("declared", "debug")
                .yaml(),
            "wasm/garbage fails on sample records: the filter's answer is invalid",
        ),
    ];
    for (nth, (text, said)) in (1..).zip(cases) {
        sluicegate.rewrite(&text).expect("a file");
        assert!(!sluicegate.reload().await.expect("it runs"), "{said}");
        // What is logged takes its way through a pipe.
        let told = || sluicegate.log().lines().filter(|line| line.contains("can't be taken up")).count() as u64;
        until("it to be told", async || told() == nth).await;
        let log = sluicegate.log();
        let line = log.lines().rfind(|line| line.contains("can't be taken up")).expect("it says so");
        assert!(line.contains(said) && line.contains(r#""level":"ERROR""#), "{said}: {line}");
        assert!(line.contains("sluicegate.yaml:"), "{said} has a place: {line}");
        assert!(!passes(INFO, &sluicegate, &sink).await && passes(WARN, &sluicegate, &sink).await, "{said}");
        let page = sluicegate.page().await.expect("a page of metrics");
        assert_eq!(page.sum("config_reloads", &[("result", "failure")]), nth, "{said}");
        assert_eq!((page.gauge("config_last_reload_successful"), page.gauge("config_generation")), (0, 1), "{said}");
        let processors = page.by("processor_incoming_items", "processor", "");
        assert_eq!(processors.len(), 1, "{said} leaves no metrics: {processors:?}");
    }
    swap(&sluicegate, &from("INFO", &sink)).await;
    assert!(passes(INFO, &sluicegate, &sink).await);
    let page = sluicegate.page().await.expect("a page of metrics");
    assert_eq!((page.gauge("config_last_reload_successful"), page.gauge("config_generation")), (1, 2));
}

/// At start there is nothing else to serve, and `on_failure` says what becomes of records.
#[tokio::test]
async fn a_filter_that_fails_on_sample_records_is_refused_by_validate_and_warned_of_by_run() {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).filter("trap", "settings: { how: panic }, on_failure: pass");
    let (_folder, file) = program::write(&config.yaml()).expect("a file");
    let said = "wasm/trap fails on sample records: the filter trapped: ";
    let ended = sluicegate(&["validate", "--config", file.to_str().expect("UTF-8")]).await.expect("it runs");
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert!(ended.log.contains(said) && ended.log.contains("help: "), "{}", ended.log);
    let sluicegate = Sluicegate::start_file(&file, &[]).await.expect("it starts");
    let log = sluicegate.log();
    let line = log.lines().find(|line| line.contains(said)).expect("it says so");
    assert!(line.contains(r#""level":"WARN""#) && line.contains(r#""help":"mend the filter"#), "{line}");
    assert!(passes(INFO, &sluicegate, &sink).await);
}

/// Its filter takes longer than its deadline for all of the sample records, and not for one.
#[tokio::test]
async fn sample_records_are_shown_in_parts_as_all_are() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&from("INFO", &sink).yaml()).await.expect("it starts");
    for (max_rows, is_taken) in [("8192", false), ("1", true)] {
        let keys = format!("settings: {{ how: slow, milliseconds: 50 }}, deadline: 1s, max_rows: {max_rows}");
        sluicegate.rewrite(&Config::to(&sink.endpoint()).filter("trap", &keys).yaml()).expect("a file");
        assert_eq!(sluicegate.reload().await.expect("it runs"), is_taken, "{max_rows}");
    }
}

#[tokio::test]
async fn what_belongs_to_listeners_waits_for_a_restart_and_is_named() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&from("WARN", &sink).yaml()).await.expect("it starts");
    let changed =
        from("INFO", &sink).grpc("max_recv_msg_size_mib: 1").yaml().replace("encoding: json", "encoding: console");
    sluicegate.rewrite(&changed).expect("a file");
    assert!(sluicegate.reload().await.expect("it runs"), "the rest is taken up");
    assert!(passes(INFO, &sluicegate, &sink).await);
    let keys = "receivers.otlp.protocols.grpc.max_recv_msg_size_mib service.telemetry.logs.encoding";
    until("the keys to be named", async || sluicegate.log().contains(&format!(r#""keys":"{keys}""#))).await;
    let large = otlp::request([otlp::record(INFO, &"x".repeat(2 << 20))]);
    sluicegate.sender().send_logs(&large).await.expect("the listener's limit is the old one");
}

#[tokio::test]
async fn pipelines_come_and_go() {
    let sink = Sink::start();
    let with = from("INFO", &sink).yaml();
    let without: String =
        with.lines().filter(|line| !line.contains("traces:")).map(|line| format!("{line}\n")).collect();
    let sluicegate = Sluicegate::start(&with).await.expect("it starts");
    for (text, expected) in [(&without, Err(Code::Unimplemented)), (&with, Ok(()))] {
        sluicegate.rewrite(text).expect("a file");
        assert!(sluicegate.reload().await.expect("it runs"));
        let answer = sluicegate.sender().send(Signal::Traces, Vec::new()).await;
        assert_eq!(answer.map(drop).map_err(|status| status.code()), expected);
    }
}

#[tokio::test]
async fn an_exporter_keeps_its_connection_until_it_is_changed() {
    let (first, second) = (Sink::start(), Sink::start());
    let sluicegate = Sluicegate::start(&from("INFO", &first).yaml()).await.expect("it starts");
    // One connection here is one there: another may be served by another thread, which has its own.
    let sender = sluicegate.sender();
    for minimum in ["WARN", "INFO", "WARN", "INFO"] {
        sender.send_logs(&otlp::request([otlp::record(WARN, "soon")])).await.expect("it is taken");
        swap(&sluicegate, &from(minimum, &first)).await;
    }
    assert_eq!(first.connections(), 1);

    // What is under way is answered by whom it was sent to.
    first.answer(Answer::Hold);
    let arrived = first.requests() + 1;
    let waiting = tokio::spawn(async move { sender.send_logs(&otlp::request([otlp::record(WARN, "late")])).await });
    first.arrived(arrived).await;
    swap(&sluicegate, &from("INFO", &second)).await;
    assert!(passes(INFO, &sluicegate, &second).await);
    assert!(!waiting.is_finished());
    first.answer(Answer::Take);
    waiting.await.expect("no panic").expect("it is taken");
    assert_eq!((first.connections(), otlp::count(&first.logs())), (1, 5));
    let page = sluicegate.page().await.expect("a page of metrics");
    assert_eq!(page.sum("exporter_sent_log_records", &[("exporter", "otlp_grpc/main")]), 6);
}

#[tokio::test]
async fn a_file_that_is_written_through_swaps_has_whole_lines() {
    const SENDERS: usize = 4;
    const SWAPS: usize = 6;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.jsonl");
    // Each time the exporter has another name, and stays the only one that writes the file.
    let config = |nth: usize| Config::default().exporter(&format!("file/{nth}"), &format!("{{ path: {path:?} }}"));
    let sluicegate = Sluicegate::start(&config(0).yaml()).await.expect("it starts");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (sender, stopped) = (sluicegate.sender(), stopped.clone());
        senders.spawn(async move {
            let mut sent = 0;
            let request = otlp::request([otlp::record(INFO, &"a long line ".repeat(2000))]);
            while !*stopped.borrow() {
                sender.send_logs(&request).await.expect("it is taken");
                sent += 1;
            }
            sent
        });
    }
    for nth in 1..=SWAPS {
        swap(&sluicegate, &config(nth)).await;
    }
    stop.send_replace(true);
    let sent: usize = senders.join_all().await.into_iter().sum();
    assert_eq!(otlp::count(&otlp::read(&path).expect("every line is whole")), sent);
}

#[tokio::test]
async fn a_file_that_was_rotated_is_opened_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, rotated) = (folder.path().join("kept.jsonl"), folder.path().join("kept.jsonl.1"));
    let config = Config::default().exporter("file", &format!("{{ path: {path:?} }}"));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let send = async |body: &str| {
        let request = otlp::request([otlp::record(INFO, body)]);
        sluicegate.sender().send_logs(&request).await.expect("it is taken");
        request
    };
    let mut expected = vec![send("one").await];
    fs::rename(&path, &rotated).expect("it can be renamed");
    expected.push(send("two").await);
    swap(&sluicegate, &config).await;
    let after = send("three").await;
    assert_eq!(otlp::read(&rotated).expect("every line is whole"), expected);
    assert_eq!(otlp::read(&path).expect("every line is whole"), [after]);
}

/// A program that looks for changes by itself.
async fn watching(file: &Path) -> Sluicegate {
    Sluicegate::start_with(file, &["--watch"], &[]).await.expect("it starts")
}

#[tokio::test]
async fn changed_files_are_taken_up_where_they_are_watched() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    // As Kubernetes mounts a ConfigMap: what is read are links through a link that is swapped.
    let write = |generation: &str, filter: &str, minimum: &str| {
        fs::create_dir(path(generation)).expect("a folder");
        let settings = format!("component: filter.wasm, deadline: 30s, settings: {{ {minimum} }}");
        let config = Config::to(&sink.endpoint()).processor("wasm/filter", &settings);
        fs::write(path(generation).join("sluicegate.yaml"), config.yaml()).expect("a file");
        fs::copy(component(filter), path(generation).join("filter.wasm")).expect("a copy");
        symlink(generation, path("..data_tmp")).expect("a link");
        fs::rename(path("..data_tmp"), path("..data")).expect("a swap");
    };
    write("..1", "drop_below_severity", "minimum: WARN");
    for name in ["sluicegate.yaml", "filter.wasm"] {
        symlink(Path::new("..data").join(name), path(name)).expect("a link");
    }
    let sluicegate = watching(&path("sluicegate.yaml")).await;
    assert!(!passes(INFO, &sluicegate, &sink).await);
    let none = sluicegate.reloads().await.expect("a page of metrics");

    write("..2", "drop_below_severity", "minimum: INFO");
    assert!(sluicegate.reloaded(none).await.expect("it runs"));
    assert!(passes(INFO, &sluicegate, &sink).await);

    // The component alone: the same settings mean nothing to another filter.
    let once = sluicegate.reloads().await.expect("a page of metrics");
    replace(&path("..2/filter.wasm"), fs::read(component("trap")).expect("a filter")).expect("a file");
    assert!(!sluicegate.reloaded(once).await.expect("it runs"));
    let failed = sluicegate.reloads().await.expect("a page of metrics");
    replace(&path("..2/filter.wasm"), fs::read(component("drop_below_severity")).expect("a filter")).expect("a file");
    assert!(sluicegate.reloaded(failed).await.expect("it runs"), "it is taken up once it is right again");
    assert!(passes(INFO, &sluicegate, &sink).await);
}

#[tokio::test]
async fn of_many_signals_the_last_state_of_the_file_counts() {
    let sink = Sink::start();
    let mut sluicegate = Sluicegate::start(&from("FATAL", &sink).yaml()).await.expect("it starts");
    for minimum in ["DEBUG", "FATAL", "ERROR", "INFO", "WARN"] {
        sluicegate.rewrite(&from(minimum, &sink).yaml()).expect("a file");
        sluicegate.process().signal("HUP").await.expect("it runs");
    }
    // No other one lets this through and keeps that back.
    until("the last state to count", async || {
        passes(WARN, &sluicegate, &sink).await && !passes(INFO, &sluicegate, &sink).await
    })
    .await;
}

#[tokio::test]
async fn what_is_being_reloaded_holds_up_no_shutdown() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().expect("a folder");
    let slow = folder.path().join("slow");
    let made = Command::new("mkfifo").arg(&slow).status().await.expect("mkfifo runs");
    assert!(made.success());
    let to = Config::to(&sink.endpoint());
    let configurations = [
        to.clone().grpc(&format!("tls: {{ cert_file: {slow:?}, key_file: {slow:?} }}")),
        to.exporter("otlp_grpc/slow", &format!("{{ endpoint: 'https://localhost:1', tls: {{ ca_file: {slow:?} }} }}")),
    ];
    for config in configurations {
        let mut sluicegate = Sluicegate::start(&from("INFO", &sink).yaml()).await.expect("it starts");
        sluicegate.rewrite(&config.yaml()).expect("a file");
        sluicegate.process().signal("HUP").await.expect("it runs");
        // A pipe can be opened once its other end is: now it is being read, and that never ends.
        let pipe = slow.clone();
        let open = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(pipe));
        let writer = sluicegate_tests::patiently("the file to be read", open).await.expect("no panic");
        assert!(passes(INFO, &sluicegate, &sink).await, "requests are served meanwhile");
        until("it to be told", async || sluicegate.log().contains("reloading ")).await;
        let ended = sluicegate.stop().await.expect("it ends");
        drop(writer);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.contains("stopped"), "{}", ended.log);
    }
}

#[tokio::test]
async fn settings_of_an_exporter_can_change_too() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&from("INFO", &sink).yaml()).await.expect("it starts");
    assert!(passes(INFO, &sluicegate, &sink).await);
    let headers = exporter(&sink.endpoint()).replace("timeout: 0s", "timeout: 0s, headers: { x-tenant: blue }");
    let config = Config::default().exporter("otlp_grpc/main", &headers);
    swap(&sluicegate, &config).await;
    assert!(passes(INFO, &sluicegate, &sink).await);
    let tenants: Vec<_> = sink.taken().iter().map(|received| received.headers.get("x-tenant").is_some()).collect();
    assert_eq!((tenants, sink.connections()), (vec![false, true], 2));
}
