use std::{cell::Cell, net::SocketAddr};

use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::config::Address;

/// A listener whose service takes everything. The clock of these tests stands still while anything happens, and jumps
/// to the next thing that somebody waits for when nothing does.
struct Serving {
    address: SocketAddr,
    drain: CancellationToken,
    ended: JoinHandle<()>,
}

const TIMES: Times = Times {
    header: Duration::from_secs(60),
    idle: Some(Duration::from_secs(300)),
    age: None,
    grace: None,
    keep_alives: true,
};

/// HTTP/2's opening, and an empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Longer than connections may be idle.
const SLOW: Duration = Duration::from_secs(1000);

const REQUEST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

impl Serving {
    async fn start(times: Times) -> Self {
        let listener = Listener::bind(&Address::loopback(0)).await.unwrap();
        let address = listener.address().unwrap().to_string().parse().unwrap();
        let drain = CancellationToken::new();
        let settings = Settings { times, ..Settings::page("test") };
        let service = tower::service_fn(|request: Request<Body>| {
            let body = if request.uri().path() == "/slow" { slow() } else { Body::empty() };
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let ended = tokio::spawn(serve(listener, settings, service, drain.clone(), Threads::here()));
        Self { address, drain, ended }
    }

    /// A new connection on which a client says `opening`.
    async fn connect(&self, opening: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(opening).await.unwrap();
        stream
    }
}

/// A body that comes to its end after [`SLOW`].
fn slow() -> Body {
    let frames = futures::stream::once(async {
        sleep(SLOW).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"done")))
    });
    Body::new(StreamBody::new(frames.boxed()))
}

/// Everything that the server says, until it closes the connection.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Reads frames of HTTP/2 up to the first GOAWAY.
async fn go_away(stream: &mut TcpStream) {
    const GOAWAY: u8 = 7;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == GOAWAY {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_say_what_they_want_are_cut_off() {
    let serving = Serving::start(Times { idle: None, ..TIMES }).await;
    for opening in ["", "PRI * HTTP/2.0", "POST / HTTP/1.1\r\nHost: loc"] {
        let opened = Instant::now();
        let slow = serving.connect(opening.as_bytes()).await;
        assert!(rest(slow).await.is_empty(), "{opening}");
        assert_eq!(opened.elapsed().as_secs(), TIMES.header.as_secs(), "{opening}");
    }
    let mut second = serving.connect(REQUEST.as_bytes()).await;
    second.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
    second.write_all(b"POST ").await.unwrap();
    assert!(rest(second).await.is_empty(), "a second head may not take longer than the first");
}

#[tokio::test(start_paused = true)]
async fn connections_without_requests_are_closed_in_time() {
    let serving = Serving::start(TIMES).await;
    let opened = Instant::now();
    let answer = rest(serving.connect(REQUEST.as_bytes()).await).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert_eq!(opened.elapsed().as_secs(), 300);
    let opened = Instant::now();
    let mut silent = serving.connect(OPENING).await;
    go_away(&mut silent).await;
    assert_eq!(opened.elapsed().as_secs(), 300);
    // It doesn't go by itself.
    rest(silent).await;
    assert_eq!(opened.elapsed().as_secs(), 310);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_an_answer_lasts() {
    let serving = Serving::start(TIMES).await;
    let opened = Instant::now();
    let answer = rest(serving.connect(REQUEST.replacen('/', "/slow", 1).as_bytes()).await).await;
    assert!(String::from_utf8_lossy(&answer).contains("done"));
    assert_eq!(opened.elapsed().as_secs(), SLOW.as_secs() + 300);
}

#[tokio::test(start_paused = true)]
async fn connections_may_be_limited_in_age_and_number_of_requests() {
    let (age, grace) = (Some(Duration::from_secs(100)), Some(Duration::from_secs(5)));
    let serving = Serving::start(Times { idle: None, age, grace, ..TIMES }).await;
    let opened = Instant::now();
    let mut old = serving.connect(OPENING).await;
    go_away(&mut old).await;
    assert!((90..=110).contains(&opened.elapsed().as_secs()), "{:?}", opened.elapsed());
    rest(old).await;

    let serving = Serving::start(Times { keep_alives: false, ..TIMES }).await;
    let opened = Instant::now();
    let answer = rest(serving.connect(REQUEST.as_bytes()).await).await;
    assert!(String::from_utf8_lossy(&answer).contains("connection: close"));
    assert_eq!(opened.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_whole_arrives() {
    const SIZE: usize = 16 << 20;
    let serving = Serving::start(TIMES).await;
    let head = REQUEST.replace("Length: 0", &format!("Length: {SIZE}"));
    let mut stream = serving.connect(head.as_bytes()).await;
    // Only then it reads, as simple clients do.
    stream.write_all(&vec![0; SIZE]).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert!(String::from_utf8_lossy(&answer).contains("connection: close"));
}

/// The services of these tests never read a body.
#[tokio::test]
async fn a_connection_outlives_small_bodies_that_nobody_reads() {
    let serving = Serving::start(TIMES).await;
    let small = REQUEST.replace("Length: 0", "Length: 2") + "{}";
    let large = REQUEST.replace("Length: 0", &format!("Length: {}", 200 << 10)) + &"x".repeat(200 << 10);
    let chunked = REQUEST.replace("Content-Length: 0", "Transfer-Encoding: chunked") + "2\r\n{}\r\n0\r\n\r\n";
    let mut stream = serving.connect(b"").await;
    for request in [&small, &large, &chunked, &small] {
        for _ in 0..20 {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", request.lines().nth(2).unwrap());
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK") && !answer.contains("connection: close"), "{answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_body_is_not_waited_for_is_told_to_close() {
    let serving = Serving::start(TIMES).await;
    let slow = REQUEST.replace("Length: 0", "Length: 2") + "{";
    let endless = REQUEST.replace("Content-Length: 0", "Transfer-Encoding: chunked")
        + &format!("{:x}\r\n{}\r\n", 300 << 10, "x".repeat(300 << 10));
    let broken = REQUEST.replace("Content-Length: 0", "Transfer-Encoding: chunked") + "this is no length\r\n";
    let waiting = REQUEST.replace("Length: 0", "Length: 2\r\nExpect: 100-continue");
    for request in [slow, endless, broken, waiting] {
        let mut stream = serving.connect(request.as_bytes()).await;
        let mut answer = Vec::new();
        stream.read_buf(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
        rest(stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn draining_tells_every_client_to_go() {
    let serving = Serving::start(TIMES).await;
    let (silent, http1) = (serving.connect(b"").await, serving.connect(REQUEST.as_bytes()).await);
    let mut http2 = serving.connect(OPENING).await;
    // Once this one is there, so are those before it.
    http2.read_exact(&mut [0; 9]).await.unwrap();
    let begun = Instant::now();
    serving.drain.cancel();
    rest(silent).await;
    rest(http1).await;
    drop(http2);
    serving.ended.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn failures_to_accept_are_followed_by_a_pause_and_lost_connections_are_not() {
    let check = async |error: io::Error, expected: usize| {
        let (shown, pauses) = (error.to_string(), Cell::new(0));
        let pause = |_: &io::Error| {
            let pauses = &pauses;
            async move { pauses.set(pauses.get() + 1) }
        };
        let accepted: Vec<_> = patient(futures::stream::iter([Err(error), Ok(())]), pause).collect().await;
        assert!(matches!(&*accepted, [Err(_), Ok(())]), "{shown}");
        assert_eq!(pauses.get(), expected, "{shown}");
    };
    const EMFILE: i32 = 24;
    check(io::Error::from_raw_os_error(EMFILE), 1).await;
    check(io::ErrorKind::ConnectionAborted.into(), 0).await;
}
