//! Requests that were made to hurt. Each is answered or cut off, other senders are served meanwhile, and all of them
//! together never make the program large.
use std::{future::poll_fn, io::Write as _, net::SocketAddr};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
use http_body_util::{BodyExt as _, Full};
use prost::{Message as _, encoding::encode_varint};
use sluicegate_tests::{
    client::{Client, Protocol},
    config::Config,
    otlp, patiently,
    program::Sluicegate,
    sender::Sender,
    sink::{Answer, Sink},
    until,
    wire::Signal,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service as _, http::Request},
    transport::Endpoint,
};

/// What the program may have used of memory after all of it.
const MOST_MEMORY: usize = 200 << 20;

const GIB: usize = 1 << 30;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A running program, and a destination that takes everything.
struct Target {
    sluicegate: Sluicegate,
    sink: Sink,
}

impl Target {
    async fn start() -> Self {
        let sink = Sink::start();
        let config = Config::to(&sink.endpoint()).http("").filter("drop_below_severity", "settings: { minimum: INFO }");
        let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
        Self { sluicegate, sink }
    }

    /// Somebody else's request is taken, over either transport.
    async fn serves_others(&self) {
        let before = self.sink.logs().len();
        let record = otlp::request([otlp::record(9, "somebody else's")]);
        self.sluicegate.sender().send_logs(&record).await.expect("it is taken over gRPC");
        let status = http(self.sluicegate.http(), PROTOBUF, "identity", record.encode_to_vec()).await;
        assert_eq!(status, 200, "it is taken over HTTP");
        assert_eq!(self.sink.logs().len(), before + 2);
    }

    /// The program has never been larger than it may be, and only what `serves_others` sent has arrived.
    async fn end(self) {
        self.serves_others().await;
        let peak = self.sluicegate.peak_memory().expect("the system tells");
        assert!(peak < MOST_MEMORY, "{} MiB", peak >> 20);
        assert!(self.sink.logs().iter().all(|logs| otlp::count(std::slice::from_ref(logs)) == 1));
        let ended = self.sluicegate.stop().await.expect("it stops");
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

/// Posts a message to the logs service and returns the status.
async fn call(address: SocketAddr, encoding: &str, message: &[u8]) -> Code {
    let mut body = vec![u8::from(encoding != "identity")];
    body.extend(u32::try_from(message.len()).expect("a frame's length").to_be_bytes());
    body.extend(message);
    framed(address, encoding, body).await
}

/// The same with a frame that is made already.
async fn framed(address: SocketAddr, encoding: &str, body: Vec<u8>) -> Code {
    let request = Request::post(format!("http://{address}{}", Signal::Logs.path()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(Body::new(Full::new(Bytes::from(body))))
        .expect("it is a request");
    let mut channel = Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy();
    let answer = async {
        poll_fn(|context| channel.poll_ready(context)).await?;
        channel.call(request).await
    };
    let (head, body) = patiently("an answer", answer).await.expect("an answer").into_parts();
    let trailers = body.collect().await.expect("the whole answer").trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
    status.expect("a gRPC status").code()
}

/// Posts logs to the HTTP listener and returns the HTTP status.
async fn http(address: SocketAddr, media_type: &str, encoding: &str, body: impl Into<Bytes>) -> u16 {
    let headers = [("content-type", media_type), ("content-encoding", encoding)];
    Client::new(address, Protocol::Http1).post("/v1/logs", &headers, body).await.expect("an answer").status
}

/// A gzip stream of 10 GiB of zeros. A block that starts afresh is made once and repeated.
fn gzip_bomb() -> Vec<u8> {
    const BLOCK: usize = 64 << 20;
    let mut block = Vec::with_capacity(BLOCK / 500);
    let mut deflate = Compress::new(Compression::best(), false);
    let zeros = vec![0; BLOCK];
    while deflate.total_in() < BLOCK as u64 {
        let rest = &zeros[usize::try_from(deflate.total_in()).expect("it fits")..];
        block.reserve(1 << 16);
        deflate.compress_vec(rest, &mut block, FlushCompress::Full).expect("it is compressed");
    }
    // What an empty stream begins with is the header: ten bytes.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.flush().expect("memory takes it");
    let mut bomb = bomb.get_ref()[..10].to_vec();
    (0..10 * GIB / BLOCK).for_each(|_| bomb.extend(&block));
    bomb
}

/// A frame of Zstandard with 10 GiB of zeros in blocks that say "this byte, so many times" (RFC 8878, section
/// 3.1.1.2).
fn zstd_bomb() -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    const LAST: u32 = 1;
    const RLE: u32 = 1 << 1;
    // The magic number, a header without a content size, and a window of 8 MiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    let blocks = 10 * GIB / BLOCK;
    for n in 1..=blocks {
        let header = (BLOCK as u32) << 3 | RLE | if n == blocks { LAST } else { 0 };
        bomb.extend(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

/// A request with one record whose body is this many arrays in one another, in protobuf.
fn nested_protobuf(depth: usize) -> Vec<u8> {
    /// Wraps what is in `inner`, which is written backwards, into field `number`.
    fn wrap(inner: &mut Vec<u8>, number: u8) {
        let mut length = Vec::new();
        encode_varint(inner.len() as u64, &mut length);
        inner.extend(length.iter().rev());
        inner.push(number << 3 | 2);
    }
    let mut backwards = Vec::new();
    for _ in 0..depth {
        // ArrayValue.values, AnyValue.array_value
        wrap(&mut backwards, 1);
        wrap(&mut backwards, 5);
    }
    // LogRecord.body, ScopeLogs.log_records, ResourceLogs.scope_logs, resource_logs
    for number in [5, 2, 2, 1] {
        wrap(&mut backwards, number);
    }
    backwards.reverse();
    backwards
}

/// The same in JSON.
fn nested_json(depth: usize) -> String {
    let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
    let body = format!("{}{}", open.repeat(depth), close.repeat(depth));
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{body}}}]}}]}}]}}"#)
}

#[tokio::test]
async fn ten_gibibytes_of_zeros() {
    let target = Target::start().await;
    let (grpc, http_address) = (target.sluicegate.grpc(), target.sluicegate.http());
    for (encoding, bomb) in [("gzip", gzip_bomb()), ("zstd", zstd_bomb())] {
        let bomb = Bytes::from(bomb);
        let bombs = [(); 2].map(|()| {
            let bomb = bomb.clone();
            tokio::spawn(async move {
                let code = call(grpc, encoding, &bomb).await;
                (code, http(http_address, PROTOBUF, encoding, bomb).await)
            })
        });
        target.serves_others().await;
        for bomb in bombs {
            assert_eq!(bomb.await.expect("no panic"), (Code::ResourceExhausted, 413), "{encoding}");
        }
    }
    target.end().await;
}

#[tokio::test]
async fn lengths_that_nothing_stands_behind() {
    let target = Target::start().await;
    let (grpc, http_address) = (target.sluicegate.grpc(), target.sluicegate.http());
    // gRPC's own length.
    assert_eq!(framed(grpc, "identity", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]).await, Code::ResourceExhausted);
    // The length of a field of a message.
    let mut message = vec![1 << 3 | 2];
    encode_varint(4 * GIB as u64, &mut message);
    assert_eq!(call(grpc, "identity", &message).await, Code::InvalidArgument);
    assert_eq!(http(http_address, PROTOBUF, "identity", message).await, 400);
    // HTTP's.
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        4 * GIB
    );
    let answer = talk(http_address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    target.end().await;
}

#[tokio::test]
async fn a_hundred_thousand_values_in_one_another() {
    const DEPTH: usize = 100_000;
    let target = Target::start().await;
    let (grpc, http_address) = (target.sluicegate.grpc(), target.sluicegate.http());
    let fits = nested_protobuf(20);
    assert_eq!(http(http_address, PROTOBUF, "identity", fits).await, 200, "it is OTLP but for its depth");
    let message = nested_protobuf(DEPTH);
    assert_eq!(call(grpc, "identity", &message).await, Code::InvalidArgument);
    assert_eq!(http(http_address, PROTOBUF, "identity", message).await, 400);
    assert_eq!(http(http_address, JSON, "identity", nested_json(20)).await, 200, "it is OTLP but for its depth");
    assert_eq!(http(http_address, JSON, "identity", nested_json(DEPTH)).await, 400);
    assert_eq!(http(http_address, JSON, "identity", "[".repeat(DEPTH)).await, 400);
    target.end().await;
}

/// Sends until the other side has enough of it.
async fn flood(address: SocketAddr, start: &[u8], more: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let flood = async {
        stream.write_all(start).await?;
        loop {
            stream.write_all(more).await?;
        }
    };
    let ended: std::io::Result<()> = patiently("a flood to be cut off", flood).await;
    ended.expect_err("nobody reads for good");
}

#[tokio::test]
async fn headers_without_end() {
    let target = Target::start().await;
    let (grpc, http_address) = (target.sluicegate.grpc(), target.sluicegate.http());
    let header = format!("x-flood: {}\r\n", "a".repeat(1000));
    flood(http_address, b"POST /v1/logs HTTP/1.1\r\nhost: here\r\n", header.as_bytes()).await;
    // One header field without end, HTTP/2: a HEADERS frame without END_HEADERS, then CONTINUATION frames (RFC 9113,
    // sections 6.2 and 6.10), each a literal of 16,000 bytes (RFC 7541, section 6.2.2).
    let start =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[]), &frame(1, 0, 1, &[0x82])].concat();
    let literal = [[0x00, 0x01, b'x', 0x7f, 0xff, 0x7b].as_slice(), &[b'a'; 15_998]].concat();
    for address in [grpc, http_address] {
        flood(address, &start, &frame(9, 0, 1, &literal)).await;
        target.serves_others().await;
    }
    target.end().await;
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends `text` and reads until there is an answer's head or the end.
async fn talk(address: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(text).await.expect("it is taken");
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    patiently("an answer", read).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Few bytes on the wire and many in memory, from senders that go away and from some that wait for a destination which
/// doesn't answer: what they take is counted, and what does not fit is refused.
#[tokio::test]
async fn small_requests_that_become_large() {
    const SENDERS: usize = 20;
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).http("").extension("memory_limiter", "limit_mib: 64");
    let target = Target { sluicegate: Sluicegate::start(&config.yaml()).await.expect("it starts"), sink };
    let address = target.sluicegate.http();
    // A record without a field is two bytes; its row in memory is many more.
    let mut scope = Vec::new();
    (0..1 << 20).for_each(|_| scope.extend([0x12, 0]));
    let records = [2, 1].into_iter().fold(scope, |inner, number| wrapped(number, &inner));
    let records = gzip(&records);
    // Two bytes of JSON are eight of protobuf.
    let counts = vec!["0"; 4 << 20].join(",");
    let json = gzip(
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{counts}]}}]}}}}]}}]}}]}}"#
        )
        .as_bytes(),
    );
    target.sink.answer(Answer::Hold);
    let client = Client::new(address, Protocol::Http1);
    let send = |path: &'static str, media_type: &'static str, body: &Bytes| {
        let (client, body) = (client.clone(), body.clone());
        tokio::spawn(async move {
            let headers = [("content-type", media_type), ("content-encoding", "gzip")];
            client.post(path, &headers, body).await.expect("an answer").status
        })
    };
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        senders.push(send("/v1/logs", PROTOBUF, &records));
        senders.push(send("/v1/metrics", JSON, &json));
        if n % 2 == 0 {
            // It goes away at some point of its request's life.
            senders.pop().expect("it was pushed").abort();
        }
    }
    until("each request to wait or to be refused", async || {
        let done = senders.iter().filter(|sender| sender.is_finished()).count();
        done + target.sink.requests() >= senders.len()
    })
    .await;
    target.sink.answer(Answer::Take);
    for sender in senders {
        let status = sender.await.expect("no panic");
        assert!([200, 413, 503].contains(&status), "{status}");
    }
    until("what was held to be given back", async || {
        let page = target.sluicegate.page().await.expect("a page of metrics");
        page.gauge("receiver_in_flight_bytes") == 0
    })
    .await;
    let peak = target.sluicegate.peak_memory().expect("the system tells");
    // What each core works on is not reserved yet, and the allocator keeps what other threads freed. Unreserved, all of
    // them took two gigabytes.
    assert!(peak < 3 * MOST_MEMORY, "{} MiB", peak >> 20);
}

/// What is larger than the memory that there is for requests is refused for good: it would never fit.
#[tokio::test]
async fn what_never_fits_is_not_asked_for_again() {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).http("").extension("memory_limiter", "limit_mib: 1");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let large = otlp::request([otlp::record(9, &"x".repeat(1 << 20))]);
    let status = sluicegate.sender().send_logs(&large).await.expect_err("it is too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("limit_mib"), "{status:?}");
    assert_eq!(http(sluicegate.http(), PROTOBUF, "identity", large.encode_to_vec()).await, 413);
}

/// `content` as field `number` of a message.
fn wrapped(number: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2];
    encode_varint(content.len() as u64, &mut message);
    message.extend(content);
    message
}

fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes it").into()
}

/// Half a request keeps nobody else waiting, and nothing of it stays when its sender goes.
#[tokio::test]
async fn halves_of_requests() {
    const SENDERS: usize = 20;
    let target = Target::start().await;
    let address = target.sluicegate.http();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: here\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 2000000\r\n\r\n";
    let mut halves = Vec::new();
    for _ in 0..SENDERS {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(head.as_bytes()).await.expect("it is taken");
        stream.write_all(&vec![0x0a; 1_000_000]).await.expect("it is taken");
        halves.push(stream);
    }
    let in_flight = async || {
        let page = target.sluicegate.page().await.expect("a page of metrics");
        page.gauge("receiver_in_flight_bytes")
    };
    until("the halves to be held", async || in_flight().await >= 1_000_000 * SENDERS as u64).await;
    target.serves_others().await;
    drop(halves);
    until("the halves to be given up", async || in_flight().await == 0).await;
    target.end().await;
}

/// A sender that says it sends gzip and doesn't, or JSON and doesn't, is told so.
#[tokio::test]
async fn what_is_not_what_it_claims_to_be() {
    let target = Target::start().await;
    let (grpc, http_address) = (target.sluicegate.grpc(), target.sluicegate.http());
    for encoding in ["gzip", "zstd"] {
        assert_eq!(call(grpc, encoding, b"plain text").await, Code::InvalidArgument, "{encoding}");
        assert_eq!(http(http_address, PROTOBUF, encoding, "plain text").await, 400, "{encoding}");
    }
    assert_eq!(http(http_address, JSON, "identity", "plain text").await, 400);
    let sender = Sender::new(grpc);
    let error = sender.send(Signal::Logs, "plain text").await.expect_err("it is no OTLP");
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    target.end().await;
}
