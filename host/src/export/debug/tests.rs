use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use tokio::time::Instant;

use super::*;

/// The last of OTLP's examples of each signal.
fn example(signal: Signal) -> Request<Payload> {
    let text = match signal {
        Signal::Logs => include_str!("../../../tests/data/otlp/logs.json"),
        Signal::Traces => include_str!("../../../tests/data/otlp/trace.json"),
        Signal::Metrics => include_str!("../../../tests/data/otlp/metrics.json"),
        Signal::Profiles => include_str!("../../../tests/data/profiles.json"),
    };
    let body = json::from_json(signal, &serde_json::from_str(text).unwrap()).unwrap();
    Request::new(signal, body).into()
}

async fn written(verbosity: Verbosity, request: Request<Payload>) -> String {
    let text = Arc::new(Mutex::new(String::new()));
    let output = Arc::clone(&text);
    let debug = Debug::with_output(verbosity, move |text| {
        output.lock().unwrap().push_str(text);
        Ok(())
    });
    debug.export(request).await.unwrap();
    let text = text.lock().unwrap();
    text.clone()
}

#[tokio::test]
async fn basic_is_a_line_a_request() {
    let mut lines = String::new();
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        lines += &written(Verbosity::Basic, example(signal)).await;
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn normal_is_a_line_a_record_too() {
    let mut lines = String::new();
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        lines += &written(Verbosity::Normal, example(signal)).await;
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn detailed_is_everything() {
    let request = example(Signal::Metrics);
    let text = written(Verbosity::Detailed, request.clone()).await;
    let (counts, document) = text.split_once('\n').unwrap();
    assert_eq!(counts, "metrics: 1 resource, 4 metrics, 4 data points");
    let read = json::from_json(Signal::Metrics, &serde_json::from_str(document).unwrap()).unwrap();
    assert_eq!(read, request.body.whole());
}

#[tokio::test]
async fn what_is_no_otlp_is_refused_and_output_that_fails_is_not_hidden() {
    let debug = Debug::with_output(Verbosity::Detailed, |_| Err(io::ErrorKind::BrokenPipe.into()));
    let request = Request::new(Signal::Logs, (&b"\x0a\x05"[..]).into());
    assert!(matches!(debug.export(request.into()).await, Err(Cause::Malformed(_))));
    assert!(matches!(debug.export(example(Signal::Logs)).await, Err(Cause::Write(_))));
}

/// Decoded, these spans take two gibibytes; compressed, they are eight kilobytes.
#[tokio::test]
async fn of_what_is_too_much_to_be_read_only_a_part_is_shown() {
    let spans = [0x12, 0].repeat(4 << 20);
    let field = |number: u32, content: &[u8]| {
        let mut message = Vec::new();
        prost::encoding::bytes::encode(number, &content.to_vec(), &mut message);
        message
    };
    let many = Request::new(Signal::Traces, field(1, &field(2, &spans)).into());
    let counts = "traces: 1 resource, 4194304 spans\n";
    assert_eq!(written(Verbosity::Basic, many.clone().into()).await, counts);
    let normal = written(Verbosity::Normal, many.clone().into()).await;
    let lines = format!("{counts}{}… and 4193304 more\n", "  \n".repeat(1000));
    assert_eq!(normal, lines);
    let detailed = written(Verbosity::Detailed, many.into()).await;
    let note = "… 8388618 bytes, of which no more than 1048576 are shown in detail\n";
    assert_eq!(detailed, format!("{counts}{note}"));

    // A single one of 70,000 attributes.
    let large = field(1, &field(2, &field(2, &[0x32, 0].repeat(70_000))));
    let normal = written(Verbosity::Normal, Request::new(Signal::Logs, large.into()).into()).await;
    assert_eq!(normal, "logs: 1 resource, 1 log record\n<140000 bytes>\n");
}

#[tokio::test]
async fn output_that_stands_still_is_waited_for_until_the_deadline() {
    let (go_on, stopped) = mpsc::channel::<()>();
    let stopped = Mutex::new(stopped);
    let debug = Debug::with_output(Verbosity::Basic, move |_| {
        let _ = stopped.lock().unwrap().recv();
        Ok(())
    });
    for _ in 0..2 {
        let deadline = Some(Instant::now() + Duration::from_millis(10));
        let answer = debug.export(Request { deadline, ..example(Signal::Logs) }).await;
        assert!(matches!(answer, Err(Cause::Timeout(_))), "{answer:?}");
    }
    drop(go_on);
    debug.export(example(Signal::Logs)).await.unwrap();
}
