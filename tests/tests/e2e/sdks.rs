//! Application with an official SDK → Sluicegate → destination, for every SDK and every protocol that it speaks.
//! The applications are in `tests/sdks`.
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::{DecodeError, Message as _};
use serde_json::Value;
use sluicegate_tests::{
    config::Config,
    otlp::assert_same,
    process::Process,
    program::Sluicegate,
    sink::{Answer, Sink},
    until,
    wire::Signal,
};
use tokio::process::Command;
use tonic::Status;

use crate::{collector::Collector, telemetry::Telemetry};

/// How many log records each application emits. It emits two spans for each.
const COUNT: usize = 100;

/// An application that uses an SDK.
struct Sdk {
    /// Its folder.
    name: &'static str,
    /// What runs it in there.
    command: &'static [&'static str],
    /// The protocols that its exporters speak.
    protocols: &'static [Protocol],
    /// `OTEL_EXPORTER_OTLP_TIMEOUT` of half a minute, which one SDK counts in seconds.
    timeout: &'static str,
}

/// What `OTEL_EXPORTER_OTLP_PROTOCOL` says, and whether the SDK tries again what was refused for now.
struct Protocol(&'static str, Habit);

/// What an SDK does with what was refused for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Retries,
    GivesUp,
}

use Habit::{GivesUp, Retries};

const PYTHON: Sdk = Sdk {
    name: "python",
    command: &["./venv/bin/python", "emit.py"],
    protocols: &[Protocol("grpc", Retries), Protocol("http/protobuf", Retries)],
    timeout: "30",
};

const JAVASCRIPT: Sdk = Sdk {
    name: "javascript",
    command: &["node", "emit.js"],
    protocols: &[Protocol("grpc", GivesUp), Protocol("http/protobuf", Retries), Protocol("http/json", Retries)],
    timeout: "30000",
};

const GO: Sdk = Sdk {
    name: "go",
    command: &["./emit"],
    protocols: &[Protocol("grpc", Retries), Protocol("http/protobuf", Retries)],
    timeout: "30000",
};

const JAVA: Sdk = Sdk {
    name: "java",
    // It runs for a moment only, so it should begin soon.
    command: &[
        "java",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        "target/classes:target/libraries/*",
        "Emit",
    ],
    protocols: &[Protocol("grpc", Retries), Protocol("http/protobuf", Retries)],
    timeout: "30000",
};

const RUST: Sdk = Sdk {
    name: "rust",
    command: &["../../debug/sdk-rust"],
    protocols: &[Protocol("grpc", Retries), Protocol("http/protobuf", Retries), Protocol("http/json", Retries)],
    timeout: "30000",
};

/// The tests of each SDK, in a module that has its name.
macro_rules! sdks {
    ($($name:ident: $sdk:ident),*) => {$(
        mod $name {
            #[tokio::test]
            async fn what_it_emits_arrives_as_if_sent_straight() {
                super::arrives(&super::$sdk).await;
            }

            #[tokio::test]
            async fn it_loses_no_more_than_against_a_collector() {
                super::loses_no_more(&super::$sdk).await;
            }
        }
    )*};
}

sdks!(python: PYTHON, javascript: JAVASCRIPT, go: GO, java: JAVA, rust: RUST);

/// Compares what a Collector gets through Sluicegate with what it gets without, compressed and not.
async fn arrives(sdk: &Sdk) {
    let collector = Collector::with_files(["straight", "through"]).await.expect("the Collector starts");
    let config = Config::to(&format!("http://{}", collector.address("through"))).http("");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let mut cases = Vec::new();
    for Protocol(protocol, _) in sdk.protocols {
        let (straight, through) = match *protocol {
            "grpc" => (collector.address("straight"), sluicegate.grpc()),
            _ => (collector.http("straight"), sluicegate.http()),
        };
        for compression in [None, Some("gzip")] {
            let case = format!("{protocol} {}", compression.unwrap_or("uncompressed"));
            let run = |address| report(sdk.start(&case, protocol, compression, address));
            let (straight, through) = tokio::join!(run(straight), run(through));
            assert_eq!(through, straight, "{}, {case}: what the application was told", sdk.name);
            cases.push(case);
        }
    }
    let files = collector.stop().await.expect("the Collector ends");
    let [straight, through] = ["straight", "through"].map(|name| {
        let text = files.text(name).expect("a file");
        text.lines().map(|line| serde_json::from_str(line).expect("OTLP JSON")).collect::<Vec<Value>>()
    });
    for case in cases {
        let what = format!("{}, {case}", sdk.name);
        let [straight, through] = [&straight, &through].map(|requests| Telemetry::read(&case, requests.clone()));
        assert_eq!((straight.logs.len(), straight.spans.len()), (COUNT, 2 * COUNT), "{what}: emitted");
        assert_same(&format!("{what}: spans"), &through.spans, &straight.spans);
        assert_same(&format!("{what}: logs"), &through.logs, &straight.logs);
        assert_same(&format!("{what}: metrics"), &through.metrics, &straight.metrics);
    }
}

/// A destination is down at first and comes up while the SDK tries. What arrives is what arrives where a Collector
/// that keeps nothing itself stands in Sluicegate's place.
async fn loses_no_more(sdk: &Sdk) {
    for Protocol(protocol, habit) in sdk.protocols {
        let what = format!("{}, {protocol}", sdk.name);
        let (through, beyond) = tokio::join!(against_sluicegate(sdk, protocol), against_collector(sdk, protocol));
        assert_eq!(through.report, beyond.report, "{what}: what the application was told");
        assert_same(&format!("{what}: spans"), &through.arrived.spans, &beyond.arrived.spans);
        assert_same(&format!("{what}: logs"), &through.arrived.logs, &beyond.arrived.logs);
        assert_same(&format!("{what}: metrics"), &through.metrics(), &beyond.metrics());
        let expected = if *habit == Retries { COUNT } else { 0 };
        assert_eq!(through.arrived.logs.len(), expected, "{what}: log records that arrived");
    }
}

/// What became of an application whose telemetry was refused at first.
struct Outcome {
    /// What the application was told.
    report: Value,
    /// What arrived in the end.
    arrived: Telemetry,
}

/// The destination isn't there at first.
async fn against_sluicegate(sdk: &Sdk, protocol: &str) -> Outcome {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let destination = free.expect("the system gives a port");
    let config = Config::to(&format!("http://{destination}")).http("");
    let mut sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let address = if protocol == "grpc" { sluicegate.grpc() } else { sluicegate.http() };
    let application = sdk.start("interrupted", protocol, None, address);
    let told = async || every_signal(&sluicegate.process().log(), "\"level\":\"WARN\"", "\"signal\":");
    until("every signal to be refused", told).await;
    Outcome::of(application, &Sink::start_at(destination)).await
}

/// The destination refuses at first: were it not there, the Collector would leave it alone for longer than some SDKs
/// wait.
async fn against_collector(sdk: &Sdk, protocol: &str) -> Outcome {
    let sink = Sink::start();
    sink.answer(Answer::Refuse(Status::unavailable("down")));
    let config = format!(
        "receivers:\n  \
         otlp/in: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:0' }}, http: {{ endpoint: '127.0.0.1:0' }} }} }}\n\
         exporters:\n  otlp/out:\n    endpoint: '{}'\n    tls: {{ insecure: true }}\n    \
         sending_queue: {{ enabled: false }}\n    retry_on_failure: {{ enabled: false }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    \
         logs: {{ receivers: [otlp/in], exporters: [otlp/out] }}\n    \
         traces: {{ receivers: [otlp/in], exporters: [otlp/out] }}\n    \
         metrics: {{ receivers: [otlp/in], exporters: [otlp/out] }}\n",
        sink.address()
    );
    let collector = Collector::start(&config).await.expect("the Collector starts");
    let address = if protocol == "grpc" { collector.address("in") } else { collector.http("in") };
    let application = sdk.start("interrupted", protocol, None, address);
    let told = async || every_signal(&collector.log(), "Exporting failed", "\"otelcol.signal\": ");
    until("every signal to be refused", told).await;
    sink.answer(Answer::Take);
    Outcome::of(application, &sink).await
}

/// Whether `log` has a line with `message` for every signal, whose name stands after `field`.
fn every_signal(log: &str, message: &str, field: &str) -> bool {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(message)).collect();
    let tells_of = |signal: &&str| lines.iter().any(|line| line.contains(&format!("{field}\"{signal}\"")));
    ["logs", "traces", "metrics"].iter().all(tells_of)
}

impl Sdk {
    /// Starts the application as the service `service`, to send to `address`.
    fn start(&self, service: &str, protocol: &str, compression: Option<&str>, address: SocketAddr) -> Process {
        let folder = sluicegate_tests::target_dir().join("sdks").join(self.name);
        assert!(folder.exists(), "{} is missing: run `cargo xtask e2e`", folder.display());
        let program = match self.command[0] {
            relative if relative.starts_with('.') => folder.join(relative),
            installed => PathBuf::from(installed),
        };
        let mut command = Command::new(program);
        command
            .args(&self.command[1..])
            .current_dir(folder)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", self.timeout)
            .env("OTEL_RESOURCE_ATTRIBUTES", format!("service.name={service},shop.region=north"))
            .envs(compression.map(|compression| ("OTEL_EXPORTER_OTLP_COMPRESSION", compression)));
        Process::start(command).expect("the application starts")
    }
}

impl Outcome {
    /// Waits for the end of an application whose telemetry arrives at `sink`.
    async fn of(application: Process, sink: &Sink) -> Self {
        let report = report(application).await;
        let requests = sink.taken().into_iter().map(|received| match received.signal {
            Signal::Logs => json(ExportLogsServiceRequest::decode(received.body).map(serde_json::to_value)),
            Signal::Traces => json(ExportTraceServiceRequest::decode(received.body).map(serde_json::to_value)),
            Signal::Metrics => json(ExportMetricsServiceRequest::decode(received.body).map(serde_json::to_value)),
            Signal::Profiles => panic!("no SDK sends profiles"),
        });
        Self { report, arrived: Telemetry::read("interrupted", requests) }
    }

    /// The metrics that arrived, each once: they are collected when they are flushed and at the end again, and so
    /// arrive twice or, where the first attempt was given up, once.
    fn metrics(&self) -> Vec<Value> {
        let mut metrics = self.arrived.metrics.clone();
        metrics.dedup();
        metrics
    }
}

/// Waits until an application has ended, and returns what it reports.
async fn report(mut application: Process) -> Value {
    let ended = application.end().await.expect("the application ends");
    let report = serde_json::from_str(&ended.output);
    report.unwrap_or_else(|error| panic!("{error} in {:?}; the log:\n{}", ended.output, ended.log))
}

/// A request that was decoded and written as OTLP JSON.
fn json(request: Result<serde_json::Result<Value>, DecodeError>) -> Value {
    request.expect("what is forwarded is valid").expect("a request is OTLP JSON")
}
