//! Finds and counts what a request holds, on the wire: decoded, the same may take a hundred times the memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::receive::{Request, Signal};

/// The numbers of the fields that lead to log records, spans, metrics and profiles: resources, their scopes, what
/// these hold.
const RECORDS: [&[u32]; 3] = [&[1], &[2], &[2]];

/// The same, to the points of a gauge, a sum, a histogram, an exponential histogram or a summary.
const POINTS: [&[u32]; 5] = [&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]];

/// How many log records, spans, data points or profiles `request` holds, in the terms of its signal's partial success.
/// Nothing but the way to them is looked at; what comes after something malformed is not counted.
pub(crate) fn count(request: &Request) -> u64 {
    number(request, if request.signal == Signal::Metrics { &POINTS } else { &RECORDS })
}

/// How many log records, spans, metrics or profiles `request` holds.
pub(crate) fn records(request: &Request) -> u64 {
    number(request, &RECORDS)
}

/// How many resources `request` holds.
pub(crate) fn resources(request: &Request) -> u64 {
    number(request, &RECORDS[..1])
}

/// Shows the bytes of each log record, span, metric or profile of `request` to `visit`.
pub(crate) fn each_record(request: &Request, mut visit: impl FnMut(&[u8])) {
    walk(&request.body, &RECORDS, &mut visit);
}

fn number(request: &Request, way: &[&[u32]]) -> u64 {
    let mut found = 0;
    walk(&request.body, way, &mut |_| found += 1);
    found
}

/// Visits the fields at the end of `way`, which has the numbers of the fields that lead there.
fn walk(mut message: &[u8], way: &[&[u32]], visit: &mut impl FnMut(&[u8])) {
    let Some((numbers, rest)) = way.split_first() else { return visit(message) };
    while !message.is_empty() {
        let Ok((number, wire)) = decode_key(&mut message) else { break };
        if wire == WireType::LengthDelimited && numbers.contains(&number) {
            let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
            let Some((field, after)) = length.and_then(|length| message.split_at_checked(length)) else { break };
            walk(field, rest, visit);
            message = after;
        } else if skip_field(wire, number, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[track_caller]
    fn check(signal: Signal, document: &str, expected: u64) {
        let body = json::from_json(signal, &serde_json::from_str(document).unwrap()).unwrap();
        assert_eq!(count(&Request::new(signal, body)), expected, "{document}");
    }

    #[test]
    fn items_are_counted_and_nothing_else() {
        let logs = r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}, {"severityNumber": 9}]}]}, {}]}"#;
        check(Signal::Logs, logs, 2);
        let spans = r#"{"resourceSpans": [{"resource": {"attributes": [{"key": "a"}]}, "scopeSpans": [
            {"scope": {"name": "s"}, "spans": [{"name": "a", "events": [{}, {}]}]}, {"spans": [{"name": "b"}]}]}]}"#;
        check(Signal::Traces, spans, 2);
        let metrics = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "a", "gauge": {"dataPoints": [{"asInt": 1}, {"asInt": 2}]}},
            {"name": "b", "sum": {"dataPoints": [{"asInt": 1}]}},
            {"name": "c", "histogram": {"dataPoints": [{"count": 1}]}},
            {"name": "d", "exponentialHistogram": {"dataPoints": [{"count": 1}]}},
            {"name": "e", "summary": {"dataPoints": [{"count": 1}]}},
            {"name": "f"}]}]}]}"#;
        check(Signal::Metrics, metrics, 6);
        check(Signal::Profiles, r#"{"resourceProfiles": [{"scopeProfiles": [{"profiles": [{}, {}, {}]}]}]}"#, 3);
        for signal in Signal::ALL {
            check(signal, "{}", 0);
        }
    }

    #[test]
    fn what_is_cut_off_ends_the_count() {
        let body = [0x0a, 0x7f, 0x12, 0x02].as_slice().into();
        assert_eq!(count(&Request::new(Signal::Traces, body)), 0);
    }
}
