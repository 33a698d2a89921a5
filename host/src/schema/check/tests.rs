use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use proptest::prelude::*;
use prost::{DecodeError, Message as _};

use super::*;
use crate::schema::generate::Generator;

/// Whether prost decodes a request.
fn decoded(signal: Signal, body: &[u8]) -> Result<(), DecodeError> {
    match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(body).map(drop),
        Signal::Traces => ExportTraceServiceRequest::decode(body).map(drop),
        Signal::Metrics => ExportMetricsServiceRequest::decode(body).map(drop),
        Signal::Profiles => ExportProfilesServiceRequest::decode(body).map(drop),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn any_request_passes(seed in 1_u64..) {
        for signal in Signal::ALL {
            let body = Generator::new(seed).message(Schema::get().request(signal), 0);
            prop_assert_eq!(check(signal, &body), Ok(()));
        }
    }

    #[test]
    fn a_changed_request_passes_where_prost_decodes_it(seed in 1_u64.., at: prop::sample::Index, to: u8, cut: bool) {
        for signal in Signal::ALL {
            let mut body = Generator::new(seed).message(Schema::get().request(signal), 0);
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = to;
                body.truncate(if cut { at + 1 } else { body.len() });
            }
            let (ours, prosts) = (check(signal, &body), decoded(signal, &body));
            prop_assert_eq!(ours.is_ok(), prosts.is_ok(), "{}: {:?} {:?} {:?}", signal, body, ours, prosts);
        }
    }

    #[test]
    fn any_bytes_pass_where_prost_decodes_them(body in prop::collection::vec(0_u8..0x40, 0..40)) {
        for signal in Signal::ALL {
            prop_assert_eq!(check(signal, &body).is_ok(), decoded(signal, &body).is_ok(), "{}: {:?}", signal, body);
        }
    }
}

#[track_caller]
fn refused(signal: Signal, body: &[u8], offset: usize, reason: &str) {
    assert_eq!(check(signal, body), Err(Malformed { offset, reason: reason.to_owned() }));
}

#[test]
fn a_refusal_says_where_and_what() {
    refused(
        Signal::Traces,
        &[0x08, 1],
        0,
        "ExportTraceServiceRequest: resource_spans has the wire type Varint, where LengthDelimited is due",
    );
    refused(
        Signal::Metrics,
        &[0x0a, 5],
        0,
        "ExportMetricsServiceRequest: resource_metrics runs past the end of the message",
    );
    refused(Signal::Traces, &[0x0a, 4, 0x1a, 2, b'a', 0xff], 5, "ResourceSpans: schema_url is not UTF-8");
    refused(Signal::Traces, &[0x14], 0, "ExportTraceServiceRequest: group 2 ends but never began");
    refused(Signal::Traces, &[0x13, 0x1c], 1, "ExportTraceServiceRequest: group 2 ends as group 3");
    refused(Signal::Traces, &[0x10], 0, "ExportTraceServiceRequest: field 2 runs past the end of the message");
}

/// An array in an array, `levels` times.
fn nested(levels: usize) -> Vec<u8> {
    let field = |key: u8, content: &[u8]| {
        let mut bytes = vec![key];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend(content);
        bytes
    };
    let value = (0..levels).fold(Vec::new(), |value, _| field(0x2a, &field(0x0a, &value)));
    // An attribute of the resource of the only element.
    field(0x0a, &field(0x0a, &field(0x0a, &field(0x12, &value))))
}

#[test]
fn what_is_nested_without_end_is_refused() {
    // Four messages are around the values.
    let most = (MAX_DEPTH as usize - 4) / 2;
    assert_eq!(check(Signal::Traces, &nested(most)), Ok(()));
    for levels in [most + 1, 100_000] {
        let error = check(Signal::Traces, &nested(levels)).unwrap_err();
        assert!(error.reason.ends_with("is nested more than 64 messages deep"), "{error}");
    }
    let error = check(Signal::Traces, &[0x13; 100_000]).unwrap_err();
    assert!(error.reason.ends_with("is nested more than 64 deep"), "{error}");
}
