//! Starts a program and ends it.
use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::subject::Subject;

/// A running program. Dropped, it is ended.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: Arc<Log>,
}

/// Why a program isn't running.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It can't be started.
    #[error("can't start {name}: {source}")]
    Start {
        /// The program.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended too early; it wrote:\n{log}")]
    Ended {
        /// The program.
        name: String,
        /// Its standard error.
        log: String,
    },
    /// It was not ready in time.
    #[error("{name} was not ready within {READY:?}; it wrote:\n{log}")]
    Late {
        /// The program.
        name: String,
        /// Its standard error.
        log: String,
    },
}

/// What it wrote to standard error so far.
#[derive(Debug, Default)]
struct Log {
    /// The text, and whether it is whole.
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// How long a program may take to be ready. A debug build compiles its filters for many seconds on a busy machine.
const READY: Duration = Duration::from_secs(120);
/// How long a program may take to end when it is asked to, before it is ended. Requests under way may take longer.
const END: Duration = Duration::from_secs(5);
/// How often it is looked whether a program is ready or has ended: short beside what a process takes to do anything.
const PAUSE: Duration = Duration::from_millis(10);

/// The ids of the programs that run, for [`end_all_at_signals`].
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Makes SIGINT and SIGTERM end all programs that were started here, and then this one.
///
/// # Errors
/// When the system gives no thread, or doesn't tell of signals.
pub fn end_all_at_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    /// What shells make of SIGINT.
    const INTERRUPTED: i32 = 130;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(entered);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        running().iter().for_each(|&pid| send(pid, Signal::TERM));
        std::process::exit(INTERRUPTED);
    })?;
    Ok(())
}

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Program {
    /// Starts `command`, and keeps what it writes to standard error.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(mut command: Command) -> Result<Self, ProgramError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|source| ProgramError::Start { name: name.clone(), source })?;
        running().insert(child.id());
        let log = Arc::<Log>::default();
        if let Some(errors) = child.stderr.take() {
            let log = Arc::clone(&log);
            // It ends with the program.
            std::thread::spawn(move || log.keep(errors));
        }
        Ok(Self { name, child, log })
    }

    /// What to ask for its use of CPU and memory.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject { pid: self.child.id() }
    }

    /// Waits until something accepts connections at `address`.
    ///
    /// # Errors
    /// When the program ends, or takes too long.
    pub fn wait_for_port(&mut self, address: SocketAddr) -> Result<(), ProgramError> {
        let give_up = Instant::now() + READY;
        while TcpStream::connect_timeout(&address, PAUSE).is_err() {
            // Whoever answers there after its end is another program.
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(ProgramError::Ended { name: self.name.clone(), log: self.log() });
            }
            if Instant::now() > give_up {
                return Err(ProgramError::Late { name: self.name.clone(), log: self.log() });
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits for the first line of standard error of which `pick` makes something.
    ///
    /// # Errors
    /// When the program ends, or takes too long.
    pub fn wait_for_line<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> Result<T, ProgramError> {
        let give_up = Instant::now() + READY;
        let mut text = self.log.lock();
        loop {
            if let Some(found) = text.0.lines().find_map(&pick) {
                return Ok(found);
            }
            let (name, log) = (self.name.clone(), text.0.clone());
            if text.1 {
                return Err(ProgramError::Ended { name, log });
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProgramError::Late { name, log });
            }
            text = self.log.more.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().0.clone()
    }

    /// Asks it to end by SIGTERM. Where that takes too long, it and its children are ended by SIGKILL.
    ///
    /// # Errors
    /// When the system doesn't tell of its end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        running().remove(&self.child.id());
        // Its children are no longer known as such when it has ended.
        let tree = self.subject().tree();
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        send(self.child.id(), Signal::TERM);
        let give_up = Instant::now() + END;
        while Instant::now() < give_up {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(PAUSE);
        }
        tree.into_iter().for_each(|pid| send(pid, Signal::KILL));
        self.child.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, (String, bool)> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines to the end, whatever bytes they hold.
    fn keep(&self, errors: impl io::Read) {
        let mut errors = BufReader::new(errors);
        let mut line = Vec::new();
        while matches!(errors.read_until(b'\n', &mut line), Ok(1..)) {
            self.lock().0.push_str(&String::from_utf8_lossy(&line));
            self.more.notify_all();
            line.clear();
        }
        self.lock().1 = true;
        self.more.notify_all();
    }
}

/// A process that has ended needs no signal.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(script: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Program::start(command).expect("there is a shell")
    }

    fn first_line(line: &str) -> Option<String> {
        Some(line.to_owned())
    }

    #[test]
    fn a_program_is_waited_for_and_ended() {
        let mut program = shell("echo ready >&2; exec sleep 1000");
        assert_eq!(program.wait_for_line(first_line).expect("it says so"), "ready");
        let status = program.stop().expect("it ends");
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn one_that_ends_too_early_is_told_with_its_log() {
        let mut program = shell("echo 'no such file' >&2; exit 3");
        let error = program.wait_for_line(|line| line.strip_prefix("ready").map(str::to_owned)).expect_err("it ends");
        assert!(matches!(&error, ProgramError::Ended { log, .. } if log.contains("no such file")), "{error}");
    }
}
