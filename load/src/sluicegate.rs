//! Starts Sluicegate between a sender and a sink.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    profile_dir,
    program::{Program, ProgramError},
    sink::Sink,
    workload::Kept,
};

/// A configuration that comes with this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Configuration {
    /// No filter
    PassThrough,
    /// What is below INFO is dropped
    Severity,
    /// Personal data is taken out of bodies and attributes
    Redact,
    /// The chain of examples/05-all-together
    Policy,
}

impl Configuration {
    /// The configuration's text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::PassThrough => include_str!("../configurations/pass-through.yaml"),
            Self::Severity => include_str!("../configurations/severity.yaml"),
            Self::Redact => include_str!("../configurations/redact.yaml"),
            Self::Policy => include_str!("../configurations/policy.yaml"),
        }
    }

    /// Which records it lets through.
    #[must_use]
    pub const fn kept(self) -> Kept {
        match self {
            Self::PassThrough | Self::Redact => Kept::All,
            Self::Severity => Kept::FromInfo,
            Self::Policy => Kept::Policy,
        }
    }

    /// Whether no personal data arrives.
    #[must_use]
    pub const fn redacts(self) -> bool {
        matches!(self, Self::Redact | Self::Policy)
    }
}

/// The built program: beside the one that runs now, or where `SLUICEGATE_BIN` says.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os("SLUICEGATE_BIN").map_or_else(|| profile_dir().join("sluicegate"), PathBuf::from)
}

/// Starts Sluicegate by `command`, such as [`binary`], with the configuration in `file`, and returns where it takes OTLP/gRPC. In its environment are
/// - `SLUICEGATE_SINK`: the sink's endpoint, such as `http://127.0.0.1:4317`,
/// - `SLUICEGATE_GRPC_ENDPOINT` and `SLUICEGATE_METRICS_ENDPOINT`: ports that the system chooses,
/// - `SLUICEGATE_FILTERS`: where the built filters are,
/// - and what `environment` says.
///
/// # Errors
/// When it can't be started, or ends before it serves.
pub fn start(
    mut command: Command,
    file: &Path,
    sink: &Sink,
    environment: &[(&str, &str)],
) -> Result<(Program, SocketAddr), ProgramError> {
    let target = profile_dir().parent().map(PathBuf::from).unwrap_or_default();
    command
        .arg("run")
        .arg("--config")
        .arg(file)
        .env("SLUICEGATE_SINK", sink.endpoint())
        .env("SLUICEGATE_GRPC_ENDPOINT", "127.0.0.1:0")
        .env("SLUICEGATE_METRICS_ENDPOINT", "127.0.0.1:0")
        // The user's own folder is left alone.
        .env("SLUICEGATE_CACHE_DIR", target.join("cache"));
    if std::env::var_os("SLUICEGATE_FILTERS").is_none() {
        command.env("SLUICEGATE_FILTERS", target.join("filters"));
    }
    command.envs(environment.iter().copied());
    let mut program = Program::start(command)?;
    let address = program.wait_for_line(listener)?;
    Ok((program, address))
}

/// The address of the first OTLP/gRPC listener, if `line` is the one that Sluicegate writes when it serves.
fn listener(line: &str) -> Option<SocketAddr> {
    let (_, listening) = line.split_once("listening")?;
    let (_, address) = listening.split_once("grpc.otlp=")?;
    address.split([' ', '"']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_line_tells_where_it_listens() {
        let check = |line, address: Option<&str>| {
            assert_eq!(listener(line), address.map(|address| address.parse().expect("an address")), "{line}");
        };
        check(
            r#"INFO serving listening="grpc.otlp=127.0.0.1:4317 metrics=127.0.0.1:8888" filters=none"#,
            Some("127.0.0.1:4317"),
        );
        check(r#"{"listening":"grpc.otlp=127.0.0.1:4317","message":"serving"}"#, Some("127.0.0.1:4317"));
        check(r#"INFO serving listening="http.otlp=127.0.0.1:4318""#, None);
        check("INFO loading filters=1", None);
    }
}
