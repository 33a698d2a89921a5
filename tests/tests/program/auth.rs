//! Who may send: tokens and passwords, on both transports.
use std::fs;

use anyhow::Result;
use sluicegate_tests::{
    client::{Client, Protocol},
    config::Config,
    program::Sluicegate,
    sink::Sink,
    until,
};

/// `open sesame`, by bcrypt at its lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

async fn start(sink: &Sink, extension: &str, keys: &str) -> Result<Sluicegate> {
    let auth = format!("auth: {{ authenticator: {extension} }}");
    let config = Config::to(&sink.endpoint()).grpc(&auth).http(&auth).extension(extension, keys);
    Sluicegate::start(&config.yaml()).await
}

/// Sends with this `authorization`, by every protocol, and says how many times that was not let in.
async fn check(sluicegate: &Sluicegate, authorization: Option<&str>, expected: bool) {
    for protocol in Protocol::ALL {
        let client = Client::new(sluicegate.listener(protocol.listener()), protocol);
        let client = match authorization {
            Some(value) => client.header("authorization", value),
            None => client,
        };
        let answer = client.send().await.expect("an answer");
        let status = if expected { protocol.taken() } else { protocol.unauthenticated() };
        assert_eq!(answer.status, status, "{protocol:?} {authorization:?}: {answer:?}");
        if !expected && protocol != Protocol::Grpc {
            assert!(!answer.header("www-authenticate").expect("a challenge").is_empty());
        }
    }
}

async fn refused(sluicegate: &Sluicegate, transport: &str) -> u64 {
    let labels = [("receiver", "otlp"), ("transport", transport), ("reason", "unauthenticated")];
    sluicegate.page().await.expect("a page").sum("receiver_refused_requests", &labels)
}

fn basic(credentials: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

#[tokio::test]
async fn tokens_let_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    fs::write(&file, "from-the-file\n")?;
    let sink = Sink::start();
    let sluicegate = start(&sink, "bearertokenauth", &format!("token: inline, filename: {file:?}")).await?;
    check(&sluicegate, Some("Bearer inline"), true).await;
    check(&sluicegate, Some("Bearer from-the-file"), true).await;
    check(&sluicegate, Some("Bearer hush-hush"), false).await;
    check(&sluicegate, None, false).await;
    assert_eq!((refused(&sluicegate, "grpc").await, refused(&sluicegate, "http").await), (2, 4));

    fs::write(&file, "rotated\n")?;
    let rotated =
        Client::new(sluicegate.listener("grpc.otlp"), Protocol::Grpc).header("authorization", "Bearer rotated");
    until("the new token to be taken", async || rotated.send().await.is_ok_and(|answer| answer.status == 0)).await;
    check(&sluicegate, Some("Bearer from-the-file"), false).await;
    let ended = sluicegate.stop().await?;
    for secret in ["inline", "from-the-file", "rotated", "hush-hush"] {
        assert!(!ended.log.contains(secret), "{secret} is in the log:\n{}", ended.log);
    }
    Ok(())
}

#[tokio::test]
async fn passwords_let_in() -> Result<()> {
    let sink = Sink::start();
    let users = format!("plain:secret\nhashed:{HASH}\n").replace('$', "$$");
    let sluicegate = start(&sink, "basicauth/people", &format!("htpasswd: {{ inline: {users:?} }}")).await?;
    check(&sluicegate, Some(&basic("plain:secret")), true).await;
    check(&sluicegate, Some(&basic("hashed:open sesame")), true).await;
    check(&sluicegate, Some(&basic("hashed:hush-hush")), false).await;
    check(&sluicegate, Some(&basic("nobody:open sesame")), false).await;
    check(&sluicegate, Some("Bearer secret"), false).await;
    let ended = sluicegate.stop().await?;
    for secret in ["secret", "open sesame", "hush-hush"] {
        assert!(!ended.log.contains(secret), "{secret} is in the log:\n{}", ended.log);
    }
    Ok(())
}

#[tokio::test]
async fn health_is_told_to_everybody() -> Result<()> {
    let sluicegate = start(&Sink::start(), "bearertokenauth", "token: inline").await?;
    let client = Client::new(sluicegate.listener("grpc.otlp"), Protocol::Grpc);
    let empty = bytes::Bytes::from_static(&[0; 5]);
    let of_grpc = [("content-type", "application/grpc")];
    for (path, expected) in [
        ("/grpc.health.v1.Health/Check", 0),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 16),
        ("/anything.else/Export", 16),
    ] {
        assert_eq!(client.post(path, &of_grpc, empty.clone()).await?.status, expected, "{path}");
    }
    // What has that path elsewhere is not health.
    let client = Client::new(sluicegate.listener("http.otlp"), Protocol::Http1);
    assert_eq!(client.post("/grpc.health.v1.Health/Check", &[], "").await?.status, 401);
    Ok(())
}
