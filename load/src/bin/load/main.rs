//! `load`: loads Sluicegate, or whatever takes OTLP/gRPC, and says what came of it.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use sluicegate_load::{
    measured::Refusals,
    program::{self, Program},
    sender::{self, Mode, Plan},
    sink::{Sink, SinkOptions},
    sluicegate::{self, Configuration},
    subject::Subject,
    workload::{Compression, Kept, Shape, Workload, has_personal_data},
};

mod summary;

/// Sends OTLP/gRPC requests through Sluicegate to a sink, counts what arrives, and measures what that costs
///
/// Exits with 1 where acknowledged records are missing at the sink, others are there that should have been dropped or
/// redacted, or requests were refused though the sink was told neither to be slow nor to fail.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// Log records a request
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().records, value_parser = at_least_one, help_heading = REQUESTS)]
    records: usize,
    /// Bytes of each record's body
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().body_bytes, help_heading = REQUESTS)]
    body_bytes: usize,
    /// Attributes of each record
    #[arg(long, value_name = "COUNT", default_value_t = Shape::default().attributes, help_heading = REQUESTS)]
    attributes: usize,
    /// Bytes of one further attribute of each record, which no filter reads
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = REQUESTS)]
    unread_bytes: usize,
    /// How requests are compressed
    #[arg(long, value_enum, default_value_t = Compression::None, help_heading = REQUESTS)]
    compression: Compression,
    /// Other seeds give other records
    #[arg(long, value_name = "NUMBER", default_value_t = Shape::default().seed, help_heading = REQUESTS)]
    seed: u64,

    /// Connections over which they are sent
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = at_least_one, help_heading = SENDING)]
    connections: usize,
    /// Closed loop: requests under way on each connection
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = at_least_one, help_heading = SENDING)]
    in_flight: usize,
    /// Open loop: requests a second, whether answers come or not
    #[arg(long, value_name = "REQUESTS", conflicts_with = "in_flight", value_parser = rate, help_heading = SENDING)]
    rate: Option<f64>,
    /// How long is measured, in seconds
    #[arg(long, default_value = "5", value_parser = seconds, help_heading = SENDING)]
    seconds: Duration,
    /// How long is sent before that, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, help_heading = SENDING)]
    warm_up: Duration,
    /// How long answers are waited for at the end, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, help_heading = SENDING)]
    patience: Duration,

    /// Where the sink listens: a port that the system chooses, unless something else knows it
    #[arg(long, value_name = "ADDRESS", default_value_t = SinkOptions::default().address, value_parser = loopback, help_heading = SINK)]
    sink_address: SocketAddr,
    /// How long the sink waits before each answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, help_heading = SINK)]
    sink_delay: Duration,
    /// How many bytes a second the sink reads
    #[arg(long, value_name = "BYTES", help_heading = SINK)]
    sink_rate: Option<u64>,
    /// The share of requests, from 0 to 1, that the sink answers with UNAVAILABLE
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = SINK)]
    sink_failures: f64,
    /// The sink never answers
    #[arg(long, help_heading = SINK)]
    sink_mute: bool,

    /// What Sluicegate does with the records
    #[arg(long, value_enum, default_value_t = Configuration::PassThrough, help_heading = BETWEEN)]
    filter: Configuration,
    /// How Sluicegate compresses what it sends on, unless it has another configuration
    #[arg(long, value_enum, default_value_t = Compression::None, help_heading = BETWEEN)]
    export_compression: Compression,
    /// Another configuration for Sluicegate: its receiver's endpoint must be ${env:SLUICEGATE_GRPC_ENDPOINT}, and its
    /// exporter's ${env:SLUICEGATE_SINK}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filter", "export_compression"], help_heading = BETWEEN)]
    config: Option<PathBuf>,
    /// Start nothing and send to this address, where something sends on to the sink
    #[arg(long, value_name = "ADDRESS", value_parser = loopback, conflicts_with_all = ["filter", "export_compression", "config"], help_heading = BETWEEN)]
    endpoint: Option<SocketAddr>,
    /// The process whose CPU time and memory are measured, with its children
    #[arg(long, value_name = "ID", requires = "endpoint", help_heading = BETWEEN)]
    pid: Option<u32>,
    /// Which records must arrive at the sink, where it is not for --filter to say
    #[arg(long, value_enum, conflicts_with = "filter", help_heading = BETWEEN)]
    kept: Option<Kept>,

    /// Print one object of JSON
    #[arg(long)]
    json: bool,
}

const REQUESTS: &str = "Requests";
const SENDING: &str = "Sending";
const SINK: &str = "The sink";
const BETWEEN: &str = "In between";

fn main() -> ExitCode {
    match Arguments::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn execute(self) -> Result<ExitCode> {
        program::end_all_at_signals().context("can't listen for signals")?;
        let workload = Workload::new(self.shape());
        let sink = Sink::start(self.sink())?;
        // It is ended when it goes out of scope.
        let (_program, target, subject) = self.between(&sink)?;
        let plan = Plan {
            target,
            workload: &workload,
            kept: self.kept(),
            connections: self.connections,
            mode: self.rate.map_or(Mode::Closed { in_flight: self.in_flight }, |rate| Mode::Open { rate }),
            warm_up: self.warm_up,
            duration: self.seconds,
            patience: self.patience,
        };
        let measured = sender::run(&plan, subject, &sink)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            print!("{}", summary::of(&plan, &measured));
        }
        let mut problems = measured.problems(self.refusals());
        if self.filter.redacts() && has_personal_data(&sink.last()?) {
            problems.push("the last request at the sink has personal data that should have been redacted".into());
        }
        problems.iter().for_each(|problem| eprintln!("load: {problem}"));
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What is loaded: Sluicegate, started here, or what runs already.
    fn between(&self, sink: &Sink) -> Result<(Option<Program>, SocketAddr, Option<Subject>)> {
        if let Some(endpoint) = self.endpoint {
            return Ok((None, endpoint, self.pid.map(|pid| Subject { pid })));
        }
        let start = |file: &Path, environment: &[(&str, &str)]| {
            let (program, address) = sluicegate::start(Command::new(sluicegate::binary()), file, sink, environment)?;
            let subject = program.subject();
            Ok((Some(program), address, Some(subject)))
        };
        if let Some(file) = &self.config {
            return start(file, &[]);
        }
        let folder = tempfile::tempdir().context("can't make a folder for the configuration")?;
        let file = folder.path().join("sluicegate.yaml");
        std::fs::write(&file, self.filter.text()).with_context(|| format!("can't write {}", file.display()))?;
        start(&file, &[("SLUICEGATE_COMPRESSION", self.export_compression.name().unwrap_or("none"))])
    }

    const fn shape(&self) -> Shape {
        Shape {
            records: self.records,
            body_bytes: self.body_bytes,
            attributes: self.attributes,
            unread_bytes: self.unread_bytes,
            compression: self.compression,
            seed: self.seed,
        }
    }

    fn sink(&self) -> SinkOptions {
        SinkOptions {
            address: self.sink_address,
            delay: self.sink_delay,
            bytes_per_second: self.sink_rate,
            failures: self.sink_failures,
            answers: !self.sink_mute,
            keeps_last: self.filter.redacts(),
        }
    }

    fn kept(&self) -> Kept {
        let own = if self.config.is_some() { Kept::Unknown } else { self.filter.kept() };
        self.kept.unwrap_or(own)
    }

    fn refusals(&self) -> Refusals {
        let is_told = self.sink_failures > 0.0 || self.sink_rate.is_some() || self.sink_mute;
        if is_told { Refusals::Expected } else { Refusals::Unexpected }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "give a whole number from 1 on".into())
}

/// A run is bounded in time, so each part of it is.
fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 3_600.0;
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MOST).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("give seconds from 0 to {MOST}"))
}

fn rate(text: &str) -> Result<f64, String> {
    const MOST: f64 = 1e6;
    let rate = text.parse().ok().filter(|&rate| rate > 0.0 && rate <= MOST);
    rate.ok_or_else(|| format!("give requests a second, above 0 and up to {MOST}"))
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "give a number from 0 to 1".into())
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback());
    address.ok_or_else(|| "give an address of this machine's own, such as 127.0.0.1:4317".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_out_of_range_are_refused() {
        let check = |arguments: &[&str]| {
            let arguments = std::iter::once(&"load").chain(arguments);
            assert!(Arguments::try_parse_from(arguments.clone()).is_err(), "{arguments:?}");
        };
        check(&["--endpoint", "192.0.2.1:4317"]);
        check(&["--sink-address", "0.0.0.0:0"]);
        check(&["--records", "0"]);
        check(&["--rate", "0"]);
        check(&["--rate", "10", "--in-flight", "1"]);
        check(&["--seconds", "86400"]);
        check(&["--sink-failures", "1.5"]);
        check(&["--pid", "1"]);
        check(&["--filter", "severity", "--config", "sluicegate.yaml"]);
    }
}
