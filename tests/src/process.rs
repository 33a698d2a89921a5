//! Runs a program, keeps its log, ends it.
use std::{
    ffi::OsStr,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

/// A running program. Dropped, it is killed; its log is shown when that happens in a test that fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// What it wrote to standard error so far.
    log: Log,
    output: JoinHandle<String>,
    errors: JoinHandle<String>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub output: String,
    /// All of its standard error.
    pub log: String,
}

/// The lines of standard error, for all who wait for one.
type Log = Arc<watch::Sender<String>>;

/// How many lines of its log a test shows that fails: the last ones, so that what failed stays in sight.
const SHOWN: usize = 40;

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {name}"))?;
        let log = Log::default();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = tokio::spawn(keep(stdout, Log::default()));
        let errors = tokio::spawn(keep(stderr, log.clone()));
        Ok(Self { name, child, log, output, errors })
    }

    /// Waits for the first line of standard error of which `pick` makes something.
    ///
    /// # Errors
    /// When the program ends without such a line.
    pub async fn wait_for_line<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut log = self.log.subscribe();
        let found = async {
            loop {
                let found = log.borrow_and_update().lines().find_map(&pick);
                if let Some(found) = found {
                    return Ok(found);
                }
                tokio::select! {
                    // Everything it wrote counts, so the log comes first.
                    biased;
                    Ok(()) = log.changed() => {}
                    _ = &mut self.errors => bail!("{} ended too early:\n{}", self.name, self.log.borrow().as_str()),
                }
            }
        };
        crate::patiently(&format!("a line in the log of {}", self.name), found).await
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// The most memory that it has used so far, in bytes: what Linux calls `VmHWM`.
    ///
    /// # Errors
    /// When it has ended, or the system doesn't tell.
    pub fn peak_memory(&self) -> Result<usize> {
        Ok(self.status("VmHWM")? << 10)
    }

    /// The memory that it uses now, in bytes: what Linux calls `VmRSS`.
    ///
    /// # Errors
    /// When it has ended, or the system doesn't tell.
    pub fn memory(&self) -> Result<usize> {
        Ok(self.status("VmRSS")? << 10)
    }

    /// How many threads it has now.
    ///
    /// # Errors
    /// When it has ended, or the system doesn't tell.
    pub fn threads(&self) -> Result<usize> {
        self.status("Threads")
    }

    /// What Linux tells of it under this name.
    fn status(&self, name: &str) -> Result<usize> {
        let id = self.child.id().context("the program has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.context("the system doesn't tell")?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    /// Sends the signal `name`, such as `TERM`.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("the program has ended")?.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", r#"kill -s "$0" "$1""#, name, &id]);
        if !command.status().await?.success() {
            bail!("can't send {name} to {} ({id})", self.name);
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system doesn't tell of it.
    pub async fn end(&mut self) -> Result<Ended> {
        self.end_within(crate::PATIENCE).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// When the system doesn't tell of it.
    pub async fn end_within(&mut self, patience: Duration) -> Result<Ended> {
        let what = format!("the end of {}", self.name);
        let ended = async {
            let status: ExitStatus = self.child.wait().await?;
            let output = (&mut self.output).await?;
            if !self.errors.is_finished() {
                let _ = (&mut self.errors).await?;
            }
            Ok(Ended { code: status.code(), output, log: self.log() })
        };
        crate::within(patience, &what, ended).await
    }

    /// Asks it to end by SIGTERM and waits for that.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn stop(mut self) -> Result<Ended> {
        self.signal("TERM").await?;
        self.end().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.borrow();
            let lines: Vec<_> = log.lines().collect();
            let left_out = lines.len().saturating_sub(SHOWN);
            let shown = lines[left_out..].join("\n");
            eprintln!("--- the log of {}, without its first {left_out} lines ---\n{shown}\n---", self.name);
        }
    }
}

/// Runs `program` to its end.
///
/// # Errors
/// When it can't be started.
pub async fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(arguments);
    Process::start(command)?.end().await
}

/// Reads lines to the end, whatever bytes they hold.
async fn keep(stream: Option<impl AsyncRead + Unpin>, log: Log) -> String {
    if let Some(stream) = stream {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line).await, Ok(1..)) {
            log.send_modify(|log| log.push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    }
    log.borrow().clone()
}
