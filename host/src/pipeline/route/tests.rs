use tonic::Status;

use bytes::Bytes;

use super::*;
use crate::config;
use crate::telemetry::Metrics;
use crate::testing::{Collector, logs_bytes, otlp_grpc};

fn destination(name: &str, collector: &Collector, metrics: &Metrics) -> Destination {
    let settings = config::Exporter::Otlp(otlp_grpc(collector.address));
    Destination { exporter: Exporter::new(name, &settings).unwrap(), counts: metrics.exporter(name) }
}

/// Each takes records without a route, and those of one that no other takes.
fn routes(collectors: &[(&str, &Collector)], metrics: &Metrics) -> Routes {
    let takes = |name: &str| BTreeSet::from([None, Some(name.to_owned())]);
    Routes::new(collectors.iter().map(|(name, collector)| (destination(name, collector, metrics), takes(name))))
}

async fn refusing(reason: &'static str) -> Collector {
    Collector::answering(move || Err(Status::invalid_argument(reason))).await
}

#[tokio::test]
async fn a_record_that_several_destinations_refuse_is_refused_once() {
    let (taking, first, second) = (Collector::start().await, refusing("old").await, refusing("odd").await);
    let metrics = Metrics::new();
    let routes = routes(&[("a", &taking), ("b", &first), ("c", &second)], &metrics);
    let request = Request::new(Signal::Logs, logs_bytes(2, "INFO"));
    let batch = Batch::new(request.body.clone()).unwrap();
    let response = deliver(routes.encode(&batch), &request, |refused| batch.count(refused)).await.unwrap();
    let error_message = "exporter b: InvalidArgument: old; exporter c: InvalidArgument: odd".to_owned();
    assert_eq!(response.partial_success, Some(PartialSuccess { rejected: 2, error_message }));
    let page = metrics.render();
    for line in [
        "sent_log_records_total{exporter=\"a\"} 2",
        "send_failed_log_records_total{exporter=\"b\"} 2",
        "duplicated_log_records_total{exporter=\"a\"} 0",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn what_was_taken_arrives_twice_when_the_sender_goes_away() {
    let taking = Collector::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = Metrics::new();
    let pending = config::Exporter::Otlp(otlp_grpc(silent.local_addr().unwrap()));
    let pending = Destination { exporter: Exporter::new("b", &pending).unwrap(), counts: metrics.exporter("b") };
    let destinations = Destinations(vec![destination("a", &taking, &metrics), pending]);
    let request = Request::new(Signal::Logs, logs_bytes(3, "INFO"));
    let takes = BTreeSet::from([None]);
    let parcel = |to| Parcel::new(to, Some(&takes), request.body.clone().into(), Signal::Logs, 3);
    let parcels = destinations.0.iter().map(parcel).collect();
    tokio::select! {
        answer = deliver(parcels, &request, |_| 3) => panic!("{answer:?}"),
        () = async {
            while !metrics.render().contains("sent_log_records_total{exporter=\"a\"} 3") {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let page = metrics.render();
    for line in ["duplicated_log_records_total{exporter=\"a\"} 3", "send_failed_log_records_total{exporter=\"b\"} 3"] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_ends_before_the_senders_wait_does() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = Metrics::new();
    let settings = config::OtlpExporter { timeout: None, ..otlp_grpc(silent.local_addr().unwrap()) };
    let exporter = Exporter::new("a", &config::Exporter::Otlp(settings)).unwrap();
    let destinations = Destinations(vec![Destination { exporter, counts: metrics.exporter("a") }]);
    let started = Instant::now();
    let deadline = Some(started + Duration::from_secs(10));
    let request = Request { deadline, ..Request::new(Signal::Traces, Bytes::new()) };
    deliver(destinations.parcels(&request), &request, |_| 0).await.unwrap_err();
    let waited = started.elapsed();
    assert!((9000..9100).contains(&waited.as_millis()), "{waited:?}");
}
