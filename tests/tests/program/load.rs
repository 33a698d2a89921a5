//! The load tool against the built Sluicegate: what it counts is what there is.
use serde_json::Value;
use sluicegate_tests::{
    process::{self, Ended},
    program,
};

/// Runs it for a moment.
async fn load(arguments: &[&str]) -> Ended {
    const SHORT: [&str; 6] = ["--seconds", "0.3", "--warm-up", "0.1", "--connections", "2"];
    let program = sluicegate_tests::target_dir().join("debug/load");
    assert!(program.exists(), "{} is missing: run `cargo xtask test`", program.display());
    process::run(program, &[&SHORT, arguments].concat()).await.expect("it runs")
}

#[tokio::test]
async fn what_is_acknowledged_arrives_and_is_measured() {
    let check = async |arguments: &[&str], is_kept: fn(u64, u64) -> bool| {
        let ended = load(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.log);
        let measured: Value = serde_json::from_str(&ended.output).expect("an object");
        let count = |name: &str| measured[name].as_u64().unwrap_or_else(|| panic!("{name} in {measured}"));
        assert!(count("records_accepted") > 0, "{arguments:?}");
        assert_eq!(count("records_accepted"), count("records_sent"), "{arguments:?}");
        assert_eq!(count("records_at_sink"), count("records_expected"), "{arguments:?}");
        assert!(is_kept(count("records_accepted"), count("records_at_sink")), "{arguments:?}: {measured}");
        assert!(count("peak_rss_bytes") > 1 << 20, "{arguments:?}");
        assert!(measured["latency"]["count"].as_u64() > Some(0), "{arguments:?}");
    };
    check(&[], |accepted, at_sink| at_sink == accepted).await;
    check(&["--compression", "gzip", "--records", "10"], |accepted, at_sink| at_sink == accepted).await;
    check(&["--export-compression", "zstd", "--records", "1000"], |accepted, at_sink| at_sink == accepted).await;
    check(&["--rate", "50", "--filter", "redact"], |accepted, at_sink| at_sink == accepted).await;
    // A quarter is below INFO.
    check(&["--filter", "severity"], |accepted, at_sink| at_sink * 4 == accepted * 3).await;
    check(&["--filter", "policy", "--rate", "20"], |accepted, at_sink| (1..accepted).contains(&at_sink)).await;
}

#[tokio::test]
async fn a_refused_request_is_no_success() {
    let ended = load(&["--sink-failures", "0.5"]).await;
    assert_eq!(ended.code, Some(0), "it was asked for: {}", ended.log);
    assert!(ended.output.contains("UNAVAILABLE"), "{}", ended.output);

    // Requests larger than the receiver takes, which nobody has asked for.
    let file = sluicegate_tests::root().join("load/configurations/pass-through.yaml");
    let text = std::fs::read_to_string(file).expect("a configuration");
    let endpoint = r#"endpoint: "${env:SLUICEGATE_GRPC_ENDPOINT}""#;
    assert!(text.contains(endpoint));
    let text = text.replace(endpoint, &format!("{endpoint}, max_recv_msg_size_mib: 1"));
    let (_folder, file) = program::write(&text).expect("a file");
    let config = file.to_str().expect("a path in UTF-8");
    let ended = load(&["--config", config, "--records", "4000"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.log.contains("RESOURCE_EXHAUSTED"), "{}", ended.log);
}

#[tokio::test]
async fn what_can_not_be_loaded_is_said() {
    let ended = load(&["--endpoint", "192.0.2.1:4317"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.log.contains("this machine"), "{}", ended.log);

    let ended = load(&["--config", "no/such/file.yaml"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("no/such/file.yaml"), "{}", ended.log);
}
