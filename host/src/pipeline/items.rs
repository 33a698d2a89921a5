//! Counts spans, data points and profiles, for senders that are told how many of them were refused.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::receive::{Request, Signal};

/// How many log records, spans, data points or profiles `request` holds, in the terms of its signal's partial success.
/// Nothing but the way to them is looked at; what comes after something malformed is not counted.
pub(super) fn count(request: &Request) -> u64 {
    // Resources, their scopes, what these hold.
    let way: &[&[u32]] = match request.signal {
        Signal::Logs | Signal::Traces | Signal::Profiles => &[&[1], &[2], &[2]],
        // And the points of a gauge, a sum, a histogram, an exponential histogram or a summary.
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
    };
    count_fields(&request.body, way)
}

/// How many fields there are at the end of `way`, which has the numbers of the fields that lead there.
fn count_fields(mut message: &[u8], way: &[&[u32]]) -> u64 {
    let Some((numbers, rest)) = way.split_first() else { return 1 };
    let mut found = 0;
    while !message.is_empty() {
        let Ok((number, wire)) = decode_key(&mut message) else { break };
        if wire == WireType::LengthDelimited && numbers.contains(&number) {
            let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
            let Some((field, after)) = length.and_then(|length| message.split_at_checked(length)) else { break };
            found += count_fields(field, rest);
            message = after;
        } else if skip_field(wire, number, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
    found
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
