//! What comes in leaves as it was, and what is malformed goes nowhere.
use bytes::Bytes;
use prost::Message as _;
use sluicegate_tests::{
    client::{Client, Protocol},
    config::Config,
    otlp,
    program::Sluicegate,
    sink::Sink,
    wire::Signal,
};
use tonic::{Code, codec::CompressionEncoding};

/// A request with what a re-encoder would lose: a field of the future in every message, fields out of order,
/// a length of more bytes than it needs, an empty scope.
fn odd(signal: Signal) -> Vec<u8> {
    let unknown = [0xfa, 0x7d, 0x03, b'n', b'e', b'w'];
    let message = |field: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u8::try_from(body.len()).expect("short enough");
        // Lengths are written in two bytes, of which the second adds nothing.
        [&[field << 3 | 2, length & 0x7f | 0x80, length >> 7], &body[..]].concat()
    };
    let time = |field: u8| [field << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8];
    let record = match signal {
        Signal::Logs => [&message(5, &[&message(1, &[b"hello"]), &unknown])[..], &unknown, &time(1)].concat(),
        Signal::Traces => [&message(5, &[b"GET /"])[..], &unknown, &time(7)].concat(),
        Signal::Metrics => [&message(3, &[b"ms"])[..], &unknown, &message(1, &[b"latency"])].concat(),
        Signal::Profiles => unknown.to_vec(),
    };
    let scope = message(1, &[&unknown, &message(1, &[b"odd"])]);
    let scopes = [message(2, &[&message(2, &[&record]), &scope]), message(2, &[])].concat();
    let resource = message(1, &[&unknown]);
    [message(1, &[&scopes, &resource, &unknown]), unknown.to_vec()].concat()
}

#[tokio::test]
async fn requests_of_every_signal_pass_byte_for_byte() {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).profiles().filter("drop_below_severity", "settings: { minimum: INFO }");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let mut expected = Vec::new();
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let sender = encoding.into_iter().fold(sluicegate.sender(), |sender, encoding| sender.compressed(encoding));
        for signal in Signal::ALL {
            // Requests back to back are one.
            for body in [odd(signal), odd(signal).repeat(5_000)] {
                let answer = sender.send(signal, body.clone()).await.expect("it is taken");
                assert!(answer.is_empty(), "full success is an empty message: {answer:?}");
                expected.push((signal, Bytes::from(body)));
            }
        }
    }
    let taken: Vec<_> = sink.taken().into_iter().map(|received| (received.signal, received.body)).collect();
    assert!(taken == expected, "what was forwarded differs from what was sent");
}

#[tokio::test]
async fn an_empty_request_succeeds_and_nothing_is_forwarded() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    let empty = otlp::request([]).encode_to_vec();
    for body in [Vec::new(), empty] {
        let answer = sluicegate.sender().send(Signal::Logs, body).await.expect("it is taken");
        assert!(answer.is_empty());
    }
    assert!(sink.taken().is_empty(), "{:?}", sink.taken());
}

/// Malformed requests are refused for good, say at which byte, and reach nobody.
#[tokio::test]
async fn malformed_requests_are_refused_and_nothing_is_forwarded() {
    let whole = otlp::request([otlp::record(9, "one"), otlp::record(9, "two")]).encode_to_vec();
    let cut = whole[..whole.len() - 3].to_vec();
    let no_utf8 = {
        let at = whole.windows(3).position(|bytes| bytes == b"two").expect("the body is in there");
        let mut bytes = whole.clone();
        bytes[at] = 0xff;
        bytes
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("cut off", cut),
        ("a string that is not UTF-8", no_utf8),
        ("a wire type that does not exist", vec![0x0f]),
        ("a resource that is a number", vec![0x08, 0x01]),
        ("text", b"{\"resourceLogs\":[]}".to_vec()),
    ];
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).profiles().yaml()).await.expect("it starts");
    for (what, body) in cases {
        let status = sluicegate.sender().send(Signal::Logs, body).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        let says = status.message().split_once("at byte ").and_then(|(_, rest)| rest.chars().next());
        assert!(says.is_some_and(|digit| digit.is_ascii_digit()), "{what}: {status:?}");
    }
    assert!(sink.taken().is_empty(), "{:?}", sink.taken());
    for signal in [Signal::Traces, Signal::Metrics, Signal::Profiles] {
        let whole = odd(signal);
        for body in [&whole[..whole.len() - 3], &[0x0f], &[0x08, 0x01]] {
            let status = sluicegate.sender().send(signal, body.to_vec()).await.expect_err("it is malformed");
            assert_eq!(status.code(), Code::InvalidArgument, "{signal:?}: {status:?}");
        }
    }
    assert!(sink.taken().is_empty(), "{:?}", sink.taken());
    let answer = sluicegate.sender().send(Signal::Logs, whole).await;
    assert!(answer.is_ok(), "what is well-formed is still taken: {answer:?}");
}

/// The whole program and each of its services say so, without OTLP's help.
#[tokio::test]
async fn health_is_answered_beside_otlp() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    let client = Client::new(sluicegate.grpc(), Protocol::Http2);
    let service = "opentelemetry.proto.collector.logs.v1.LogsService";
    let length = u8::try_from(service.len()).expect("short enough");
    let of_service = [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat();
    for asked in [vec![0; 5], of_service] {
        let of_grpc = [("content-type", "application/grpc")];
        let answer = client.post("/grpc.health.v1.Health/Check", &of_grpc, asked).await.expect("an answer");
        // A message that says: serving.
        assert_eq!((answer.status, &answer.body[..]), (200, &[0, 0, 0, 0, 2, 0x08, 1][..]), "{answer:?}");
    }
}

/// A record whose trace or span id has a wrong length is one without; it is neither refused nor changed.
#[tokio::test]
async fn ids_of_a_wrong_length_fail_nothing() {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).filter("drop_below_severity", "settings: { minimum: INFO }");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let mut records = [otlp::record(9, "short"), otlp::record(9, "long"), otlp::record(5, "dropped")];
    (records[0].trace_id, records[0].span_id) = (vec![1; 3], vec![2; 7]);
    (records[1].trace_id, records[1].span_id) = (vec![3; 17], vec![4; 64]);
    let answer = sluicegate.sender().send_logs(&otlp::request(records.clone())).await.expect("it is taken");
    assert_eq!(answer.partial_success, None);
    assert_eq!(sink.logs(), [otlp::request(records[..2].to_vec())]);
}
