//! Starts what is compared, each with a configuration of its own.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    case::Case,
    subject::{Subject, Work},
};
use crate::{
    program::Program,
    sink::Sink,
    sluicegate::{self, Configuration},
    workload::Compression,
};

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Peers {
    /// The folder of the profile that Sluicegate is built with.
    profile: PathBuf,
}

/// A program that serves.
#[derive(Debug)]
pub struct Peer {
    /// The program.
    pub program: Program,
    /// Where it takes OTLP/gRPC.
    pub address: SocketAddr,
    /// What it was configured with, while it runs.
    _folder: TempDir,
}

impl Peers {
    /// Looks for Sluicegate in the folder `profile`, such as `target/release`, and for the others in `peers` and
    /// `collector` beside it, where `cargo xtask compare` puts them.
    #[must_use]
    pub const fn new(profile: PathBuf) -> Self {
        Self { profile }
    }

    /// The program of `subject`, if it is there.
    #[must_use]
    pub fn program(&self, subject: Subject) -> Option<PathBuf> {
        let target = self.profile.parent()?;
        let program = match subject {
            Subject::Sluicegate(_) => self.profile.join("sluicegate"),
            Subject::Native(_) => self.profile.join("sluicegate-native"),
            Subject::Nginx => target.join("peers/nginx/usr/sbin/nginx"),
            Subject::Collector(Work::Policy) => target.join("peers/collector/build/collector"),
            Subject::Collector(_) => target.join("collector/build/collector"),
            Subject::Rotel => target.join("peers/rotel/bin/rotel-agent"),
        };
        if program.exists() {
            return Some(program);
        }
        (subject == Subject::Nginx).then(|| on_path("nginx")).flatten()
    }

    /// What the program of `subject` says of its version. None where there is no such program.
    #[must_use]
    pub fn version(&self, subject: Subject) -> Option<String> {
        let argument = if subject == Subject::Nginx { "-v" } else { "--version" };
        let output = Command::new(self.program(subject)?).arg(argument).output().ok()?;
        // nginx writes it to standard error.
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
        Some(line.trim_start_matches("nginx version: ").replace("collector version ", "collector "))
    }

    /// Starts the subject of `case` before `sink`.
    ///
    /// # Errors
    /// When it is not there, or doesn't serve.
    pub fn start(&self, case: &Case, sink: &Sink) -> Result<Peer> {
        let Some(program) = self.program(case.subject) else { bail!("{} is not installed", case.subject) };
        let folder = TempDir::new().context("can't make a folder for a configuration")?;
        let start = || match case.subject {
            Subject::Sluicegate(work) | Subject::Native(work) => {
                let text = sluicegate_configuration(work, case.delivered);
                let file = write(folder.path(), "sluicegate.yaml", &text)?;
                Ok(sluicegate::start(Command::new(&program), &file, sink, &[])?)
            }
            Subject::Nginx | Subject::Collector(_) | Subject::Rotel => {
                let [listen, http] = free_ports()?;
                let mut command = Command::new(&program);
                configure(&mut command, case, [listen, http], sink.address(), folder.path())?;
                let mut program = Program::start(command)?;
                program.wait_for_port(listen)?;
                Ok((program, listen))
            }
        };
        let started: Result<_> = start();
        let (program, address) = started.with_context(|| format!("can't start {}", case.subject))?;
        Ok(Peer { program, address, _folder: folder })
    }
}

/// Makes a peer listen at `listen` and send to `sink`. Those that must take OTLP/HTTP too do so at `http`.
fn configure(
    command: &mut Command,
    case: &Case,
    [listen, http]: [SocketAddr; 2],
    sink: SocketAddr,
    folder: &Path,
) -> Result<()> {
    match case.subject {
        Subject::Nginx => {
            let file = write(folder, "nginx.conf", &nginx_configuration(listen, sink, folder))?;
            command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(file);
        }
        Subject::Collector(work) => {
            let file = write(folder, "collector.yaml", &collector_configuration(work, case.delivered, listen, sink))?;
            command.arg("--config").arg(file);
        }
        Subject::Rotel => {
            command.args(rotel_arguments(listen, http, sink, folder));
        }
        Subject::Sluicegate(_) | Subject::Native(_) => unreachable!("it is started otherwise"),
    }
    Ok(())
}

fn sluicegate_configuration(work: Work, delivered: Compression) -> String {
    let text = match work {
        Work::PassThrough => Configuration::PassThrough.text().to_owned(),
        Work::Severity => Configuration::Severity.text().to_owned(),
        Work::Redact => Configuration::Redact.text().to_owned(),
        Work::Policy => Configuration::Policy.text().to_owned(),
        Work::Attribute => include_str!("../../peers/sluicegate-attribute.yaml").to_owned(),
        Work::Chain(length) => chain(length),
    };
    text.replace("${env:SLUICEGATE_COMPRESSION:-none}", name(delivered))
}

fn chain(length: u8) -> String {
    let processor = |number| {
        format!(
            "  wasm/{number}: {{ component: \"${{env:SLUICEGATE_FILTERS}}/drop_below_severity.wasm\", settings: {{ minimum: TRACE }} }}"
        )
    };
    let join = |parts: Vec<String>, by| parts.join(by);
    include_str!("../../peers/sluicegate-chain.yaml")
        .replace("@PROCESSORS@", &join((1..=length).map(processor).collect(), "\n"))
        .replace("@NAMES@", &join((1..=length).map(|number| format!("wasm/{number}")).collect(), ", "))
}

fn nginx_configuration(listen: SocketAddr, sink: SocketAddr, folder: &Path) -> String {
    include_str!("../../peers/nginx.conf")
        .replace("@LISTEN@", &listen.to_string())
        .replace("@SINK@", &sink.to_string())
        .replace("@FOLDER@", &folder.display().to_string())
}

fn collector_configuration(work: Work, delivered: Compression, listen: SocketAddr, sink: SocketAddr) -> String {
    let text = match work {
        Work::Severity => include_str!("../../peers/collector-severity.yaml"),
        Work::Redact => include_str!("../../peers/collector-redact.yaml"),
        Work::Policy => include_str!("../../peers/collector-policy.yaml"),
        _ => include_str!("../../peers/collector-pass-through.yaml"),
    };
    text.replace("@LISTEN@", &listen.to_string())
        .replace("@SINK@", &sink.to_string())
        .replace("@COMPRESSION@", name(delivered))
}

/// It has no configuration but its arguments. What it writes beside its output goes to `folder`.
fn rotel_arguments(listen: SocketAddr, http: SocketAddr, sink: SocketAddr, folder: &Path) -> Vec<String> {
    let pairs = [
        ("--otlp-grpc-endpoint", listen.to_string()),
        ("--otlp-http-endpoint", http.to_string()),
        ("--otlp-grpc-max-recv-msg-size-mib", "64".into()),
        ("--exporter", "otlp".into()),
        ("--otlp-exporter-endpoint", format!("http://{sink}")),
        ("--otlp-exporter-protocol", "grpc".into()),
        ("--otlp-exporter-compression", "gzip".into()),
        ("--pid-file", folder.join("rotel.pid").display().to_string()),
        ("--log-file", folder.join("rotel.log").display().to_string()),
    ];
    std::iter::once("start".to_owned()).chain(pairs.into_iter().flat_map(|(key, value)| [key.into(), value])).collect()
}

const fn name(compression: Compression) -> &'static str {
    match compression.name() {
        Some(name) => name,
        None => "none",
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}

/// Two ports that nobody listens at. Peers can't be asked which ones the system chose for them.
fn free_ports() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the system gives no port");
    let (one, other) = (bind()?, bind()?);
    Ok([one.local_addr()?, other.local_addr()?])
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    // An ordinary user's path lacks Debian's folder for servers.
    let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests;
