use bytes::Bytes;
use tonic::Code;

use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    Answer { status, headers: map, body: Some(body.into()), trailers: None }
}

const PROTO: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const HTML: (&str, &str) = ("content-type", "text/html");

#[track_caller]
fn check_taken(form: (&'static str, &str), body: impl Into<Bytes>, expected: Option<(i64, &str)>) {
    let response = read(answer(200, &[form], body)).unwrap();
    let partial = response.partial_success.map(|partial| (partial.rejected, partial.error_message));
    assert_eq!(partial, expected.map(|(rejected, text)| (rejected, text.to_owned())));
}

fn partial(rejected: i64, text: &str) -> Vec<u8> {
    warning(text.to_owned())
        .partial_success
        .map(|partial| PartialSuccess { rejected, ..partial })
        .map_or_else(Vec::new, |partial| Response { partial_success: Some(partial) }.encode_to_vec())
}

#[test]
fn a_partial_success_is_read_in_either_form() {
    for form in [PROTO, JSON, HTML] {
        check_taken(form, "", None);
    }
    check_taken(PROTO, partial(3, "too old"), Some((3, "too old")));
    check_taken(PROTO, partial(0, ""), None);
    check_taken(JSON, "{}", None);
    check_taken(JSON, r#"{"partialSuccess": {}}"#, None);
    check_taken(JSON, r#"{"partialSuccess": null}"#, None);
    for name in ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints", "rejectedProfiles", "rejected_spans"] {
        for number in ["3", "\"3\""] {
            let text = format!(r#"{{"partialSuccess": {{"{name}": {number}, "errorMessage": "too old"}}}}"#);
            check_taken(JSON, text, Some((3, "too old")));
        }
    }
    check_taken(JSON, r#"{"partial_success": {"error_message": "old schema"}}"#, Some((0, "old schema")));
    check_taken(HTML, "<p>OK</p>", None);
}

/// The destination has said that it took everything, so nothing may make the sender try again.
#[test]
fn what_was_taken_stays_taken_whatever_else_is_said() {
    let warned = |answer| read(answer).unwrap().partial_success.unwrap();
    for (form, body) in [(PROTO, "\u{1}"), (JSON, "{"), (JSON, "OK")] {
        let warning = warned(answer(202, &[form], body));
        assert!(warning.rejected == 0 && warning.error_message.starts_with("not an OTLP response"), "{warning:?}");
    }
    let warning = warned(Answer { body: None, ..answer(200, &[JSON], "") });
    assert_eq!((warning.rejected, &*warning.error_message), (0, "the answer is larger than 4194304 bytes"));
    let warning = warned(answer(200, &[JSON, ("content-encoding", "gzip")], "{}"));
    assert!(warning.error_message.starts_with("the answer is not gzip"), "{warning:?}");
    let compressed = crate::compression::compress(Encoding::Gzip, None, &partial(1, "one"));
    let warning = warned(answer(200, &[PROTO, ("content-encoding", "gzip")], compressed));
    assert_eq!((warning.rejected, &*warning.error_message), (1, "one"));
}

#[track_caller]
fn check_refused(answer: Answer, code: Code, message: &str) {
    match read(answer).unwrap_err() {
        Cause::Refused(status) => assert_eq!((status.code(), status.message()), (code, message)),
        other => panic!("{other}"),
    }
}

#[test]
fn the_destinations_own_words_are_passed_on() {
    let status = |message: &str| pb::Status { code: 3, message: message.to_owned(), details: Vec::new() };
    let proto = status("no such tenant").encode_to_vec();
    check_refused(answer(400, &[PROTO], proto), Code::InvalidArgument, "HTTP 400 Bad Request: no such tenant");
    let json = r#"{"code": 14, "message": "restarting", "details": []}"#;
    check_refused(answer(503, &[JSON], json), Code::Unavailable, "HTTP 503 Service Unavailable: restarting");
    check_refused(answer(403, &[HTML], " not yours\n"), Code::PermissionDenied, "HTTP 403 Forbidden: not yours");
    check_refused(answer(400, &[JSON], "no JSON"), Code::InvalidArgument, "HTTP 400 Bad Request: no JSON");
    check_refused(answer(400, &[PROTO], "no proto"), Code::InvalidArgument, "HTTP 400 Bad Request");
    check_refused(answer(500, &[], ""), Code::Internal, "HTTP 500 Internal Server Error");
    check_refused(Answer { body: None, ..answer(500, &[], "") }, Code::Internal, "HTTP 500 Internal Server Error");
    let long = "é".repeat(MAX_TEXT);
    let cut = format!("HTTP 418 I'm a teapot: {}", &long[..MAX_TEXT]);
    check_refused(answer(418, &[HTML], long), Code::InvalidArgument, &cut);
}

#[test]
fn redirects_are_not_followed_and_said_to_be_none() {
    let moved = answer(307, &[("location", "https://elsewhere/v1/logs")], "");
    let message = "HTTP 307 Temporary Redirect to \"https://elsewhere/v1/logs\": \
                   redirects are not followed, configure where they lead";
    check_refused(moved, Code::FailedPrecondition, message);
}
