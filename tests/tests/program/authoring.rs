//! A filter that is made outside of this repository.
use std::{fs, path::Path};

use sluicegate_tests::{
    PATIENCE_WITH_COMPILERS,
    config::Config,
    otlp,
    process::Process,
    program::{self, Sluicegate},
    root,
    sink::Sink,
};
use tokio::process::Command;

const SOURCE: &str = r#"
//! Drops what a shop's tea machine says.
use sluicegate_filter::{Error, Filter, Record, Settings, Value, Verdict, export};

struct Quiet;

impl Filter for Quiet {
    fn new(_settings: Settings) -> Result<Self, Error> {
        Ok(Self)
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        match record.body() {
            Some(Value::Str("boiling")) => Verdict::drop("tea"),
            _ => {
                record.set_attribute("heard", true);
                Verdict::Keep
            }
        }
    }
}

export!(Quiet);
"#;

/// Writes the crate as an author would, with the SDK as a path dependency.
fn write_crate(folder: &Path) -> std::io::Result<()> {
    let sdk = root().join("guest-filters/sdk");
    let manifest = format!(
        "[package]\nname = \"tea-quiet\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nsluicegate-filter = {{ path = {sdk:?} }}\n"
    );
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/lib.rs"), SOURCE)?;
    // The versions that were downloaded for this repository's filters, so that the test needs no others.
    fs::copy(root().join("guest-filters/Cargo.lock"), folder.join("Cargo.lock")).map(drop)
}

#[tokio::test]
async fn a_filter_made_elsewhere_builds_and_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_crate(folder.path()).expect("files");
    let component = folder.path().join("quiet.wasm");
    let mut command = Command::new(program::binary());
    command.args(["filter", "build"]).arg(folder.path()).arg("--output").arg(&component);
    // What was compiled for this repository's filters need not be compiled again.
    command.env("CARGO_TARGET_DIR", sluicegate_tests::target_dir());
    let mut build = Process::start(command).expect("it starts");
    let built = build.end_within(PATIENCE_WITH_COMPILERS).await.expect("it ends");
    assert_eq!(built.code, Some(0), "{}", built.log);

    let sink = Sink::start();
    let config =
        Config::to(&sink.endpoint()).processor("wasm/quiet", &format!("component: {component:?}, deadline: 30s"));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let request = otlp::request([otlp::record(9, "boiling"), otlp::record(9, "done")]);
    sluicegate.sender().send_logs(&request).await.expect("it is taken");
    let rows = otlp::rows(&sink.logs());
    let mut expected = otlp::rows(&[otlp::request([otlp::record(9, "done")])]);
    expected[0].record.attributes.push(opentelemetry_proto::tonic::common::v1::KeyValue {
        key: "heard".to_owned(),
        value: Some(opentelemetry_proto::tonic::common::v1::AnyValue {
            value: Some(opentelemetry_proto::tonic::common::v1::any_value::Value::BoolValue(true)),
        }),
        ..Default::default()
    });
    otlp::assert_same("what went on", &rows, &expected);
}
