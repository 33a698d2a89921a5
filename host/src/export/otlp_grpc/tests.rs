use super::*;
use crate::{compression::compress, receive::PartialSuccess};

fn answer(headers: &[(&'static str, &str)], body: impl Into<Bytes>, trailers: &[(&'static str, &str)]) -> Answer {
    let map = |fields: &[(&'static str, &str)]| {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    };
    Answer { status: StatusCode::OK, headers: map(headers), body: Some(body.into()), trailers: Some(map(trailers)) }
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];

/// An answer without a word, as it is framed.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

/// What was read: an answer, a code and a message, or what happened on the way.
fn check(answer: Answer, expected: Result<Response, Result<(Code, &str), &str>>) {
    match (read(answer), expected) {
        (Ok(response), Ok(expected)) => assert_eq!(response, expected),
        (Err(Cause::Refused(status)), Err(Ok(expected))) => assert_eq!((status.code(), status.message()), expected),
        (Err(Cause::Unreachable(reason)), Err(Err(expected))) => assert_eq!(reason, expected),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn the_status_decides() {
    check(answer(&[], EMPTY, OK), Ok(Response::default()));
    let busy = &[("grpc-status", "8"), ("grpc-message", "too%20much")];
    check(answer(&[], "", busy), Err(Ok((Code::ResourceExhausted, "too much"))));
    check(answer(busy, "", &[]), Err(Ok((Code::ResourceExhausted, "too much"))));
    check(answer(&[], EMPTY, busy), Err(Ok((Code::ResourceExhausted, "too much"))));
    // Details that are no base64 take nothing from the status.
    let odd = &[("grpc-status", "3"), ("grpc-status-details-bin", "!")];
    check(answer(odd, "", &[]), Err(Ok((Code::InvalidArgument, ""))));
    check(answer(&[], EMPTY, &[]), Err(Err("the answer was cut off")));
    check(answer(&[], "", OK), Err(Err("the answer has no message")));
}

#[test]
fn a_proxys_answer_is_told_from_the_destinations() {
    for (status, code, message) in [
        (400, Code::Internal, "HTTP 400 Bad Request, without a gRPC status"),
        (401, Code::Unauthenticated, "HTTP 401 Unauthorized, without a gRPC status"),
        (403, Code::PermissionDenied, "HTTP 403 Forbidden, without a gRPC status"),
        (404, Code::Unimplemented, "HTTP 404 Not Found, without a gRPC status"),
        (429, Code::Unavailable, "HTTP 429 Too Many Requests, without a gRPC status"),
        (500, Code::Unknown, "HTTP 500 Internal Server Error, without a gRPC status"),
        (502, Code::Unavailable, "HTTP 502 Bad Gateway, without a gRPC status"),
        (503, Code::Unavailable, "HTTP 503 Service Unavailable, without a gRPC status"),
        (504, Code::Unavailable, "HTTP 504 Gateway Timeout, without a gRPC status"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        check(Answer { status, ..answer(&[], "<html>", &[]) }, Err(Ok((code, message))));
    }
}

#[test]
fn answers_may_be_compressed_and_must_be_whole() {
    let partial = PartialSuccess { rejected: 2, error_message: "too old".to_owned() };
    let response = Response { partial_success: Some(partial) };
    let message = prost::Message::encode_to_vec(&response);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let compressed = compress(encoding, None, &message);
        let framed = [&head(compressed.len(), Some(encoding)).unwrap()[..], &compressed].concat();
        check(answer(&[("grpc-encoding", encoding.name())], framed.clone(), OK), Ok(response.clone()));
        let message = "the answer is compressed, and does not say how";
        check(answer(&[], framed, OK), Err(Ok((Code::Internal, message))));
    }
    let framed = [&head(message.len(), None).unwrap()[..], &message].concat();
    let none = Err(Ok((Code::Internal, "the answer is no gRPC message")));
    check(answer(&[], framed[..framed.len() - 1].to_vec(), OK), none);
    let none = Err(Ok((Code::Internal, "the answer is no gRPC message")));
    check(answer(&[], framed[..3].to_vec(), OK), none);
    let large = Err(Ok((Code::ResourceExhausted, "the answer is larger than 4194304 bytes")));
    check(Answer { body: None, ..answer(&[], framed, OK) }, large);
}

#[test]
fn a_wait_is_told_in_eight_digits() {
    for (wait, expected) in [
        (Duration::ZERO, "0u"),
        (Duration::from_millis(1500), "1500000u"),
        (Duration::from_secs(100), "100000m"),
        (Duration::from_secs(100_000), "100000S"),
        (Duration::MAX, "99999999S"),
    ] {
        let (name, value) = timeout(wait);
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("grpc-timeout", expected));
    }
}
