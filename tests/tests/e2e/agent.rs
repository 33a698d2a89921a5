//! Collector → Sluicegate → Collector, as an agent on a node would send.
use std::net::TcpListener;

use sluicegate_tests::{config::Config, otlp, program::Sluicegate, sender::Sender, until};

use crate::collector::Collector;

/// An agent that batches, compresses, and tries again soon.
fn agent(sluicegate: &Sluicegate) -> String {
    format!(
        "receivers:\n  otlp/in: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:0' }} }} }}\n\
         processors:\n  batch: {{ timeout: 50ms, send_batch_size: 100 }}\n\
         exporters:\n  otlp/out:\n    endpoint: '{}'\n    tls: {{ insecure: true }}\n    compression: gzip\n    \
         retry_on_failure: {{ initial_interval: 50ms, max_interval: 200ms }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    \
         logs: {{ receivers: [otlp/in], processors: [batch], exporters: [otlp/out] }}\n",
        sluicegate.grpc()
    )
}

/// The second Collector comes up only after the agent was told to try again. All that the filter keeps arrives, once.
#[tokio::test]
async fn nothing_is_lost_while_the_second_collector_is_down() {
    const REQUESTS: usize = 50;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("the system gives a port").to_string();
    let config = Config::to(&format!("http://{address}")).filter("drop_below_severity", "settings: { minimum: INFO }");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let agent = Collector::start(&agent(&sluicegate)).await.expect("the agent starts");
    let sender = Sender::new(agent.address("in"));
    let mut kept = Vec::new();
    for n in 0..REQUESTS {
        let keep = otlp::record(9, &format!("record {n:03}"));
        let drop = otlp::record(5, &format!("noise {n:03}"));
        sender.send_logs(&otlp::request([keep.clone(), drop])).await.expect("the agent takes it");
        kept.push(otlp::request([keep]));
    }
    until("a request to be refused", async || sluicegate.page().await.is_ok_and(|page| page.accounts().refused > 0))
        .await;
    let second = Collector::with_files_at(&[("kept", &address)]).await.expect("the Collector starts");
    until("all records to arrive", async || second.logs("kept").is_ok_and(|logs| otlp::count(&logs) >= REQUESTS)).await;
    agent.stop().await.expect("the agent ends");
    let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
    assert!(accounts.balance(), "{accounts:?}");
    sluicegate.stop().await.expect("it stops");
    let files = second.stop().await.expect("the Collector ends");
    let body = |row: &otlp::Row| format!("{:?}", row.record.body);
    let mut arrived = files.rows("kept").expect("OTLP JSON");
    arrived.sort_by_key(body);
    otlp::assert_same("what arrived", &arrived, &otlp::rows(&kept));
}
