use std::{process::Command, thread, time::Duration};

use super::*;
use crate::{
    receive::Signal,
    testing::{logs, logs_bytes},
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use tokio::time::Instant;

fn request(records: usize, text: &str) -> Request<Payload> {
    Request::new(Signal::Logs, logs_bytes(records, text)).into()
}

/// What the file holds, read back.
fn requests(path: &Path) -> Vec<ExportLogsServiceRequest> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let read = |line| json::from_json(Signal::Logs, &serde_json::from_str(line).unwrap()).unwrap();
    text.lines().map(|line| ExportLogsServiceRequest::decode(read(line)).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    let file = File::new(&path).unwrap();
    assert!(!path.exists(), "nothing is created before it is opened");
    file.open().unwrap();
    assert_eq!(requests(&path), []);
    file.export(request(1, "INFO")).await.unwrap();
    file.export(request(2, "WARN")).await.unwrap();
    // Another start goes on where the last one ended.
    File::new(&path).unwrap().export(request(3, "ERROR")).await.unwrap();
    assert_eq!(requests(&path), [logs(1, "INFO"), logs(2, "WARN"), logs(3, "ERROR")]);
}

#[tokio::test]
async fn lines_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    let file = File::new(&path).unwrap();
    let all = futures::future::join_all((0..50).map(|n| file.export(request(n * 20, "INFO")))).await;
    assert!(all.iter().all(Result::is_ok));
    let mut sizes: Vec<_> =
        requests(&path).iter().map(|request| request.resource_logs[0].scope_logs[0].log_records.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, (0..50).map(|n| n * 20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_otlp_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    let file = File::new(&path).unwrap();
    file.open().unwrap();
    let request = Request::new(Signal::Traces, (&b"\x0a\x05"[..]).into());
    let error = file.export(request.into()).await.unwrap_err();
    assert!(error.to_string().starts_with("malformed OTLP at byte 0: "), "{error}");
    assert_eq!(requests(&path), []);
}

#[test]
fn a_path_that_can_not_be_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("logs");
    let error = File::new(&missing.join("kept.jsonl")).unwrap_err();
    assert_eq!(error.to_string(), format!("the folder {} does not exist: create it first", missing.display()));
    let error = File::new(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "this is a folder, not a file");
}

#[test]
fn a_line_that_a_crash_cut_off_stays_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    fs::write(&path, "{\"resourceLogs\":[").unwrap();
    Lines::open(&path).unwrap().append(b"{}\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"resourceLogs\":[\n{}\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_that_can_not_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    fs::write(&path, "{}\n").unwrap();
    // What is open for reading only can't be cut either, as on a disk that has gone bad.
    let mut lines = Lines { file: fs::File::open(&path).unwrap(), is_regular: true, torn: None };
    lines.append(b"{\"a\":1}\n").unwrap_err();
    assert_eq!(lines.torn, Some(3));
    // Once it can be, the half line goes before the next one comes.
    lines.file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    lines.file.write_all(b"{\"half").unwrap();
    lines.append(b"{\"b\":2}\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n{\"b\":2}\n");

    let error = Lines::open(Path::new("/dev/full")).unwrap().append(b"{}\n").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

/// A named pipe in `folder`.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[tokio::test]
async fn a_pipe_takes_lines_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let file = File::new(&path).unwrap();
    file.open().unwrap();
    let reader = {
        let path = path.clone();
        thread::spawn(move || fs::read(path).unwrap())
    };
    file.export(request(1, "INFO")).await.unwrap();
    file.export(request(2, "WARN")).await.unwrap();
    drop(file);
    let text = reader.join().unwrap();
    assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 2);
    assert!(text.ends_with(b"}\n"));
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_holds_up_one_thread_and_nobody_past_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let file = File::new(&path).unwrap();
    file.open().unwrap();
    let stalled = {
        let file = file.clone();
        tokio::spawn(async move { file.export(request(1, "INFO")).await })
    };
    while !file.turn.is_taken() {
        tokio::task::yield_now().await;
    }
    // More than the runtime has threads for what blocks.
    let late = |_| {
        let deadline = Some(Instant::now() + Duration::from_millis(10));
        file.export(Request { deadline, ..request(1, "INFO") })
    };
    for answer in futures::future::join_all((0..600).map(late)).await {
        assert!(matches!(answer, Err(Cause::Timeout(_))), "{answer:?}");
    }
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    assert!(!stalled.is_finished());

    // Somebody reads after all.
    let reader = thread::spawn(move || fs::read(path).unwrap());
    stalled.await.unwrap().unwrap();
    drop(file);
    assert_eq!(reader.join().unwrap().iter().filter(|&&byte| byte == b'\n').count(), 1);
}
