//! Connections: of every kind, slow ones, lost ones, and a thousand that do nothing.
use std::{fs, path::Path};

use anyhow::Result;
use sluicegate_tests::{
    client::{Client, Protocol},
    config::Config,
    patiently,
    program::{self, Sluicegate, sluicegate},
    sink::{Answer, Sink},
    until,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener},
    task::JoinSet,
};

/// HTTP/2's opening, and an empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The head of a request, and half of its body.
const HALF: &[u8] = b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n\
    Content-Length: 2000\r\n\r\n";

/// Sends a record by every protocol. All are taken.
async fn serves_others(sluicegate: &Sluicegate) {
    for protocol in Protocol::ALL {
        let answer = Client::new(sluicegate.listener(protocol.listener()), protocol).send().await.expect("an answer");
        assert_eq!(answer.status, protocol.taken(), "{protocol:?}: {answer:?}");
    }
}

#[tokio::test]
async fn sockets_in_the_file_system() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (grpc, http) = (folder.path().join("grpc.sock"), folder.path().join("http.sock"));
    let sink = Sink::start();
    let listen = |path: &Path| format!("endpoint: 'unix://{}'", path.display());
    let config = Config::to(&sink.endpoint()).grpc(&listen(&grpc)).http(&listen(&http)).yaml();
    // One is left from a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&grpc)?);
    let sluicegate = Sluicegate::start(&config).await?;
    assert_eq!(sluicegate.listener("grpc.otlp"), format!("unix://{}", grpc.display()));
    serves_others(&sluicegate).await;
    assert_eq!(sink.logs().len(), Protocol::ALL.len());
    let ended = sluicegate.stop().await?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!grpc.exists() && !http.exists());

    let _other = UnixListener::bind(&grpc)?;
    fs::write(&http, "precious")?;
    let (_folder, file) = program::write(&config)?;
    let ended = self::sluicegate(&["run", "--config", file.to_str().expect("a path in UTF-8")]).await?;
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    for reason in ["another program listens there", "there is a file that is no socket"] {
        assert!(ended.log.contains(reason), "{}", ended.log);
    }
    assert_eq!(fs::read_to_string(&http)?, "precious");
    Ok(())
}

#[tokio::test]
async fn who_comes_to_the_wrong_port_is_told() -> Result<()> {
    let sluicegate = Sluicegate::start(&Config::to("http://127.0.0.1:1").http("").yaml()).await?;
    let answer = Client::new(sluicegate.listener("grpc.otlp"), Protocol::Http1).send().await?;
    assert_eq!(answer.status, 400);
    let text = String::from_utf8_lossy(&answer.body);
    let expected = format!("OTLP/HTTP is taken at {}", sluicegate.listener("http.otlp"));
    assert!(text.contains(&expected), "{text}");
    let labels = [("receiver", "otlp"), ("transport", "grpc"), ("reason", "invalid_argument")];
    assert_eq!(sluicegate.page().await?.sum("receiver_refused_requests", &labels), 1);
    Ok(())
}

#[tokio::test]
async fn slow_and_lost_clients_hold_nobody_up() -> Result<()> {
    let sink = Sink::start();
    let keys = "read_header_timeout: 100ms, read_timeout: 60s";
    let mut sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).http(keys).yaml()).await?;
    // Those that never come to an end of their headers are cut off.
    for opening in ["", "POST /v1/logs HTTP/1.1\r\nHost: loc"] {
        let mut slow = TcpStream::connect(sluicegate.http()).await?;
        slow.write_all(opening.as_bytes()).await?;
        serves_others(&sluicegate).await;
        assert_eq!(patiently("the connection to be closed", slow.read(&mut [0])).await?, 0);
    }
    // What half a request holds is given back with its sender.
    let in_flight =
        async |sluicegate: &Sluicegate| sluicegate.page().await.expect("a page").gauge("receiver_in_flight_bytes");
    let mut lost = TcpStream::connect(sluicegate.http()).await?;
    lost.write_all(&[HALF, &[0; 1000]].concat()).await?;
    until("half a request to be held", async || in_flight(&sluicegate).await > 0).await;
    serves_others(&sluicegate).await;
    drop(lost);
    until("it to be given back", async || in_flight(&sluicegate).await == 0).await;
    // So is a whole one, whose sender goes while it waits.
    sink.answer(Answer::Hold);
    let arrived = sink.logs().len();
    let client = Client::new(sluicegate.listener("http.otlp"), Protocol::Http1);
    let waiting = tokio::spawn(async move { client.send().await });
    sink.arrived(arrived + 1).await;
    assert!(in_flight(&sluicegate).await > 0);
    waiting.abort();
    until("it to be given back", async || in_flight(&sluicegate).await == 0).await;
    sink.answer(Answer::Take);
    serves_others(&sluicegate).await;
    sluicegate.process().signal("TERM").await?;
    assert_eq!(sluicegate.process().end().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_thousand_idle_connections_cost_little() -> Result<()> {
    const CONNECTIONS: usize = 1000;
    const LIMIT: usize = 64 << 20;
    let sink = Sink::start();
    let mut sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).http("").yaml()).await?;
    serves_others(&sluicegate).await;
    let before = sluicegate.peak_memory()?;
    let (grpc, http) = (sluicegate.grpc(), sluicegate.http());
    let mut opening = JoinSet::new();
    for n in 0..CONNECTIONS {
        // Half of them have only opened HTTP/2, and half have had an answer.
        opening.spawn(async move {
            let (address, bytes) = if n % 2 == 0 {
                (grpc, OPENING)
            } else {
                (http, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice())
            };
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(bytes).await?;
            stream.read_exact(&mut [0; 9]).await?;
            std::io::Result::Ok(stream)
        });
    }
    let opened = patiently("all connections", opening.join_all()).await;
    let opened: Vec<_> = opened.into_iter().collect::<std::io::Result<_>>()?;
    serves_others(&sluicegate).await;
    let grown = sluicegate.peak_memory()?.saturating_sub(before);
    assert!(grown < LIMIT, "{CONNECTIONS} connections took {} KiB", grown >> 10);
    sluicegate.process().signal("TERM").await?;
    let ended = sluicegate.process().end().await?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    drop(opened);
    Ok(())
}
