//! Collector → Sluicegate → Collector, by every protocol that the Collector's exporters speak, in every compression.
use std::{fmt::Write as _, net::SocketAddr};

use sluicegate_tests::{config::Config, otlp, program::Sluicegate, sender::Sender};

use crate::{collector::Collector, inputs};

/// How one sends to the next: the type and the key by which an exporter speaks so, of the Collector's as of
/// Sluicegate's.
#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    exporter: &'static str,
    key: &'static str,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol { name: "grpc", exporter: "otlp", key: "tls: { insecure: true }" },
    Protocol { name: "proto", exporter: "otlphttp", key: "encoding: proto" },
    Protocol { name: "json", exporter: "otlphttp", key: "encoding: json" },
];

const COMPRESSIONS: [&str; 3] = ["none", "gzip", "zstd"];

/// With these keys a Collector's exporter answers for what it sends: it takes only what the next one took.
const UNQUEUED: &str = "sending_queue: { enabled: false }, retry_on_failure: { enabled: false }";

/// The way of one request: a protocol and a compression to Sluicegate, and the same from there.
struct Way {
    name: String,
    to: (Protocol, &'static str),
    from: (Protocol, &'static str),
}

/// Every protocol to every other. Over them all each is seen with each compression, on either side.
fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for (i, to) in PROTOCOLS.into_iter().enumerate() {
        for (j, from) in PROTOCOLS.into_iter().enumerate() {
            let compressions = [COMPRESSIONS[(i + j) % 3], COMPRESSIONS[(i + 2 * j) % 3]];
            let name = format!("{}-{}_{}-{}", to.name, compressions[0], from.name, compressions[1]);
            ways.push(Way { name, to: (to, compressions[0]), from: (from, compressions[1]) });
        }
    }
    ways
}

impl Protocol {
    /// The keys of an exporter to one of these addresses, the first of which takes OTLP/gRPC.
    fn keys(self, compression: &str, [grpc, http]: [SocketAddr; 2]) -> String {
        let address = if self.name == "grpc" { grpc } else { http };
        // As long as a busy machine may take.
        format!("endpoint: 'http://{address}', {}, compression: {compression}, timeout: 60s", self.key)
    }
}

/// What the second Collector gets from the first through Sluicegate is what it gets from the first straight.
#[tokio::test]
async fn every_protocol_leads_to_every_other() {
    const STRAIGHT: &str = "straight";
    let ways = ways();
    let names = ways.iter().map(|way| way.name.as_str()).chain([STRAIGHT]);
    let second = Collector::with_files(names).await.expect("the second Collector starts");
    let mut sluicegates = Vec::new();
    let mut exporters = format!(
        "  otlp/straight: {{ {}, {UNQUEUED} }}\n",
        PROTOCOLS[0].keys("none", [second.address(STRAIGHT), second.http(STRAIGHT)])
    );
    let mut all = "otlp/straight".to_owned();
    for Way { name, to, from } in &ways {
        let keys = from.0.keys(from.1, [second.address(name), second.http(name)]);
        let config = Config::default().exporter(&format!("{}/main", from.0.exporter), &format!("{{ {keys} }}"));
        let sluicegate = Sluicegate::start(&config.http("").profiles().yaml()).await.expect("it starts");
        let keys = to.0.keys(to.1, [sluicegate.grpc(), sluicegate.http()]);
        let exporter = format!("{}/{name}", to.0.exporter);
        let _ = writeln!(exporters, "  {exporter}: {{ {keys}, {UNQUEUED} }}");
        let _ = write!(all, ", {exporter}");
        sluicegates.push(sluicegate);
    }
    let pipelines = ["logs", "traces", "metrics", "profiles"]
        .map(|signal| format!("    {signal}: {{ receivers: [otlp/in], exporters: [{all}] }}\n"))
        .concat();
    let config = format!(
        "receivers:\n  otlp/in: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:0' }} }} }}\n\
         exporters:\n{exporters}\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n{pipelines}"
    );
    let first = Collector::start(&config).await.expect("the first Collector starts");
    let sender = Sender::new(first.address("in"));
    for (signal, body) in inputs::all() {
        let answer = sender.send(signal, body).await;
        answer.unwrap_or_else(|status| panic!("{signal:?}: {status}\n{}", first.log()));
    }
    let files = second.stop().await.expect("the second Collector ends");
    let straight = files.text(STRAIGHT).expect("a file");
    let straight: Vec<_> = straight.lines().collect();
    assert_eq!(straight.len(), inputs::all().len());
    for Way { name, .. } in &ways {
        let through = files.text(name).expect("a file");
        otlp::assert_same(name, &through.lines().collect::<Vec<_>>(), &straight);
    }
}
