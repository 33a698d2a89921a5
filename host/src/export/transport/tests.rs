use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::post};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::config::{self, Spanned};

/// A server that answers with its name and counts its requests.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        tokio::spawn(axum::serve(listener, named(name, &requests)).into_future());
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn named(name: &'static str, requests: &Arc<AtomicUsize>) -> Router {
    let requests = Arc::clone(requests);
    let handler = move || async move {
        requests.fetch_add(1, Ordering::Relaxed);
        name
    };
    Router::new().route("/prefix/v1/logs", post(handler))
}

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn settings() -> Settings {
    Settings {
        http2_only: false,
        tls: None,
        keepalive: ClientKeepalive::default(),
        connect_timeout: Duration::from_secs(60),
    }
}

fn transport(endpoints: &[String]) -> Transport {
    let endpoints: Vec<_> = endpoints.iter().map(|url| Destination::parse_url(url).unwrap()).collect();
    Transport::new(&endpoints, &settings())
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/prefix")
}

async fn send(transport: &Transport) -> Result<Bytes, String> {
    let content = Content { head: Bytes::new(), body: Bytes::from_static(b"body").into(), held: None };
    let answer =
        transport.post(&Head { path: "/v1/logs", headers: &HeaderMap::new(), timeout: None }, &content, None).await;
    answer.map(|answer| answer.body.unwrap()).map_err(|cause| cause.to_string())
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let transport = transport(&[url(one.address), url(two.address)]);
    for _ in 0..5 {
        assert_eq!(send(&transport).await.unwrap(), "one");
        assert_eq!(send(&transport).await.unwrap(), "two");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_costs_no_request() {
    let (down, up) = (closed().await, Server::start("up").await);
    let transport = transport(&[url(down), url(up.address)]);
    for _ in 0..10 {
        assert_eq!(send(&transport).await.unwrap(), "up");
    }
    assert_eq!(up.requests(), 10);
}

#[tokio::test]
async fn those_that_are_up_share_the_load_of_one_that_is_down() {
    let (down, one, two) = (closed().await, Server::start("one").await, Server::start("two").await);
    let transport = transport(&[url(down), url(one.address), url(two.address)]);
    for _ in 0..90 {
        send(&transport).await.unwrap();
    }
    // Not to the last one: now and then, one request tries the address that is down first.
    let (one, two) = (one.requests(), two.requests());
    assert!(one + two == 90 && one.abs_diff(two) < 10, "{one} and {two}");
}

/// An address that takes connections, and then never says anything, not even in TLS; and one that works.
async fn silent_and_up() -> (std::net::TcpListener, Server, Transport) {
    let (silent, up) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Server::start("up").await);
    silent.set_nonblocking(true).unwrap();
    let endpoints = [format!("https://{}/prefix", silent.local_addr().unwrap()), url(up.address)];
    let endpoints = endpoints.map(|url| Destination::parse_url(&url).unwrap());
    let tls = ClientTls::new(&config::ClientTls::default(), &[crate::tls::HTTP_1_1]).unwrap();
    let transport = Transport::new(&endpoints, &Settings { tls: Some(tls), ..settings() });
    (silent, up, transport)
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_time_for_the_others_and_is_avoided() {
    let (silent, up, transport) = silent_and_up().await;
    let content = Content { head: Bytes::new(), body: Payload::default(), held: None };
    for _ in 0..10 {
        let deadline = Some(Instant::now() + Duration::from_secs(1));
        transport
            .post(&Head { path: "/v1/logs", headers: &HeaderMap::new(), timeout: None }, &content, deadline)
            .await
            .unwrap();
    }
    assert_eq!(up.requests(), 10);
    silent.accept().unwrap();
    assert_eq!(silent.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it was tried once");
}

#[tokio::test]
async fn an_address_is_avoided_too_where_the_sender_went_away_first() {
    let (_silent, up, transport) = silent_and_up().await;
    assert!(futures::FutureExt::now_or_never(send(&transport)).is_none());
    for _ in 0..10 {
        assert_eq!(send(&transport).await.unwrap(), "up");
    }
    assert_eq!(up.requests(), 10);
}

#[tokio::test]
async fn one_request_finds_out_whether_an_address_is_back() {
    let (down, up) = (closed().await, Server::start("up").await);
    let transport = transport(&[url(down), url(up.address)]);
    let first = async || {
        let ways = transport.ways().await.0;
        transport.known().iter().position(|(_, known)| Arc::ptr_eq(known, &ways[0].1)).unwrap()
    };
    send(&transport).await.unwrap();
    assert_eq!((first().await, first().await), (1, 1));
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(endpoint::AVOIDED).await;
        tokio::time::resume();
        assert_eq!((first().await, first().await, first().await), (0, 1, 1));
    }
    let listener = TcpListener::bind(down).await.unwrap();
    tokio::spawn(axum::serve(listener, named("back", &Arc::default())).into_future());
    tokio::time::pause();
    tokio::time::advance(endpoint::AVOIDED).await;
    tokio::time::resume();
    assert_eq!(send(&transport).await.unwrap(), "back");
    let next = (send(&transport).await.unwrap(), send(&transport).await.unwrap());
    assert!(next.0 != next.1, "both take turns again: {next:?}");
}

#[tokio::test]
async fn requests_that_wait_for_one_connection_all_say_that_it_could_not_be_made() {
    let down = closed().await;
    let endpoint = Destination::parse_url(&url(down)).unwrap();
    let transport = Transport::new([&endpoint], &Settings { http2_only: true, ..settings() });
    for answer in futures::future::join_all((0..10).map(|_| send(&transport))).await {
        let error = answer.unwrap_err();
        assert!(error.starts_with(&format!("can't connect to {down}: ")), "{error}");
    }
}

#[tokio::test]
async fn where_all_are_down_each_is_named() {
    let (one, two) = (closed().await, closed().await);
    let error = send(&transport(&[url(one), url(two)])).await.unwrap_err();
    assert!(error.contains(&one.to_string()) && error.contains(&two.to_string()), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_name_is_resolved_and_its_addresses_are_tried() {
    let server = Server::start("local").await;
    let transport = transport(&[format!("http://localhost:{}/prefix", server.address.port())]);
    // The name may stand for an address of IPv6, too, where nobody listens.
    for _ in 0..4 {
        assert_eq!(send(&transport).await.unwrap(), "local");
    }
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_no_loss_beside_another() {
    let nowhere = "http://nowhere.invalid:4318/prefix".to_owned();
    let error = send(&transport(std::slice::from_ref(&nowhere))).await.unwrap_err();
    assert!(error.starts_with("can't resolve nowhere.invalid: "), "{error}");
    let server = Server::start("up").await;
    let transport = transport(&[nowhere, url(server.address)]);
    for _ in 0..4 {
        assert_eq!(send(&transport).await.unwrap(), "up");
    }
}

#[tokio::test]
async fn unix_sockets_are_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let destination = |path: &Path| Destination {
        tls: false,
        address: config::Address::Unix(path.to_owned()),
        path: "/prefix".to_owned(),
    };
    let transport = Transport::new([&destination(&path)], &settings());
    let error = send(&transport).await.unwrap_err();
    assert!(error.starts_with(&format!("can't connect to unix://{}: ", path.display())), "{error}");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(axum::serve(listener, named("unix", &Arc::default())).into_future());
    assert_eq!(send(&transport).await.unwrap(), "unix");
}

#[tokio::test]
async fn an_encrypted_endpoint_must_show_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Spanned::new(path, config::Span::default())
    };
    let (cert_file, key_file) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let acceptor = crate::tls::ServerTls::new(
        &config::ServerTls {
            cert_file: cert_file.clone(),
            key_file,
            client_ca_file: None,
            min_version: config::TlsVersion::V1_2,
            max_version: config::TlsVersion::V1_3,
            reload_interval: None,
        },
        &[crate::tls::HTTP_1_1],
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let router = named("secret", &Arc::default());
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(tls);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    let trusting = config::ClientTls { ca_file: Some(cert_file.clone()), ..config::ClientTls::default() };
    let transport = |host: &str, tls: &config::ClientTls| {
        let tls = ClientTls::new(tls, &[crate::tls::H2, crate::tls::HTTP_1_1]).unwrap();
        let endpoint = Destination::parse_url(&format!("https://{host}:{port}/prefix")).unwrap();
        Transport::new([&endpoint], &Settings { tls: Some(tls), ..settings() })
    };
    assert_eq!(send(&transport("localhost", &trusting)).await.unwrap(), "secret");
    let error = send(&transport("127.0.0.1", &trusting)).await.unwrap_err();
    assert!(error.contains("TLS: invalid peer certificate"), "{error}");
    let named = config::ClientTls { server_name_override: Some("localhost".to_owned()), ..trusting };
    assert_eq!(send(&transport("127.0.0.1", &named)).await.unwrap(), "secret");
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endless = || async {
        let chunk = Bytes::from(vec![b' '; 1 << 16]);
        axum::body::Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
    };
    let router = Router::new().route("/prefix/v1/logs", post(endless));
    tokio::spawn(axum::serve(listener, router).into_future());
    let transport = transport(&[url(address)]);
    let content = Content { head: Bytes::new(), body: Payload::default(), held: None };
    let answer = transport
        .post(&Head { path: "/v1/logs", headers: &HeaderMap::new(), timeout: None }, &content, None)
        .await
        .unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
}

#[tokio::test]
async fn an_address_that_works_is_no_longer_avoided() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Destination::parse_url(&format!("http://{}/prefix", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(axum::serve(listener, named("up", &Arc::default())).into_future());
    let transport = Transport::new([&endpoint], &Settings { http2_only: true, ..settings() });
    assert_eq!(send(&transport).await.unwrap(), "up");
    let target = Arc::clone(&transport.known()[0].1);
    // As a thread without a connection leaves it whose request has gone away.
    drop(target.connecting());
    assert!(target.is_avoided());
    assert_eq!(send(&transport).await.unwrap(), "up");
    assert!(!target.is_avoided());
}
