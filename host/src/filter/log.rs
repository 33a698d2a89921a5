//! A filter's lines in Sluicegate's log.
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Counter;
use tokio::io::AsyncWrite;
use tokio::runtime::Handle;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Longest line in bytes: a panic's message with its place fits, a dumped batch doesn't.
pub(super) const MAX_LINE: usize = 4096;

/// Most lines a second of one processor. More than that nobody reads, and a line a record would cost more than the
/// filter itself.
const MAX_LINES: u32 = 100;

/// What [`MAX_LINES`] counts over.
const WINDOW: Duration = Duration::from_secs(1);

/// How much a line matters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Where all instances of a processor write.
pub(super) struct Log {
    processor: String,
    window: Mutex<Window>,
}

/// How many lines went out lately, and how many did not.
struct Window {
    began: Instant,
    lines: u32,
    left_out: u64,
    suppressed: Suppressed,
}

/// How many lines did not go out in all.
enum Suppressed {
    /// So many, while nobody counts them.
    Kept(u64),
    Counted(Counter),
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// It is written, after this many were left out.
    Write { left_out: u64 },
    /// It is the first to be left out.
    Full,
    /// It is left out, as others before it.
    LeaveOut,
}

/// One of WASI's output streams, cut into lines.
#[derive(Clone)]
struct Stream {
    log: Arc<Log>,
    level: Level,
    partial: Vec<u8>,
}

impl Log {
    pub(super) fn new(processor: String) -> Self {
        Self { processor, window: Mutex::new(Window::new(Instant::now())) }
    }

    /// Counts the lines that are left out from now on, and those that were before.
    pub(super) fn count_by(&self, counter: Counter) {
        let mut window = self.window();
        if let Suppressed::Kept(lines) = window.suppressed {
            counter.increment(lines);
        }
        window.suppressed = Suppressed::Counted(counter);
    }

    /// Standard output or standard error of a guest that has WASI.
    pub(super) fn stream(log: &Arc<Self>, level: Level) -> impl StdoutStream + use<> {
        Stream { log: Arc::clone(log), level, partial: Vec::new() }
    }

    /// Writes one line.
    pub(super) fn write(self: &Arc<Self>, level: Level, message: &str) {
        // What nobody wants to see must not use up the lines of what somebody does.
        if !level.enabled() {
            return;
        }
        let admission = self.window().admit(Instant::now());
        match admission {
            Admission::Write { left_out } => {
                self.tell(left_out);
                self.emit(level, &line(message, MAX_LINE));
            }
            Admission::Full => {
                let notice = format!("more than {MAX_LINES} lines within a second: leaving out the others");
                self.emit(Level::Warn, &notice);
                self.tell_later();
            }
            Admission::LeaveOut => {}
        }
    }

    /// Says how many lines were left out, once the flood is over, also where no further line comes.
    fn tell_later(self: &Arc<Self>) {
        // There is no later for what is said when the process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let log = Arc::clone(self);
        runtime.spawn(async move {
            tokio::time::sleep(WINDOW).await;
            let left_out = log.window().close(Instant::now());
            log.tell(left_out);
        });
    }

    fn tell(&self, left_out: u64) {
        if left_out > 0 {
            self.emit(Level::Warn, &format!("{left_out} lines of this filter were left out"));
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // Counts are whole at any time.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, level: Level, line: &str) {
        let processor = &*self.processor;
        match level {
            Level::Debug => tracing::debug!(processor, "{line}"),
            Level::Info => tracing::info!(processor, "{line}"),
            Level::Warn => tracing::warn!(processor, "{line}"),
            Level::Error => tracing::error!(processor, "{line}"),
        }
    }
}

impl Level {
    fn enabled(self) -> bool {
        match self {
            Self::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Self::Info => tracing::enabled!(tracing::Level::INFO),
            Self::Warn => tracing::enabled!(tracing::Level::WARN),
            Self::Error => tracing::enabled!(tracing::Level::ERROR),
        }
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, lines: 0, left_out: 0, suppressed: Suppressed::Kept(0) }
    }

    /// Begins anew where it is time to, and says how many lines were left out until then.
    fn close(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.began) < WINDOW {
            return 0;
        }
        (self.began, self.lines) = (now, 0);
        std::mem::take(&mut self.left_out)
    }

    fn admit(&mut self, now: Instant) -> Admission {
        let left_out = self.close(now);
        if self.lines < MAX_LINES {
            self.lines += 1;
            return Admission::Write { left_out };
        }
        self.left_out += 1;
        match &mut self.suppressed {
            Suppressed::Kept(lines) => *lines += 1,
            Suppressed::Counted(counter) => counter.increment(1),
        }
        if self.left_out == 1 { Admission::Full } else { Admission::LeaveOut }
    }
}

/// `text` as one line of at most `max` bytes, and a note of what was cut. Control characters are escaped: a filter
/// must not be able to write lines that look like somebody else's.
pub(crate) fn line(text: &str, max: usize) -> String {
    let text = text.trim_end();
    let kept = &text[..text.floor_char_boundary(max)];
    let mut line = String::with_capacity(kept.len());
    for character in kept.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if kept.len() < text.len() {
        line.push_str(&format!("… ({} more bytes)", text.len() - kept.len()));
    }
    line
}

impl Stream {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.flush_line();
            } else {
                self.partial.push(byte);
                if self.partial.len() == MAX_LINE {
                    self.flush_line();
                }
            }
        }
    }

    fn flush_line(&mut self) {
        if !self.partial.is_empty() {
            self.log.write(self.level, &String::from_utf8_lossy(&self.partial));
            self.partial.clear();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A guest that dies midway has often said why.
        self.flush_line();
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_LINE {
            return Err(StreamError::trap("more bytes than `check-write` permits"));
        }
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Programs flush in the middle of a line; the log has whole ones only.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush_line();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines() {
        let check = |text: &str, max: usize, expected: &str| assert_eq!(line(text, max), expected);
        check("plain — ünï", 100, "plain — ünï");
        check("one\ntwo\r\n", 100, "one\\ntwo");
        check("\u{1b}[31mred", 100, "\\u{1b}[31mred");
        check("abcdef", 4, "abcd… (2 more bytes)");
        check("aé", 2, "a… (2 more bytes)");
        check("", 0, "");
    }

    #[test]
    fn a_flood_of_lines_is_thinned_out_and_counted() {
        let began = Instant::now();
        let mut window = Window::new(began);
        for _ in 0..MAX_LINES {
            assert_eq!(window.admit(began), Admission::Write { left_out: 0 });
        }
        assert_eq!(window.admit(began), Admission::Full);
        assert_eq!(window.admit(began), Admission::LeaveOut);
        assert_eq!(window.admit(began + WINDOW), Admission::Write { left_out: 2 });
        assert_eq!(window.admit(began + WINDOW), Admission::Write { left_out: 0 });
        assert!(matches!(window.suppressed, Suppressed::Kept(2)));
    }

    #[test]
    fn a_flood_that_is_over_is_counted_once() {
        let began = Instant::now();
        let mut window = Window::new(began);
        for _ in 0..MAX_LINES + 7 {
            window.admit(began);
        }
        assert_eq!(window.close(began), 0, "it may go on");
        assert_eq!(window.close(began + WINDOW), 7);
        assert_eq!(window.close(began + 2 * WINDOW), 0);
    }
}
