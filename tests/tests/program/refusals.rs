//! Bad configurations: `validate` and `run` say the same, and both end with 2.
use std::fs;

use sluicegate_tests::program::{self, sluicegate};

/// The world is one, but empty.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A configuration that is right but for what `keys` of its processor and `pipeline` make of it.
fn with(keys: &str, pipeline: &str) -> String {
    format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{ endpoint: 127.0.0.1:0 }}\n\
         processors:\n  wasm/policy:\n    {keys}\n\
         exporters:\n  otlp_grpc/main: {{ endpoint: \"http://127.0.0.1:1\" }}\n\
         service:\n  pipelines:\n    logs:\n      receivers: [otlp]\n      processors: [wasm/policy]\n      {pipeline}\n"
    )
}

/// Runs both commands on `text`, beside the files that the cases name, and compares with the golden file `name`.
async fn check(name: &str, text: &str) {
    let (folder, file) = program::write(text).expect("a file");
    fs::write(folder.path().join("text.wasm"), "#!/bin/sh\n").expect("a file");
    fs::write(folder.path().join("module.wasm"), EMPTY_MODULE).expect("a file");
    fs::write(folder.path().join("other.wasm"), EMPTY_COMPONENT).expect("a file");
    for filter in ["drop_below_severity", "route"] {
        let copy = folder.path().join(filter).with_extension("wasm");
        fs::copy(sluicegate_tests::component(filter), copy).expect("a copy");
    }
    let file = file.to_str().expect("a path in UTF-8");
    let validate = sluicegate(&["validate", "--config", file]).await.expect("it runs");
    let run = sluicegate(&["run", "--config", file]).await.expect("it runs");
    // Before it says what is wrong, `run` may have logged that it has begun.
    let begun = |line: &&str| !line.contains("run: loading filters=1");
    let said: String = run.log.split_inclusive('\n').filter(begun).collect();
    assert_eq!(said, validate.log, "{name}: both commands say the same");
    assert_eq!((run.code, validate.code), (Some(2), Some(2)), "{name}: {}", run.log);
    let said = said.replace(folder.path().to_str().expect("a path in UTF-8"), "FOLDER");
    insta::with_settings!({ description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, said);
    });
}

#[tokio::test]
async fn bad_configurations_are_refused_with_what_to_do() {
    let exporters = "exporters: [otlp_grpc/main]";
    let drop_below = "component: drop_below_severity.wasm";
    let right = with(&format!("{drop_below}\n    settings: {{ minimum: INFO }}"), exporters);
    let routed = "component: route.wasm\n    settings: { rules: [{ if: { field: severity_number, at_least: ERROR }, route: critical }] }";
    let cases = [
        ("a_missing_component", with("component: nowhere.wasm", exporters)),
        ("not_wasm", with("component: text.wasm", exporters)),
        ("a_core_module", with("component: module.wasm", exporters)),
        ("another_world", with("component: other.wasm", exporters)),
        ("refused_settings", with(&format!("{drop_below}\n    settings: {{ minimum: LOUD }}"), exporters)),
        ("missing_settings", with(drop_below, exporters)),
        ("an_undeclared_route", with(routed, exporters)),
        ("a_reference_to_nothing", right.replace("[otlp_grpc/main]", "[otlp_grpc/mian]")),
        ("an_unknown_key", right.replace("settings:", "setings:")),
        ("a_wrong_type", right.replace("    component:", "    memory_limit_mib: much\n    component:")),
        (
            "a_duplicate_name",
            right.replace(
                "exporters:\n  otlp_grpc/main",
                "exporters:\n  otlp_grpc/main: { endpoint: \"http://127.0.0.1:2\" }\n  otlp_grpc/main",
            ),
        ),
        ("not_yaml", right.replace("receivers: [otlp]", "receivers: [otlp")),
        ("several_at_once", right.replace("settings:", "setings:").replace("[otlp_grpc/main]", "[otlp_grpc/mian]")),
    ];
    for (name, text) in &cases {
        check(name, text).await;
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    for command in ["run", "validate"] {
        let ended = sluicegate(&[command, "--config", "nowhere/sluicegate.yaml"]).await.expect("it runs");
        assert_eq!(ended.code, Some(2), "{}", ended.log);
        assert!(ended.log.contains("nowhere/sluicegate.yaml"), "{}", ended.log);
    }
}
