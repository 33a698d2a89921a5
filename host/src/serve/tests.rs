use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tonic::Code;

use super::*;
use crate::{
    receive::{Request, Response},
    status::Error,
    testing::{client, get, logs},
};

/// Answers as many requests as it has permits for. Says when one has come.
#[derive(Debug, Clone)]
struct Gate {
    arrived: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Handler for Gate {
    async fn export(&self, _: Request) -> Result<Response, Error> {
        self.arrived.add_permits(1);
        self.answers.acquire().await.unwrap().forget();
        Ok(Response::default())
    }
}

/// A server that runs, and what a test does with it.
struct Running {
    addresses: Vec<(String, Address)>,
    gate: Gate,
    metrics: Metrics,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), ServeError>>,
}

fn config(grpc: &str) -> Config {
    let text = format!(
        "
receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }} }} }} }}
exporters: {{ debug: {{}} }}
extensions: {{ health_check: {{ endpoint: '127.0.0.1:0' }} }}
service:
  pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }}
  telemetry: {{ metrics: {{ endpoint: '127.0.0.1:0' }} }}
  extensions: [health_check]
"
    );
    let parsed = Config::parse(text, Path::new("sluicegate.yaml"), &|_| None);
    parsed.unwrap_or_else(|problems| panic!("{problems}")).0
}

async fn bound(config: &Config) -> Result<(Server, Gate, Metrics), Diagnostics> {
    let gate = Gate { arrived: Semaphore::new(0).into(), answers: Semaphore::new(0).into() };
    let metrics = Metrics::new();
    let server = Server::bind(config, &Access::load(config)?, metrics.clone(), |_, _| gate.clone()).await?;
    Ok((server, gate, metrics))
}

async fn start(grace: Duration) -> Running {
    let (server, gate, metrics) = bound(&config("127.0.0.1:0")).await.unwrap();
    let addresses = server.addresses().unwrap();
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(server.run(Threads::here(), shutdown.clone().cancelled_owned(), grace));
    Running { addresses, gate, metrics, shutdown, ended }
}

impl Running {
    fn address(&self, name: &str) -> SocketAddr {
        self.addresses.iter().find(|(found, _)| found == name).unwrap().1.to_string().parse().unwrap()
    }

    /// Sends a request and waits until it has come.
    async fn send(&self) -> JoinHandle<Result<(), tonic::Status>> {
        let mut client = client(self.address("grpc.otlp"));
        let sent = tokio::spawn(async move { client.export(logs(1, "INFO")).await.map(drop) });
        self.gate.arrived.acquire().await.unwrap().forget();
        sent
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let running = start(LONG).await;
    let (grpc, health) = (running.address("grpc.otlp"), running.address("health_check"));
    let sent = running.send().await;
    assert_eq!(get(health, "/").await, (200, r#"{"status":"Server available"}"#.to_owned()));

    running.shutdown.cancel();
    while get(health, "/").await.0 == 200 {}
    assert_eq!(get(health, "/").await, (503, r#"{"status":"Server not available"}"#.to_owned()));
    while TcpStream::connect(grpc).await.is_ok() {}
    assert!(!running.ended.is_finished());

    running.gate.answers.add_permits(1);
    sent.await.unwrap().unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_done_in_time_is_told_to_try_again() {
    let running = start(Duration::ZERO).await;
    let sent = running.send().await;
    running.shutdown.cancel();
    let error = running.ended.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "1 request was not done within the grace period of 0ns");
    let status = sent.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "shutting down"));
}

#[tokio::test]
async fn connections_without_requests_do_not_hold_it_up() {
    let running = start(LONG).await;
    running.gate.answers.add_permits(1);
    let mut idle = client(running.address("grpc.otlp"));
    idle.export(logs(1, "INFO")).await.unwrap();
    let silent = TcpStream::connect(running.address("grpc.otlp")).await.unwrap();
    running.shutdown.cancel();
    running.ended.await.unwrap().unwrap();
    drop((idle, silent));
}

#[tokio::test]
async fn the_metrics_are_a_page() {
    let running = start(LONG).await;
    running.metrics.receiver("otlp", "grpc").accepted(7);
    let (status, page) = get(running.address("metrics"), "/metrics").await;
    assert_eq!(status, 200);
    let line = r#"sluicegate_receiver_accepted_log_records_total{receiver="otlp",transport="grpc"} 7"#;
    assert!(page.lines().any(|found| found == line), "{page}");
    assert_eq!(get(running.address("metrics"), "/").await.0, 404);
}

#[tokio::test]
async fn a_port_in_use_is_shown_in_the_configuration() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let problems = bound(&config(&address.to_string())).await.unwrap_err().to_string();
    let port = address.port().to_string();
    insta::assert_snapshot!(problems.replace(&port, "40317"));
}
