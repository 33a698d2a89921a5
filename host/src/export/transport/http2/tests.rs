use std::sync::atomic::AtomicUsize;

use futures::future::join_all;
use http::{HeaderMap, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::Destination,
    export::transport::{Settings, Transport},
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is answered with so many bytes.
    Taken(usize),
    Refused,
    /// It crosses the farewell of the connection, which is the first one.
    Crossed,
    /// It is read, and the connection breaks.
    Lost,
    /// Nothing happens.
    Ignored,
}

/// A destination with a fate for each request in turn, the last of which stays.
#[derive(Clone)]
struct Server {
    fates: Arc<[Fate]>,
    requests: Arc<AtomicUsize>,
    /// How many bytes their bodies had.
    bytes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// Of these, how many have ended.
    ended: Arc<AtomicUsize>,
}

impl Server {
    async fn start(fates: &[Fate], keepalive: ClientKeepalive) -> (Self, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Destination::parse_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = Self {
            fates: fates.into(),
            requests: Arc::default(),
            bytes: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
        };
        tokio::spawn(server.clone().accept(listener));
        let settings = Settings { http2_only: true, tls: None, keepalive, connect_timeout: Duration::from_secs(60) };
        (server, Transport::new([&endpoint], &settings))
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.connections.fetch_add(1, Ordering::Relaxed);
            let server = self.clone();
            tokio::spawn(async move {
                match (&*server.fates, server.seen()) {
                    ([Fate::Crossed, ..], (0, 1)) => server.say_farewell(stream).await,
                    _ => server.serve(stream).await,
                }
                server.ended.fetch_add(1, Ordering::Relaxed);
            });
        }
    }

    /// Says, when a request has come, that no request will be looked at.
    async fn say_farewell(&self, mut stream: TcpStream) {
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        stream.write_all(&SETTINGS).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"yyyy") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(&GOAWAY).await.unwrap();
        // Until the other side hangs up.
        while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
    }

    async fn serve(&self, stream: TcpStream) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            let nth = self.requests.fetch_add(1, Ordering::Relaxed);
            match *self.fates.get(nth).unwrap_or_else(|| self.fates.last().expect("a fate")) {
                Fate::Refused => answer.send_reset(Reason::REFUSED_STREAM),
                Fate::Lost => return,
                Fate::Ignored => {
                    drop(tokio::spawn(async move {
                        let _kept = (request, answer);
                        std::future::pending::<()>().await;
                    }));
                }
                Fate::Crossed => unreachable!("it is not looked at"),
                Fate::Taken(size) => {
                    let bytes = Arc::clone(&self.bytes);
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            bytes.fetch_add(data.len(), Ordering::Relaxed);
                            body.flow_control().release_capacity(data.len()).unwrap();
                        }
                        let mut stream = answer.send_response(Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from(vec![b'x'; size]), false).unwrap();
                        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            }
        }
    }

    /// How many requests and connections there were.
    fn seen(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed))
    }
}

async fn send(transport: &Transport, body: usize) -> Result<Answer, String> {
    let content = Content { head: Bytes::from_static(b"head."), body: vec![b'y'; body].into() };
    let answer = transport.post("/v1/logs", &HeaderMap::new(), &content, None).await;
    answer.map_err(|cause| cause.to_string())
}

#[tokio::test]
async fn requests_share_a_connection_and_large_ones_arrive_whole() {
    const LARGE: usize = 1 << 20;
    let (server, transport) = Server::start(&[Fate::Taken(3)], ClientKeepalive::default()).await;
    let answers = join_all((0..50).map(|n| send(&transport, if n == 7 { LARGE } else { n }))).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.unwrap()), (StatusCode::OK, Bytes::from_static(b"xxx")));
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
    assert_eq!(server.seen(), (50, 1));
    let sent: usize = (0..50).map(|n| 5 + if n == 7 { LARGE } else { n }).sum();
    assert_eq!(server.bytes.load(Ordering::Relaxed), sent);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let (_server, transport) = Server::start(&[Fate::Taken(MAX_ANSWER + 1)], ClientKeepalive::default()).await;
    let answer = send(&transport, 1).await.unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
    let (_server, transport) = Server::start(&[Fate::Taken(MAX_ANSWER)], ClientKeepalive::default()).await;
    assert_eq!(send(&transport, 1).await.unwrap().body.unwrap().len(), MAX_ANSWER);
}

/// What becomes of one request whose attempts meet `fates`, and how many attempts and connections it takes.
async fn check(fates: &[Fate], succeeds: bool, seen: (usize, usize)) {
    let (server, transport) = Server::start(fates, ClientKeepalive::default()).await;
    let answer = send(&transport, 100).await;
    assert_eq!(answer.is_ok(), succeeds, "{fates:?}: {answer:?}");
    assert_eq!(server.seen(), seen, "{fates:?}");
    // Whatever became of it, the next one finds a connection.
    server.requests.store(fates.len() - 1, Ordering::Relaxed);
    if let Fate::Taken(_) = fates[fates.len() - 1] {
        send(&transport, 100).await.unwrap();
    }
}

#[tokio::test]
async fn what_nobody_has_worked_on_is_sent_again_and_nothing_else() {
    check(&[Fate::Refused, Fate::Taken(1)], true, (2, 1)).await;
    check(&[Fate::Refused, Fate::Refused, Fate::Taken(1)], false, (2, 1)).await;
    check(&[Fate::Crossed, Fate::Taken(1)], true, (2, 2)).await;
    check(&[Fate::Lost, Fate::Taken(1)], false, (1, 1)).await;
}

#[tokio::test]
async fn a_connection_that_gives_no_sign_of_life_is_given_up() {
    let keepalive = ClientKeepalive {
        time: Duration::from_millis(1),
        timeout: Duration::from_millis(1),
        permit_without_stream: false,
    };
    // It accepts connections and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Destination::parse_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let settings = Settings { http2_only: true, tls: None, keepalive, connect_timeout: Duration::from_secs(60) };
    let error = send(&Transport::new([&endpoint], &settings), 1).await.unwrap_err();
    assert!(!error.is_empty() && !error.contains("can't connect"), "{error}");
}

#[tokio::test]
async fn one_that_answers_pings_may_take_its_time() {
    let keepalive = ClientKeepalive {
        time: Duration::from_millis(1),
        timeout: Duration::from_secs(60),
        permit_without_stream: false,
    };
    let (server, transport) = Server::start(&[Fate::Ignored, Fate::Taken(1)], keepalive).await;
    let waiting = tokio::spawn(async move { (send(&transport, 1).await, transport).0 });
    while server.seen().0 == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn a_connection_is_closed_when_it_is_idle_or_nobody_needs_it() {
    let (server, transport) = Server::start(&[Fate::Taken(1)], ClientKeepalive::default()).await;
    let ended = async |count| {
        while server.ended.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    };
    send(&transport, 1).await.unwrap();
    tokio::time::pause();
    for _ in 0..2 {
        tokio::time::advance(2 * IDLE).await;
        // The connection's task takes note of it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    ended(1).await;
    send(&transport, 1).await.unwrap();
    assert_eq!(server.seen(), (2, 2));
    drop(transport);
    ended(2).await;
}
