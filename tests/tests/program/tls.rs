//! TLS: who is let in, who is not, and new certificates without a restart.
use std::fs;

use anyhow::Result;
use sluicegate_tests::{
    authority::{Authority, ONLY_TLS12, VERSIONS},
    client::{Client, Protocol},
    config::Config,
    program::{self, Sluicegate, sluicegate},
    sink::Sink,
    until,
};
use tokio_rustls::rustls::ClientConfig;

/// A server whose both listeners have these keys.
async fn start(sink: &Sink, keys: &str) -> Result<Sluicegate> {
    Sluicegate::start(&Config::to(&sink.endpoint()).grpc(keys).http(keys).yaml()).await
}

/// Whether all protocols let this client in.
async fn check(sluicegate: &Sluicegate, client: &ClientConfig, expected: bool) {
    for protocol in Protocol::ALL {
        let sent = Client::new(sluicegate.listener(protocol.listener()), protocol).tls(client).send().await;
        match sent {
            Ok(answer) => assert!(expected && answer.status == protocol.taken(), "{protocol:?}: {answer:?}"),
            Err(error) => assert!(!expected, "{protocol:?}: {error:#}"),
        }
    }
}

async fn failed_handshakes(sluicegate: &Sluicegate, transport: &str) -> u64 {
    let page = sluicegate.page().await.expect("a page");
    page.sum("receiver_failed_tls_handshakes", &[("receiver", "otlp"), ("transport", transport)])
}

#[tokio::test]
async fn clients_check_the_server() -> Result<()> {
    let (ours, theirs) = (Authority::new()?, Authority::new()?);
    ours.issue("localhost")?;
    let sink = Sink::start();
    let sluicegate = start(&sink, &ours.listener("localhost", "")).await?;
    check(&sluicegate, &ours.client(None, VERSIONS)?, true).await;
    check(&sluicegate, &ours.client(None, ONLY_TLS12)?, true).await;
    check(&sluicegate, &theirs.client(None, VERSIONS)?, false).await;
    until("the refusals to be counted", async || {
        failed_handshakes(&sluicegate, "grpc").await == 1 && failed_handshakes(&sluicegate, "http").await == 2
    })
    .await;
    assert_eq!(sink.logs().len(), 2 * Protocol::ALL.len());

    let clear = Client::new(sluicegate.listener("http.otlp"), Protocol::Http1);
    clear.send().await.expect_err("nothing but TLS is spoken");
    Ok(())
}

#[tokio::test]
async fn the_server_checks_clients() -> Result<()> {
    let (ours, theirs) = (Authority::new()?, Authority::new()?);
    ours.issue("localhost")?;
    ours.issue("app")?;
    theirs.issue("app")?;
    // It trusts our server, and shows a certificate that nobody knows.
    fs::copy(ours.file("ca.pem"), theirs.file("ca.pem"))?;
    let sink = Sink::start();
    let more = format!("client_ca_file: {:?}, min_version: '1.3'", ours.file("ca.pem"));
    let sluicegate = start(&sink, &ours.listener("localhost", &more)).await?;
    check(&sluicegate, &ours.client(Some("app"), VERSIONS)?, true).await;
    check(&sluicegate, &ours.client(None, VERSIONS)?, false).await;
    check(&sluicegate, &theirs.client(Some("app"), VERSIONS)?, false).await;
    check(&sluicegate, &ours.client(Some("app"), ONLY_TLS12)?, false).await;
    until("the refusals to be counted", async || failed_handshakes(&sluicegate, "http").await == 6).await;
    assert_eq!(sink.logs().len(), Protocol::ALL.len());
    Ok(())
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart() -> Result<()> {
    let (old, new) = (Authority::new()?, Authority::new()?);
    old.issue("localhost")?;
    new.issue("localhost")?;
    let sink = Sink::start();
    let sluicegate = start(&sink, &old.listener("localhost", "reload_interval: 1ms")).await?;
    check(&sluicegate, &old.client(None, VERSIONS)?, true).await;

    fs::write(old.file("localhost.pem"), "half a")?;
    check(&sluicegate, &old.client(None, VERSIONS)?, true).await;
    for file in ["localhost.key", "localhost.pem"] {
        fs::copy(new.file(file), old.file(file))?;
    }
    let client = new.client(None, VERSIONS)?;
    until("the new certificate to be used", async || {
        Client::new(sluicegate.listener("grpc.otlp"), Protocol::Grpc).tls(&client).send().await.is_ok()
    })
    .await;
    check(&sluicegate, &client, true).await;
    check(&sluicegate, &old.client(None, VERSIONS)?, false).await;
    let ended = sluicegate.stop().await?;
    assert!(ended.log.contains("it holds no certificate in PEM"), "{}", ended.log);
    Ok(())
}

#[tokio::test]
async fn bad_files_are_refused_before_anything_is_served() -> Result<()> {
    let authority = Authority::new()?;
    authority.issue("localhost")?;
    authority.issue("another")?;
    fs::copy(authority.file("another.key"), authority.file("localhost.key"))?;
    let yaml = Config::to("http://127.0.0.1:1").grpc(&authority.listener("localhost", "")).yaml();
    let (_folder, file) = program::write(&yaml)?;
    let file = file.to_str().expect("a path in UTF-8");
    for command in ["validate", "run"] {
        let ended = sluicegate(&[command, "--config", file]).await?;
        assert_eq!(ended.code, Some(2), "{}", ended.log);
        assert!(ended.log.contains("its private key is not that of the certificate"), "{}", ended.log);
        assert!(ended.log.contains("key_file"), "{}", ended.log);
    }
    Ok(())
}
