//! The configuration from outside: every kind of mistake against its golden file, and what right ones mean.
//!
//! The golden files stand beside the configurations in `config/bad`. `INSTA_UPDATE=always cargo test --test config`
//! writes them anew.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use sluicegate::config::{Compression, Config, Diagnostics, Encoding, Exporter, ListenEndpoint, OnFailure, Verbosity};

/// What `${env:NAME}` stands for in these tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "4317",
        "HOST" => "collector",
        "WORD" => "large",
        "EMPTY" => "",
        "NUMBER" => "0123",
        "SECRET" => "hunter2\n",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: impl AsRef<[u8]>, path: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    Config::parse(text, Path::new(path), &env)
}

/// A configuration with `fragment`s put into it must be right, and give no warning.
fn good(text: &str) -> Config {
    let (config, warnings) = parse(text, "/etc/sluicegate/sluicegate.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

fn bad_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad")
}

#[test]
fn every_mistake_is_told() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(bad_folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    let check = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let text = std::fs::read(path).expect("a file that can be read");
        let errors = parse(text, name).expect_err(name);
        insta::assert_snapshot!(name.trim_end_matches(".yaml"), errors);
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(bad_folder())
        .expect("the folder of bad configurations")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => check(&file),
            _ => assert!(file.with_extension("yaml").exists(), "{} is left over", file.display()),
        }
    }
}
