//! Compiled components on disk: who keeps them where, and what is never run.
use std::{
    fs,
    path::{Path, PathBuf},
};

use sluicegate_tests::{
    config::Config,
    program::{self, sluicegate},
    sink::Sink,
};

fn config() -> String {
    Config::to(&Sink::start().endpoint()).filter("drop_below_severity", "settings: { minimum: INFO }").yaml()
}

/// What is in a folder, by name. A folder that isn't there holds nothing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Validates with these arguments, which must go well, and gives what was logged.
async fn validate(file: &Path, arguments: &[&str]) -> String {
    let file = file.to_str().expect("a path in UTF-8");
    let ended = sluicegate(&[&["validate", "--config", file], arguments].concat()).await.expect("it runs");
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.log);
    ended.log
}

#[tokio::test]
async fn a_component_is_kept_where_it_is_said() {
    let (folder, file) = program::write(&config()).expect("a file");
    let cache = folder.path().join("cache");
    let argument = cache.to_str().expect("a path in UTF-8");
    assert_eq!(validate(&file, &["--no-cache"]).await, "");
    assert!(files(&cache).is_empty());
    assert_eq!(validate(&file, &["--cache-dir", argument]).await, "");
    let [compiled] = &files(&cache)[..] else { panic!("one file") };
    let written = fs::metadata(compiled).expect("a file").len();
    assert_eq!(validate(&file, &["--cache-dir", argument]).await, "");

    // What is damaged is told, and replaced.
    fs::write(compiled, "no code").expect("a file");
    let log = validate(&file, &["--cache-dir", argument]).await;
    assert!(log.contains("is not used: it is damaged"), "{log}");
    assert_eq!(fs::metadata(compiled).expect("a file").len(), written);
    assert_eq!(validate(&file, &["--cache-dir", argument]).await, "");

    let both = sluicegate(&["validate", "--config", "x", "--no-cache", "--cache-dir", "y"]).await.expect("it runs");
    assert_eq!(both.code, Some(2), "{}", both.log);
}

#[tokio::test]
async fn a_folder_that_can_not_be_used_is_told_once_and_no_failure() {
    let config = config();
    // Two processors, so that it could be told twice.
    let component = sluicegate_tests::component("drop_below_severity");
    let second = format!("  wasm/second: {{ component: {component:?}, settings: {{ minimum: INFO }} }}\nexporters:");
    let config = config
        .replace("exporters:\n", &format!("{second}\n"))
        .replace("[wasm/drop-below-severity]", "[wasm/drop-below-severity, wasm/second]");
    let (_folder, file) = program::write(&config).expect("a file");
    let log = validate(&file, &["--cache-dir", file.to_str().expect("a path in UTF-8")]).await;
    assert_eq!(log.matches("are not kept in").count(), 1, "{log}");
}

#[tokio::test]
async fn several_processes_may_share_a_folder() {
    let (folder, file) = program::write(&config()).expect("a file");
    let cache = folder.path().join("cache");
    let arguments = ["--cache-dir", cache.to_str().expect("a path in UTF-8")];
    let (one, two, three) =
        tokio::join!(validate(&file, &arguments), validate(&file, &arguments), validate(&file, &arguments));
    assert_eq!([one, two, three], [""; 3]);
    assert_eq!(files(&cache).len(), 1);
}
