use std::sync::atomic::AtomicUsize;

use futures::{FutureExt as _, future::join_all};
use http::{HeaderMap, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::Destination,
    export::transport::{Head, Settings, Transport, connect::Place},
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
    /// It is answered, and the connection takes no further ones.
    Last,
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
    /// How many requests one of them may have under way.
    most: u32,
    /// How many requests must have come before any is answered.
    answers_at: usize,
}

/// How long what should happen soon may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server says first.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A socket, and the way there.
async fn raw(keepalive: ClientKeepalive) -> (TcpListener, Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Destination::parse_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, Transport::new([&endpoint], &settings(keepalive)))
}

fn settings(keepalive: ClientKeepalive) -> Settings {
    Settings { http2_only: true, tls: None, keepalive, connect_timeout: Duration::from_secs(60) }
}

/// A connection with a request is asked for a sign of life at once, which may take so long.
fn pinged(timeout: Duration) -> ClientKeepalive {
    ClientKeepalive { time: Duration::from_millis(1), timeout, permit_without_stream: false }
}

impl Server {
    async fn start(fates: &[Fate]) -> (Self, Transport) {
        Self::limited(fates, 1_000).await
    }

    async fn limited(fates: &[Fate], most: u32) -> (Self, Transport) {
        Self::answering_at(0, fates, most).await
    }

    async fn answering_at(answers_at: usize, fates: &[Fate], most: u32) -> (Self, Transport) {
        let (listener, transport) = raw(ClientKeepalive::default()).await;
        let server = Self {
            fates: fates.into(),
            requests: Arc::default(),
            bytes: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
            most,
            answers_at,
        };
        tokio::spawn(server.clone().accept(listener));
        (server, transport)
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
        let handshake = h2::server::Builder::new().max_concurrent_streams(self.most).handshake(stream);
        let mut connection = handshake.await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            let nth = self.requests.fetch_add(1, Ordering::Relaxed);
            let fate = *self.fates.get(nth).unwrap_or_else(|| self.fates.last().expect("a fate"));
            if let Fate::Last = fate {
                connection.graceful_shutdown();
            }
            match fate {
                Fate::Refused => answer.send_reset(Reason::REFUSED_STREAM),
                Fate::Lost => return,
                Fate::Crossed => unreachable!("it is not looked at"),
                Fate::Taken(_) | Fate::Last => {
                    let size = if let Fate::Taken(size) = fate { size } else { 0 };
                    let (bytes, server) = (Arc::clone(&self.bytes), self.clone());
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut came = Vec::new();
                        while let Some(Ok(data)) = body.data().await {
                            came.extend_from_slice(&data);
                            body.flow_control().release_capacity(data.len()).unwrap();
                        }
                        let body = came.strip_prefix(b"head.").expect("a head");
                        assert!(*body == self::body(body.len()), "it came as it was sent");
                        bytes.fetch_add(came.len(), Ordering::Relaxed);
                        while server.seen().0 < server.answers_at {
                            tokio::task::yield_now().await;
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

/// What is sent, which ends with letters.
fn body(size: usize) -> Bytes {
    let letters = size.min(100);
    (0..size - letters).map(|n| (n % 251) as u8).chain(vec![b'y'; letters]).collect()
}

async fn send(transport: &Transport, size: usize) -> Result<Answer, String> {
    let content = Content { head: Bytes::from_static(b"head."), body: body(size).into(), held: None };
    let answer =
        transport.post(&Head { path: "/v1/logs", headers: &HeaderMap::new(), timeout: None }, &content, None).await;
    answer.map_err(|cause| cause.to_string())
}

#[tokio::test]
async fn requests_share_a_connection_and_large_ones_arrive_whole() {
    const LARGE: usize = 1 << 20;
    let (server, transport) = Server::start(&[Fate::Taken(3)]).await;
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
async fn any_number_of_answers_may_come_at_once() {
    const MANY: usize = 900;
    let (server, transport) = Server::answering_at(MANY, &[Fate::Taken(7)], 1_000).await;
    for answer in join_all((0..MANY).map(|_| send(&transport, 100))).await {
        assert_eq!(answer.unwrap().body.unwrap().len(), 7);
    }
    assert_eq!(server.seen(), (MANY, 1));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let (_server, transport) = Server::start(&[Fate::Taken(MAX_ANSWER + 1)]).await;
    let answer = send(&transport, 1).await.unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
    let (_server, transport) = Server::start(&[Fate::Taken(MAX_ANSWER)]).await;
    assert_eq!(send(&transport, 1).await.unwrap().body.unwrap().len(), MAX_ANSWER);
}

#[tokio::test]
async fn large_bodies_are_not_copied_on_their_way() {
    const LARGE: usize = 1 << 20;
    let (server, _) = Server::start(&[Fate::Taken(1)]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(ClientKeepalive::default());
    let connector = Connector::new(Place::Tcp(listener.local_addr().unwrap()), None, &settings);
    tokio::spawn(server.accept(listener));
    let client = Http2::new(connector, settings.keepalive);
    let connection = client.open_anew().await.unwrap();
    let content = Content { head: Bytes::from_static(b"head."), body: body(LARGE).into(), held: None };
    let request = Request::post("http://localhost/v1/logs").body(()).unwrap();
    assert!(connection.send(request, content).await.is_ok());
    assert!(connection.life.lendings.kept() > LARGE * 9 / 10, "{}", connection.life.lendings.kept());
}

/// What becomes of one request whose attempts meet `fates`, and how many attempts and connections it takes.
async fn check(fates: &[Fate], succeeds: bool, seen: (usize, usize)) {
    let (server, transport) = Server::start(fates).await;
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
    check(&[Fate::Crossed, Fate::Refused, Fate::Taken(1)], false, (2, 2)).await;
    check(&[Fate::Lost, Fate::Taken(1)], false, (1, 1)).await;
}

#[tokio::test]
async fn a_destination_may_take_few_at_once() {
    for is_known in [false, true] {
        let (server, transport) = Server::limited(&[Fate::Taken(1)], 2).await;
        if is_known {
            send(&transport, 1).await.unwrap();
        }
        for answer in join_all((0..20).map(|_| send(&transport, 100))).await {
            answer.unwrap();
        }
        assert_eq!(server.seen(), (20 + usize::from(is_known), 1));
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_a_connection_goes_and_others_take_the_next_one() {
    let (server, transport) = Server::start(&[Fate::Taken(1), Fate::Last, Fate::Taken(1)]).await;
    let mut sent = 0;
    let another = async {
        while server.seen().1 < 2 {
            for answer in join_all((0..5).map(|_| send(&transport, 100))).await {
                answer.unwrap();
                sent += 1;
            }
        }
    };
    timeout(PATIENCE, another).await.expect("it takes no further ones");
    assert_eq!(server.seen(), (sent, 2));
}

#[tokio::test]
async fn a_connection_that_gives_no_sign_of_life_is_given_up() {
    // It accepts connections and reads nothing.
    let (_listener, transport) = raw(pinged(Duration::from_millis(1))).await;
    let error = timeout(PATIENCE, send(&transport, 1)).await.expect("it is given up").unwrap_err();
    assert!(!error.contains("can't connect"), "{error}");
}

#[tokio::test]
async fn one_that_answers_pings_may_take_its_time() {
    let (listener, transport) = raw(pinged(PATIENCE)).await;
    let (answer, ()) = tokio::join!(send(&transport, 1), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&SETTINGS).await.unwrap();
        stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.unwrap();
        let mut pings = 0;
        while pings < 5 {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let [high, middle, low, kind, flags, ..] = head;
            let mut content = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
            stream.read_exact(&mut content).await.unwrap();
            const PING: u8 = 6;
            if kind == PING && flags == 0 {
                stream.write_all(&[0, 0, 8, PING, 1, 0, 0, 0, 0]).await.unwrap();
                stream.write_all(&content).await.unwrap();
                pings += 1;
            }
        }
        // The head of an answer, `:status: 200`, and its end.
        stream.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]).await.unwrap();
    });
    assert_eq!(answer.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_connection_is_closed_when_it_is_idle_or_nobody_needs_it() {
    let (server, transport) = Server::start(&[Fate::Taken(1)]).await;
    let ended = async |count| {
        let all = async {
            while server.ended.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("it ends");
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

#[tokio::test]
async fn the_next_one_connects_where_the_first_has_gone_away() {
    let (listener, transport) = raw(ClientKeepalive::default()).await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answers = join_all((0..5).map(|_| send(&transport, 1))).await;
    for answer in answers {
        assert!(answer.unwrap_err().starts_with(&format!("can't connect to {address}: ")));
    }
    let (server, _) = Server::start(&[Fate::Taken(1)]).await;
    tokio::spawn(server.accept(TcpListener::bind(address).await.unwrap()));
    assert!(send(&transport, 1).now_or_never().is_none(), "it has gone before there is a connection");
    send(&transport, 1).await.unwrap();
}
