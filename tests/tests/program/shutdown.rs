//! SIGTERM: what was acknowledged is delivered, what was begun is finished.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sluicegate_tests::{
    config::Config,
    otlp, patiently,
    process::Process,
    program::{self, Sluicegate},
    sink::{Answer, Sink},
};
use tokio::{process::Command, sync::Notify, task::JoinSet};

#[tokio::test]
async fn requests_under_way_are_finished() {
    const REQUESTS: usize = 5;
    let sink = Sink::start();
    let mut sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    sink.answer(Answer::Hold);
    let mut waiting = JoinSet::new();
    for _ in 0..REQUESTS {
        let sender = sluicegate.sender();
        waiting.spawn(async move { sender.send_logs(&otlp::request([otlp::record(9, "one")])).await });
    }
    sink.arrived(REQUESTS).await;
    sluicegate.process().signal("TERM").await.expect("it runs");
    let draining = |line: &str| line.contains("draining").then_some(());
    sluicegate.process().wait_for_line(draining).await.expect("it says that it drains");
    assert!(waiting.try_join_next().is_none(), "none is cut off");
    sink.answer(Answer::Take);
    while let Some(answer) = waiting.join_next().await {
        answer.expect("no panic").expect("it is taken");
    }
    let ended = sluicegate.process().end().await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(sink.logs().len(), REQUESTS);
}

#[tokio::test]
async fn under_load_no_acknowledged_record_is_lost() {
    const SENDERS: usize = 8;
    const BEFORE: usize = 200;
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).filter("drop_below_severity", "settings: { minimum: INFO }");
    let mut sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (connection, count, enough) = (sluicegate.sender(), count.clone(), enough.clone());
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let body = format!("{sender}: {}", acknowledged.len());
                let request = otlp::request([otlp::record(9, &body), otlp::record(1, "noise")]);
                // It goes on past SIGTERM, until nobody answers any more.
                if connection.send_logs(&request).await.is_err() {
                    return acknowledged;
                }
                acknowledged.push(body);
                if count.fetch_add(1, Ordering::Relaxed) == BEFORE {
                    enough.notify_one();
                }
            }
        });
    }
    patiently("requests to be acknowledged", enough.notified()).await;
    sluicegate.process().signal("TERM").await.expect("it runs");
    let ended = sluicegate.process().end().await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    let mut acknowledged = HashSet::new();
    while let Some(sent) = senders.join_next().await {
        acknowledged.extend(sent.expect("no panic"));
    }
    let body = |row: otlp::Row| row.record.body.expect("a body");
    let delivered: Vec<_> = otlp::rows(&sink.logs()).into_iter().map(body).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|body| !delivered.contains(&otlp::text(body))).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    assert!(acknowledged.len() > BEFORE);
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_cut_off() {
    let sink = Sink::start();
    let (_folder, file) = sluicegate_tests::program::write(&Config::to(&sink.endpoint()).yaml()).expect("a file");
    let sluicegate = Sluicegate::start_with(&file, &["--grace-period", "50ms"], &[]).await;
    let mut sluicegate = sluicegate.expect("it starts");
    sink.answer(Answer::Hold);
    let sender = sluicegate.sender();
    let waiting = tokio::spawn(async move { sender.send_logs(&otlp::request([otlp::record(9, "one")])).await });
    sink.arrived(1).await;
    sluicegate.process().signal("TERM").await.expect("it runs");
    let ended = sluicegate.process().end().await.expect("it ends");
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let status = waiting.await.expect("no panic").expect_err("it is cut off");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(sink.taken().is_empty(), "what was not acknowledged may be sent again");
}

#[tokio::test]
async fn what_is_still_loading_is_given_up() {
    // As long as starting an instance may take, nearly.
    let slow = "settings: { how: panic, body: none, starting: 4500 }";
    let config = Config::to("http://127.0.0.1:1").filter("trap", slow);
    let (_folder, file) = program::write(&config.yaml()).expect("a file");
    let mut command = Command::new(program::binary());
    command.arg("run").arg("--config").arg(&file);
    let mut process = Process::start(command).expect("it starts");
    process.wait_for_line(|line| line.contains("loading").then_some(())).await.expect("it loads");
    let ended = process.stop().await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("stopped before serving"), "{}", ended.log);
}
