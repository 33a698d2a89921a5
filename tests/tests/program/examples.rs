//! Every example does what its folder says.
use sluicegate_tests::{example::Example, otlp, program};

/// Sends the example's input with `sluicegate send`, as its README does, and compares what each destination got.
async fn check(example: &Example) {
    let output = tempfile::tempdir().expect("a temporary folder");
    let configuration = example.configuration().expect("the example has a configuration");
    let sluicegate = Example::start(&configuration, output.path()).await.expect("it starts");
    let endpoint = format!("http://{}", sluicegate.grpc());
    let input = example.input_file();
    let input = input.to_str().expect("a path in UTF-8");
    let sent = program::sluicegate(&["send", "--endpoint", &endpoint, input]).await.expect("it runs");
    assert_eq!(sent.code, Some(0), "{}: {}", example.name, sent.log);

    let count = otlp::count(&example.input().expect("the input is OTLP JSON")) as u64;
    let page = sluicegate.page().await.expect("a page of metrics");
    let accounts = page.accounts();
    assert!(accounts.balance(), "{}: {accounts:?}", example.name);
    assert_eq!(accounts.accepted, count, "{}: {accounts:?}", example.name);
    let ended = sluicegate.stop().await.expect("it stops");
    assert_eq!(ended.code, Some(0), "{}: {}", example.name, ended.log);

    let expected = example.expected().expect("the example says what it expects");
    let written = example.written(output.path()).expect("what it wrote is OTLP JSON");
    for (name, expected) in &expected {
        otlp::assert_same(&format!("{}: {name}", example.name), &written[name], expected);
    }
    let records: u64 = expected.values().map(|requests| otlp::count(requests) as u64).sum();
    assert_eq!(records, accounts.sent, "{}: every destination has its file in expected/", example.name);
}

#[tokio::test]
async fn every_example_gives_what_it_says() {
    let examples = Example::all().expect("examples can be listed");
    assert!(examples.len() >= 5, "{examples:?}");
    for example in &examples {
        check(example).await;
    }
}
