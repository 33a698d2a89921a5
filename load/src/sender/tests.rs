use super::*;
use crate::{
    sink::SinkOptions,
    workload::{Compression, Shape},
};

/// Sends straight to `sink` for a moment. What is not said is a closed loop over two connections.
pub(crate) fn send(sink: &Sink, shape: Shape, change: impl FnOnce(Plan<'_>) -> Plan<'_>) -> Measured {
    let workload = Workload::new(shape);
    let plan = Plan {
        target: sink.address(),
        workload: &workload,
        kept: Kept::All,
        connections: 2,
        mode: Mode::Closed { in_flight: 2 },
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(200),
        patience: PATIENCE,
    };
    super::run(&change(plan), Some(Subject { pid: std::process::id() }), sink).expect("it runs")
}

/// The same to a new one.
fn run(shape: Shape, options: SinkOptions, change: impl FnOnce(Plan<'_>) -> Plan<'_>) -> (Measured, Sink) {
    let sink = Sink::start(options).expect("a port");
    (send(&sink, shape, change), sink)
}

#[test]
fn all_that_is_acknowledged_arrives() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for records in [1, 100, 2_000] {
            let shape = Shape { records, compression, ..Shape::default() };
            let (measured, sink) = run(shape, SinkOptions::default(), |plan| plan);
            assert!(measured.records_sent > 0 && measured.records_per_second > 0.0);
            assert_eq!(measured.refused, Default::default());
            assert_eq!(measured.records_accepted, measured.records_sent);
            assert_eq!((measured.missing(), measured.surplus()), (0, 0));
            assert_eq!(measured.records_at_sink, measured.requests_at_sink * records as u64);
            assert_eq!(sink.taken().invalid, 0);
            assert!(measured.latency.count > 0 && measured.peak_rss_bytes > Some(0));
        }
    }
}

#[test]
fn an_open_loop_sends_and_measures_what_is_due() {
    let (measured, _) =
        run(Shape::default(), SinkOptions::default(), |plan| Plan { mode: Mode::Open { rate: 500.0 }, ..plan });
    assert_eq!(measured.refused, Default::default());
    assert_eq!((measured.missing(), measured.surplus()), (0, 0));
    assert!((1..=measured.requests_sent).contains(&measured.latency.count), "{:?}", measured.latency);
}

#[test]
fn an_open_loop_charges_for_all_that_a_stall_keeps_waiting() {
    let options = SinkOptions { answers: false, ..SinkOptions::default() };
    let patience = Duration::from_millis(100);
    let (measured, _) =
        run(Shape::default(), options, |plan| Plan { mode: Mode::Open { rate: 10_000.0 }, patience, ..plan });
    // More than may be under way are due, and none is left out.
    let unanswered = measured.refused["unanswered"];
    assert_eq!(unanswered, measured.requests_sent);
    assert!(measured.refused["unsent"] > 0);
    assert_eq!(measured.records_accepted, 0);
    assert_eq!(measured.latency.count, unanswered + measured.refused["unsent"]);
    assert!(measured.latency.p50_us >= 100_000.0, "{:?}", measured.latency);
}

#[test]
fn refused_requests_are_counted_by_status() {
    let options = SinkOptions { failures: 0.25, ..SinkOptions::default() };
    let (measured, sink) = run(Shape::default(), options, |plan| plan);
    let refused = measured.refused["UNAVAILABLE"];
    assert_eq!(refused, sink.taken().refused);
    assert_eq!(refused, measured.requests_sent / 4);
    assert_eq!(measured.records_accepted, (measured.requests_sent - refused) * 100);
    assert_eq!(measured.missing(), 0);
}

#[test]
fn what_is_dropped_on_the_way_is_missed() {
    // A sink keeps everything, so records that a filter would have dropped are too many.
    let (measured, _) = run(Shape::default(), SinkOptions::default(), |plan| Plan { kept: Kept::FromInfo, ..plan });
    assert_eq!((measured.missing(), measured.surplus()), (0, measured.records_accepted / 4));
    let missing = Measured { records_at_sink: measured.records_expected.expect("known") - 7, ..measured };
    assert_eq!(missing.missing(), 7);
}

#[test]
fn no_other_machine_is_loaded() {
    let sink = Sink::start(SinkOptions::default()).expect("a port");
    let workload = Workload::new(Shape::default());
    let plan = Plan {
        target: "192.0.2.1:4317".parse().expect("an address"),
        workload: &workload,
        kept: Kept::All,
        connections: 1,
        mode: Mode::Closed { in_flight: 1 },
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
        patience: PATIENCE,
    };
    assert!(matches!(super::run(&plan, None, &sink), Err(RunError::Elsewhere(_))));
}
