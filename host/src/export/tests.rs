use std::{fs, path::Path, pin::pin, process::Command};

use futures::FutureExt;
use tokio::net::TcpListener;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::{
    config::{FileExporter, Spanned},
    receive::Signal,
    testing::{logs_bytes, otlp_grpc},
};

fn failure(exporter: &str, cause: Cause) -> ExportError {
    ExportError { exporter: exporter.into(), cause }
}

fn refused(code: Code) -> Cause {
    Cause::Refused(Box::new(Status::new(code, "")))
}

#[test]
fn what_the_specification_lets_senders_retry_is_retryable() {
    for code in (0..=16).map(Code::from_i32) {
        let expected = matches!(
            code,
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        assert_eq!(failure("otlp_grpc", refused(code)).is_retryable(), expected, "{code:?}");
    }
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    let busy = Status::with_error_details(Code::ResourceExhausted, "", details);
    assert!(failure("otlp_grpc", Cause::Refused(Box::new(busy))).is_retryable());
    assert!(failure("otlp_grpc", Cause::Unreachable(String::new())).is_retryable());
    assert!(failure("otlp_grpc", Cause::Timeout(Duration::ZERO)).is_retryable());
    assert!(failure("file", Cause::Write(io::ErrorKind::StorageFull.into())).is_retryable());
}

#[test]
fn a_failure_that_a_retry_may_cure_decides() {
    let check = |codes: &[Code], expected: Option<&str>| {
        let failures = codes.iter().zip(["a", "b", "c"]).map(|(&code, name)| failure(name, refused(code)));
        let decisive = ExportError::decisive(failures).map(|failure| failure.exporter);
        assert_eq!(decisive.as_deref(), expected, "{codes:?}");
    };
    check(&[], None);
    check(&[Code::Internal], Some("a"));
    check(&[Code::Internal, Code::InvalidArgument], Some("a"));
    check(&[Code::Internal, Code::Unavailable, Code::Aborted], Some("b"));
    check(&[Code::Unavailable, Code::Internal], Some("a"));
}

/// A configuration with a file exporter for each of these paths.
fn config(paths: &[&Path]) -> Config {
    let exporters: String =
        paths.iter().enumerate().map(|(n, path)| format!("  file/{n}: {{ path: {path:?} }}\n")).collect();
    let names: Vec<_> = (0..paths.len()).map(|n| format!("file/{n}")).collect();
    let text = format!(
        "receivers:\n  otlp: {{ protocols: {{ grpc: }} }}\nexporters:\n{exporters}service:\n  pipelines:\n    \
         logs: {{ receivers: [otlp], exporters: [{}] }}\n",
        names.join(", ")
    );
    let parsed = Config::parse(text, Path::new("sluicegate.yaml"), &|_| None);
    parsed.unwrap_or_else(|problems| panic!("{problems}")).0
}

#[test]
fn building_creates_nothing_and_opening_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    let config = config(&[&path]);
    let exporters = Exporters::default().build(&config).unwrap();
    assert!(!path.exists());
    open(&config, &exporters).unwrap();
    assert!(path.exists());
}

#[test]
fn every_path_that_can_not_be_a_file_is_shown_in_the_configuration() {
    let problems = Exporters::default()
        .build(&config(&[Path::new("/nowhere/a.jsonl"), Path::new("/"), Path::new("/dev/null")]))
        .unwrap_err();
    insta::assert_snapshot!(problems);
}

/// Whether `exporter`, whose destination never answers, is still waited for after the usual time.
async fn is_waited_for(exporter: Exporter) -> bool {
    let mut answer = pin!(exporter.export(Request::new(Signal::Logs, logs_bytes(1, "INFO"))));
    assert!(answer.as_mut().now_or_never().is_none());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    match answer.now_or_never() {
        None => true,
        Some(Err(ExportError { cause: Cause::Timeout(_) | Cause::Unreachable(_), .. })) => false,
        Some(answer) => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn nothing_is_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (timeout, expected) in [(None, false), (Some(Duration::from_secs(3600)), true)] {
        let settings = config::OtlpExporter { timeout, ..otlp_grpc(silent.local_addr().unwrap()) };
        let exporter = Exporter::new("otlp_grpc", &config::Exporter::Otlp(settings)).unwrap();
        assert_eq!(is_waited_for(exporter).await, expected, "{timeout:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let settings = FileExporter { path: Spanned::new(path.clone(), Span::default()) };
    let file = Exporter::new("file", &config::Exporter::File(settings)).unwrap();
    assert!(!is_waited_for(file).await);
    // Lets go whoever still waits for a reader.
    fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
}

#[test]
fn what_did_not_change_is_carried_over_and_no_file_has_two_exporters() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.jsonl");
    let build = |made: &mut Exporters, endpoint: &str, debug: &str, name: &str| {
        let text = format!(
            "receivers:\n  otlp: {{ protocols: {{ grpc: }} }}\nexporters:\n  \
             otlp_grpc: {{ endpoint: '{endpoint}' }}\n  debug: {{ verbosity: {debug} }}\n  {name}: {{ path: {file:?} }}\n\
             service:\n  pipelines:\n    logs: {{ receivers: [otlp], exporters: [otlp_grpc, debug, {name}] }}\n",
        );
        let parsed = Config::parse(text, Path::new("sluicegate.yaml"), &|_| None);
        made.build(&parsed.unwrap_or_else(|problems| panic!("{problems}")).0).unwrap()
    };
    let mut made = Exporters::default();
    let first = build(&mut made, "http://a:1", "basic", "file/one");
    let second = build(&mut made, "http://a:1", "normal", "file/other");
    let is_same = |one: &Exporter, other: &Exporter| Arc::ptr_eq(&one.kind, &other.kind);
    assert!(is_same(&first["otlp_grpc"], &second["otlp_grpc"]));
    assert!(!is_same(&first["debug"], &second["debug"]));
    assert!(is_same(&first["file/one"], &second["file/other"]), "it is one file");
    assert_eq!(second["file/other"].name(), "file/other");

    let third = build(&mut made, "http://b:1", "normal", "file/other");
    assert!(!is_same(&second["otlp_grpc"], &third["otlp_grpc"]));
    drop(second);
    let fourth = build(&mut made, "http://a:1", "normal", "file/one");
    assert!(is_same(&first["otlp_grpc"], &fourth["otlp_grpc"]), "requests of the first generation are still under way");
    drop((first, third, fourth));
    build(&mut made, "http://a:1", "basic", "file/one");
    assert_eq!(made.made.len(), 3, "those that nobody has are forgotten");
}
