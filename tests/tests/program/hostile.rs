//! Filters that do harm, as far as they can: what each costs is the call that it does it in.
use std::fs;

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::ResourceSpans};
use prost::Message as _;
use sluicegate_tests::{
    config::Config,
    metrics::Page,
    otlp,
    program::{self, Sluicegate, sluicegate},
    sink::Sink,
    until,
    wire::Signal,
};
use tokio::task::JoinSet;
use tonic::Code;

/// Most memory that the process may use: some for itself, eight instances of 16 MiB, and far less than what filters try to
/// get.
const MEMORY_MIB: usize = 256;

/// The limits of a hostile filter. Its deadline is long beside what a sound call takes on a busy machine.
const LIMITS: &str = "memory_limit_mib: 16, output_limit_mib: 1, max_instances: 8, circuit_breaker: { enabled: false }";

/// A sound filter, which marks every record.
fn sound(config: Config, name: &str) -> Config {
    let component = sluicegate_tests::component("observe");
    config.processor(name, &format!("component: {component:?}, settings: {{ set: {{ {name:?}: 1 }} }}, deadline: 30s"))
}

/// The filters before and after a hostile one did what they do, to so many records.
fn check_sound(what: &str, page: &Page, records: u64) {
    for name in ["wasm/before", "wasm/after"] {
        let metrics = ["processor_incoming_items", "processor_outgoing_items", "filter_changed_log_records"];
        let counts = metrics.map(|metric| page.sum(metric, &[("processor", name)]));
        assert_eq!(counts, [records; 3], "{what}: {name}");
    }
}

/// Sends what doesn't set the filter off, and asks for every page: all of it works.
async fn check_others(what: &str, sluicegate: &Sluicegate) {
    let sender = sluicegate.sender();
    let calm = otlp::request([otlp::record(9, "calm")]);
    sender.send_logs(&calm).await.unwrap_or_else(|status| panic!("{what}: logs: {status:?}"));
    check_no_filter(what, sluicegate).await;
}

/// The same of what meets no filter.
async fn check_no_filter(what: &str, sluicegate: &Sluicegate) {
    let spans = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default()] };
    let sent = sluicegate.sender().send(Signal::Traces, spans.encode_to_vec()).await;
    sent.unwrap_or_else(|status| panic!("{what}: traces: {status:?}"));
    assert_eq!(sluicegate.health().await.expect("a health check"), 200, "{what}");
    sluicegate.page().await.unwrap_or_else(|error| panic!("{what}: metrics: {error}"));
}

/// Runs a filter with these settings beside requests that do not set it off, and counts what becomes of those that do.
async fn check(filter: &str, settings: &str, deadline: &str, kind: &str, on_failure: &str) {
    let what = format!("{filter}: {settings}, {on_failure}");
    let sink = Sink::start();
    let keys =
        format!("settings: {{ {settings}, body: poison }}, deadline: {deadline}, on_failure: {on_failure}, {LIMITS}");
    // What the filter of wrong answers may answer with.
    let config = sound(Config::to(&sink.endpoint()), "wasm/before").filter(filter, &keys);
    let config = sound(config, "wasm/after").exporter("debug", "{}").route("declared", "debug");
    let sluicegate = Sluicegate::start(&config.yaml()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut poisonous = JoinSet::new();
    for _ in 0..2 {
        let sender = sluicegate.sender();
        poisonous.spawn(async move { sender.send_logs(&otlp::request([otlp::record(9, "poison")])).await });
    }
    let (mut calm, mut answers) = (0, Vec::new());
    while !poisonous.is_empty() || calm == 0 {
        check_others(&what, &sluicegate).await;
        calm += 1;
        while let Some(answer) = poisonous.try_join_next() {
            answers.push(answer.expect("no panic"));
        }
    }
    for answer in answers {
        match (on_failure, answer) {
            ("reject", Err(status)) => assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}"),
            ("pass", Ok(_)) => {}
            (_, answer) => panic!("{what}: {answer:?}"),
        }
    }
    let page = sluicegate.page().await.expect("a page of metrics");
    let failures = page.by("filter_failures", "processor", "kind").into_iter();
    let failures: Vec<_> = failures.filter(|(_, count)| *count > 0).collect();
    let [((processor, found), count)] = &failures[..] else { panic!("{what}: {failures:?}") };
    assert!(!["wasm/before", "wasm/after"].contains(&&**processor), "{what}: {processor} is sound");
    assert!(found == kind && *count >= 2, "{what}: {failures:?}");
    let passed = if on_failure == "pass" { 2 } else { 0 };
    assert_eq!(otlp::count(&sink.logs()), calm + passed, "{what}");
    check_sound(&what, &page, (calm + passed) as u64);
    let accounts = page.accounts();
    assert!(accounts.balance(), "{what}: {accounts:?}");
    let peak = sluicegate.peak_memory().expect("the system tells");
    assert!(peak < MEMORY_MIB << 20, "{what}: {} MiB", peak >> 20);
    let ended = sluicegate.stop().await.expect("it stops");
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.log);
}

#[tokio::test]
async fn code_that_fails_costs_its_call() {
    for (settings, deadline, kind) in [
        ("how: panic", "30s", "trap"),
        ("how: unreachable", "30s", "trap"),
        ("how: stack_overflow", "30s", "trap"),
        ("how: loop", "1s", "deadline"),
        ("how: columns, times: 4000000000", "1s", "deadline"),
        ("how: grow_memory", "30s", "memory"),
        ("how: big_memory, mebibytes: 1000", "30s", "memory"),
        ("how: big_log, mebibytes: 4", "30s", "invalid_output"),
        ("how: refuse", "30s", "refused"),
    ] {
        check("trap", settings, deadline, kind, "reject").await;
    }
    check("trap", "how: loop", "1s", "deadline", "pass").await;
}

#[tokio::test]
async fn answers_that_are_wrong_cost_their_call() {
    for answer in [
        "rows-too-many",
        "verdict-out-of-range",
        "route-undeclared",
        "big-reason",
        "big-rows",
        "big-verdicts",
        "big-changes",
        "big-value",
        "change-rows-descend",
        "change-row-far-out-of-range",
        "kind-unknown",
        "string-not-utf8",
        "kv-list-malformed",
        "array-too-deep",
        "record-malformed",
        "second-change",
    ] {
        check("garbage", &format!("answer: {answer}"), "30s", "invalid_output", "reject").await;
    }
    check("garbage", "answer: record-malformed", "30s", "invalid_output", "pass").await;
}

#[tokio::test]
async fn loops_on_every_core_leave_others_their_turns() {
    let sink = Sink::start();
    let keys = format!("settings: {{ how: loop, body: poison }}, deadline: 10s, on_failure: pass, {LIMITS}");
    let config = Config::to(&sink.endpoint()).filter("trap", &keys);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let mut loops = JoinSet::new();
    for _ in 0..16 {
        let sender = sluicegate.sender();
        loops.spawn(async move { sender.send_logs(&otlp::request([otlp::record(9, "poison")])).await });
    }
    let under_way = async || sluicegate.page().await.is_ok_and(|page| page.gauge("receiver_in_flight_bytes") > 0);
    until("a call that loops", under_way).await;
    for _ in 0..5 {
        check_no_filter("loops everywhere", &sluicegate).await;
    }
    assert!(loops.try_join_next().is_none(), "all of that came before the first loop was ended");
    // Nobody waits for the others.
    loops.abort_all();
    check_others("the loops are given up", &sluicegate).await;
}

#[tokio::test]
async fn calm_logs_wait_for_an_instance_while_all_of_them_loop() {
    for on_failure in ["reject", "pass"] {
        let sink = Sink::start();
        let keys =
            format!("settings: {{ how: loop, body: poison }}, deadline: 500ms, on_failure: {on_failure}, {LIMITS}");
        let config = sound(Config::to(&sink.endpoint()), "wasm/before").filter("trap", &keys);
        let sluicegate = Sluicegate::start(&sound(config, "wasm/after").yaml()).await.expect("it starts");
        let poison = otlp::request([otlp::record(9, "poison")]);
        let mut loops = JoinSet::new();
        // Twice as many as there are instances.
        for _ in 0..16 {
            let (sender, poison) = (sluicegate.sender(), poison.clone());
            loops.spawn(async move { sender.send_logs(&poison).await.is_ok() });
        }
        let under_way = async || sluicegate.page().await.is_ok_and(|page| page.gauge("receiver_in_flight_bytes") > 0);
        until("calls that loop", under_way).await;
        for _ in 0..3 {
            check_others(on_failure, &sluicegate).await;
        }
        let passed = loops.join_all().await.into_iter().filter(|passed| *passed).count();
        assert_eq!(passed, if on_failure == "pass" { 16 } else { 0 }, "{on_failure}");
        assert_eq!(otlp::count(&sink.logs()), 3 + passed, "{on_failure}");
        let page = sluicegate.page().await.expect("a page of metrics");
        check_sound(on_failure, &page, 3 + passed as u64);
        let failures = page.sum("filter_failures", &[("processor", "wasm/trap"), ("kind", "deadline")]);
        assert!(failures >= 16, "{on_failure}: {failures}");
    }
}

#[tokio::test]
async fn sleep_is_time() {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).filter("uses_wasi", &format!("deadline: 1s, {LIMITS}"));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    // Two records make it sleep for an hour; each alone does not.
    let sender = sluicegate.sender();
    let asleep = tokio::spawn(async move {
        sender.send_logs(&otlp::request([otlp::record(9, "one"), otlp::record(9, "two")])).await
    });
    while !asleep.is_finished() {
        check_others("it sleeps", &sluicegate).await;
    }
    asleep.await.expect("no panic").expect("each record is filtered");
    let page = sluicegate.page().await.expect("a page of metrics");
    assert_eq!(page.sum("filter_failures", &[("kind", "deadline")]), 1, "{page:?}");
}

#[tokio::test]
async fn a_flood_of_lines_is_thinned_out_and_its_rest_told() {
    const LINES: u64 = 100_000;
    let sink = Sink::start();
    let keys = format!("settings: {{ how: log_flood, times: {LINES}, body: poison }}, {LIMITS}");
    let config = Config::to(&sink.endpoint()).filter("trap", &keys);
    let mut sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let flood = otlp::request([otlp::record(9, "poison")]);
    sluicegate.sender().send_logs(&flood).await.expect("it is no failure");
    check_others("after the flood", &sluicegate).await;
    let suppressed = async || {
        let page = sluicegate.page().await.expect("a page of metrics");
        page.sum("filter_suppressed_log_lines", &[("processor", "wasm/trap")])
    };
    let suppressed = suppressed().await;
    // Without a further line it is told how many they were.
    let told = |line: &str| {
        let (_, rest) = line.split_once("\"message\":\"")?;
        rest.split_once(" lines of this filter were left out")?.0.parse::<u64>().ok()
    };
    sluicegate.process().wait_for_line(told).await.expect("it is told");
    let log = sluicegate.process().log();
    let written = log.lines().filter(|line| line.contains(" of a flood")).count() as u64;
    assert_eq!(written + suppressed, LINES, "{suppressed} are counted");
    assert!((100..LINES / 10).contains(&written), "{written}");
}

#[tokio::test]
async fn what_can_not_start_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let importing = folder.path().join("importing.wasm");
    let name = "wasi:http/types@0.2.0";
    // One type, an instance without content; one import, an instance of it.
    let import = [&[1, 0, name.len() as u8], name.as_bytes(), &[5, 0]].concat();
    let sections = [&b"\0asm\x0d\0\x01\0\x07\x03\x01\x42\0\x0a"[..], &[import.len() as u8], &import].concat();
    fs::write(&importing, sections).expect("a file");
    let trap = sluicegate_tests::component("trap");
    for (component, settings, expected) in [
        (&importing, "", "it imports `wasi:http/types@0.2.0`, which isn't offered"),
        (&trap, "how: loop, at: configure", "the filter took longer than its deadline of 5s"),
        (&trap, "how: grow_memory, at: configure", "over its limit of 16 MiB (`memory_limit_mib`)"),
        (&trap, "how: stack_overflow, at: configure", "the filter trapped: call stack exhausted"),
    ] {
        let keys = format!("component: {component:?}, settings: {{ {settings} }}, {LIMITS}");
        let config = Config::to("http://127.0.0.1:1").processor("wasm/hostile", &keys);
        let (_folder, file) = program::write(&config.yaml()).expect("a file");
        let ended = sluicegate(&["run", "--config", file.to_str().expect("a path in UTF-8")]).await.expect("it runs");
        assert_eq!(ended.code, Some(2), "{expected}: {}", ended.log);
        assert!(ended.log.contains(expected), "{expected}: {}", ended.log);
    }
}
