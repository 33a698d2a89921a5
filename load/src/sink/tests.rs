use std::{io::Write as _, time::Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;

use super::{message::Incoming, *};
use crate::{
    measured::Measured,
    sender::{Mode, Plan, tests::send},
    workload::{Compression, Shape, Workload},
};

/// Sends to a sink for a moment, one request at a time on each connection.
fn load(sink: &Sink, shape: Shape) -> Measured {
    send(sink, shape, |plan| Plan { mode: Mode::Closed { in_flight: 1 }, ..plan })
}

#[test]
fn a_message_is_counted_in_pieces_of_any_size_and_kept() {
    let gzip = |content: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    };
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let shape = Shape { records: 30, compression, ..Shape::default() };
        let workload = Workload::new(shape);
        let body = &workload.requests()[0].body;
        for size in [1, 3, 1_000, body.len()] {
            let mut message = Incoming::new(compression.name(), true).expect("a known encoding");
            body.chunks(size).try_for_each(|piece| message.push(Bytes::copy_from_slice(piece))).expect("it is sound");
            let (records, bytes, content) = message.finish().expect("it is whole");
            assert_eq!((records, bytes), (30, body.len() as u64 - 5), "{compression:?} by {size}");
            let request = ExportLogsServiceRequest::decode(&*content.message().expect("it was compressed"));
            assert_eq!(request.expect("it was encoded").resource_logs.len(), 1);
        }
    }
    let check = |encoding: Option<&str>, bytes: &[u8]| {
        let counted = Incoming::new(encoding, false).and_then(|mut message| {
            message.push(Bytes::copy_from_slice(bytes))?;
            message.finish()
        });
        assert!(counted.is_err(), "{encoding:?}, {bytes:?}");
    };
    check(None, &[]);
    check(None, &[0, 0, 0]);
    check(None, &[0, 0, 0, 0, 9, 1]);
    check(None, &[0, 0, 0, 0, 2, 10, 9]);
    check(Some("br"), &[0; 5]);
    check(Some("zstd"), &[1, 0, 0, 0, 2, 1, 2]);
    let truncated = gzip(&[18, 0]);
    let truncated = [&[1, 0, 0, 0, 4], &truncated[..4]].concat();
    check(Some("gzip"), &truncated);
}

#[test]
fn the_last_request_can_be_looked_at() {
    let sink = Sink::start(SinkOptions { keeps_last: true, ..SinkOptions::default() }).expect("a port");
    assert!(sink.last().expect("nothing is compressed").is_empty());
    load(&sink, Shape { compression: Compression::Gzip, ..Shape::default() });
    let last = ExportLogsServiceRequest::decode(&*sink.last().expect("it is gzip")).expect("it is a request");
    assert_eq!(last.resource_logs.len(), 2, "100 records of two containers");
}

#[test]
fn a_slow_sink_takes_its_time() {
    let delay = Duration::from_millis(20);
    let sink = Sink::start(SinkOptions { delay, ..SinkOptions::default() }).expect("a port");
    assert!(load(&sink, Shape::default()).latency.p50_us >= 20_000.0);

    let rate = 4 << 20;
    let sink = Sink::start(SinkOptions { bytes_per_second: Some(rate), ..SinkOptions::default() }).expect("a port");
    let start = Instant::now();
    let measured = load(&sink, Shape::default());
    assert!(measured.records_at_sink > 0);
    let least = Duration::from_secs_f64(measured.bytes_at_sink as f64 / rate as f64);
    assert!(start.elapsed() >= least, "{} bytes in {:?}", measured.bytes_at_sink, start.elapsed());
}
