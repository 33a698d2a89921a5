//! Small requests that go to a destination together.
use sluicegate_tests::{
    config::Config,
    metrics::Accounts,
    otlp,
    program::Sluicegate,
    sink::{Answer, Sink},
    until,
};
use tonic::{Code, Status};

/// How many requests come while one is under way.
const WAITING: usize = 9;

/// Sends one request of two records, which is under way, and others behind it over the same connection. Returns what they
/// are answered once the sink answers so.
async fn send(sluicegate: &Sluicegate, sink: &Sink, answer: Answer) -> Vec<Result<(), Status>> {
    let before = sink.requests();
    sink.answer(Answer::Hold);
    let sender = sluicegate.sender();
    let send = |number: usize| {
        let (sender, text) = (sender.clone(), format!("request {number}"));
        tokio::spawn(async move {
            let request = otlp::request([otlp::record(9, &text), otlp::record(9, &text)]);
            sender.send_logs(&request).await.map(|answer| assert_eq!(answer.partial_success, None))
        })
    };
    let mut sent = vec![send(0)];
    sink.arrived(before + 1).await;
    sent.extend((1..=WAITING).map(send));
    until("all are on their way", async || {
        let page = sluicegate.page().await.expect("a page of metrics");
        page.gauge("exporter_in_flight_requests") == 1 + WAITING as u64
    })
    .await;
    sink.answer(answer);
    let mut answers = Vec::new();
    for sent in sent {
        answers.push(sent.await.expect("no panic"));
    }
    answers
}

#[tokio::test]
async fn small_requests_go_together_and_each_sender_is_answered() {
    for compression in ["none", "gzip"] {
        let sink = Sink::start();
        let exporter =
            format!("{{ endpoint: \"{}\", compression: {compression}, timeout: 0s, coalesce: true }}", sink.endpoint());
        let config = Config::default().exporter("otlp_grpc/main", &exporter);
        let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
        let answers = send(&sluicegate, &sink, Answer::Take).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        // They wait for a moment only, and a busy machine may take longer to send them.
        let requests = sink.requests();
        assert!((2..1 + WAITING).contains(&requests), "the first alone, and others together: {requests}");
        let all = 2 * (1 + WAITING as u64);
        assert_eq!(otlp::count(&sink.logs()) as u64, all);
        let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
        assert_eq!(accounts, Accounts { accepted: all, refused: 0, dropped: 0, forwarded: all, sent: all });

        // What is refused is refused to all, and counted once.
        let answers = send(&sluicegate, &sink, Answer::Refuse(Status::unavailable("restarting"))).await;
        let codes: Vec<_> = answers.into_iter().map(|answer| answer.expect_err("refused").code()).collect();
        assert_eq!(codes, [Code::Unavailable; 1 + WAITING]);
        let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
        assert_eq!(accounts, Accounts { accepted: all, refused: all, dropped: 0, forwarded: all, sent: all });
    }
}
