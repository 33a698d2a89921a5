use std::io::Read as _;

use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1::LogRecord};
use prost::Message as _;

use super::*;

/// The log records of a prepared request, by prost.
fn decode(prepared: &Prepared, compression: Compression) -> Vec<LogRecord> {
    let (prefix, content) = prepared.body.split_at(5);
    assert_eq!(prefix[0], u8::from(compression != Compression::None));
    assert_eq!(prefix[1..], u32::try_from(content.len()).expect("short").to_be_bytes());
    let mut message = Vec::new();
    match compression {
        Compression::None => message.extend_from_slice(content),
        Compression::Gzip => {
            flate2::read::GzDecoder::new(content).read_to_end(&mut message).expect("it is gzip");
        }
        Compression::Zstd => message = zstd::decode_all(content).expect("it is zstd"),
    }
    assert_eq!(message.len(), prepared.message_bytes);
    let request = ExportLogsServiceRequest::decode(&*message).expect("prost encoded it");
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

#[test]
fn requests_are_as_asked() {
    let check = |shape: Shape| {
        let workload = Workload::new(shape);
        assert!(workload.requests().len() >= FEWEST);
        for prepared in workload.requests() {
            let records = decode(prepared, shape.compression);
            assert_eq!((records.len(), prepared.records), (shape.records, shape.records as u64), "{shape:?}");
            for record in &records {
                let body = record.body.as_ref().map(|body| body.encoded_len()).expect("a body");
                // An `AnyValue` of text: a tag, the length, the text.
                assert_eq!(body, 1 + prost::length_delimiter_len(shape.body_bytes) + shape.body_bytes);
                assert_eq!(record.attributes.len(), shape.attributes + usize::from(shape.unread_bytes > 0));
            }
            let below_info = records.iter().filter(|record| record.severity_number < 9).count() as u64;
            assert_eq!(prepared.from_info, prepared.records - below_info);
            assert!(prepared.without_health_checks <= prepared.from_info);
        }
    };
    let shape = Shape::default();
    check(shape);
    check(Shape { records: 1, attributes: 0, body_bytes: 10, ..shape });
    check(Shape { records: 10, attributes: 14, body_bytes: 1_000, ..shape });
    check(Shape { unread_bytes: 4_096, ..shape });
    check(Shape { records: 1_001, compression: Compression::Gzip, ..shape });
    check(Shape { records: 8_000, compression: Compression::Zstd, ..shape });
}

#[test]
fn records_are_of_the_usual_size_and_mix() {
    let shape = Shape { records: 1_000, ..Shape::default() };
    let workload = Workload::new(shape);
    let first = &workload.requests()[0];
    let records = decode(first, shape.compression);
    let bytes = records.iter().map(prost::Message::encoded_len).sum::<usize>() as f64 / 1_000.0;
    assert!((456.0..476.0).contains(&bytes), "{bytes} bytes a record");
    assert_eq!(first.from_info, 750, "a quarter is below INFO");
    assert!((650..740).contains(&first.without_health_checks), "{}", first.without_health_checks);
    let has = |text: &str| records.iter().filter(|record| format!("{:?}", record.body).contains(text)).count();
    assert!((60..150).contains(&has("@example.com")), "{}", has("@example.com"));
    assert!((25..80).contains(&has("4111 1111")), "{}", has("4111 1111"));
    assert!(has_personal_data(&first.body) && !has_personal_data(b"for user [redacted]"));
    let traced = records.iter().filter(|record| record.trace_id.len() == 16).count();
    assert!((400..600).contains(&traced), "{traced}");
}

#[test]
fn a_seed_gives_the_same_requests_again() {
    let bodies = |seed| {
        let workload = Workload::new(Shape { seed, ..Shape::default() });
        workload.requests().iter().map(|prepared| prepared.body.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(7), bodies(7));
    assert_ne!(bodies(7), bodies(8));
    let mut distinct = bodies(7);
    distinct.dedup();
    assert_eq!(distinct.len(), DISTINCT);
}
