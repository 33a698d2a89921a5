//! Reads `examples/`.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use crate::{otlp, program::Sluicegate};

/// A folder of `examples/`.
#[derive(Debug, Clone)]
pub struct Example {
    /// The folder's name.
    pub name: String,
    folder: PathBuf,
}

/// Requests by the name of the destination they belong to.
pub type Expected = BTreeMap<String, Vec<ExportLogsServiceRequest>>;

impl Example {
    /// The example `name`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), folder: crate::root().join("examples").join(name) }
    }

    /// All of them, in order.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn all() -> Result<Vec<Self>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(crate::root().join("examples"))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names.iter().map(|name| Self::named(name)).collect())
    }

    /// The file of what is sent.
    #[must_use]
    pub fn input_file(&self) -> PathBuf {
        self.folder.join("input.jsonl")
    }

    /// What is sent.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn input(&self) -> Result<Vec<ExportLogsServiceRequest>> {
        let input = otlp::read(&self.input_file())?;
        anyhow::ensure!(!input.is_empty(), "{} holds nothing", self.input_file().display());
        Ok(input)
    }

    /// What each destination gets.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn expected(&self) -> Result<Expected> {
        let folder = self.folder.join("expected");
        let files = fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
        files.map(|file| destination(&file?.path())).collect()
    }

    /// What is in `folder` of what [`expected`](Self::expected) names.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn written(&self, folder: &Path) -> Result<Expected> {
        let names = self.expected()?.into_keys();
        names.map(|name| destination(&folder.join(name).with_extension("jsonl"))).collect()
    }

    /// The text of its configuration, with deadlines that a call meets even if it has to wait for its turn on a
    /// machine that runs tests.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn configuration(&self) -> Result<String> {
        let text = fs::read_to_string(self.folder.join("sluicegate.yaml"))?;
        let lines = text.lines().map(|line| match line.split_once("component:") {
            Some((indent, _)) => format!("{line}\n{indent}deadline: 30s\n"),
            None => format!("{line}\n"),
        });
        Ok(lines.collect())
    }

    /// The same with each `file/NAME` exporter turned into an OTLP/gRPC exporter to what `endpoint` says for NAME.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn configuration_to(&self, endpoint: impl Fn(&str) -> String) -> Result<String> {
        let text = self.configuration()?;
        let lines = text.lines().map(|line| match line.strip_prefix("  file/").and_then(|line| line.split_once(':')) {
            Some((name, _)) => format!("  otlp_grpc/{name}: {}\n", crate::config::otlp(&endpoint(name))),
            None => format!("{}\n", line.replace("file/", "otlp_grpc/")),
        });
        Ok(lines.collect())
    }

    /// Runs Sluicegate with `configuration`: beside others, with ports from the system, components from where they
    /// were built, and files in `output`.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub async fn start(configuration: &str, output: &Path) -> Result<Sluicegate> {
        let path = |path: &Path| path.to_str().map(str::to_owned).context("the path is not UTF-8");
        let environment = [
            ("SLUICEGATE_GRPC_ENDPOINT", "127.0.0.1:0"),
            ("SLUICEGATE_METRICS_ENDPOINT", "127.0.0.1:0"),
            ("SLUICEGATE_FILTERS", &path(&crate::filters_dir())?),
            ("SLUICEGATE_OUTPUT", &path(output)?),
        ];
        let file = output.join("sluicegate.yaml");
        fs::write(&file, configuration)?;
        Sluicegate::start_file(&file, &environment).await
    }
}

/// Reads a destination's file and names it after it.
fn destination(file: &Path) -> Result<(String, Vec<ExportLogsServiceRequest>)> {
    let name = file.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
    Ok((name, otlp::read(file)?))
}
