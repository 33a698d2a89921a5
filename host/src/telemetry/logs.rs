//! Sluicegate's own log: lines on standard error. Standard output belongs to the `debug` exporter.
use std::io::{self, IsTerminal};

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, fmt::MakeWriter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::config::LogEncoding;

/// Writes what happens at `level` and above to standard error, for the rest of the process. Later calls change
/// nothing.
pub fn init(level: Level, encoding: LogEncoding) {
    let _ = subscriber(level, encoding, io::stderr, io::stderr().is_terminal()).try_init();
}

fn subscriber<W>(level: Level, encoding: LogEncoding, writer: W, colors: bool) -> impl Subscriber
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(colors);
    let lines = match encoding {
        LogEncoding::Console => lines.boxed(),
        LogEncoding::Json => lines.json().flatten_event(true).boxed(),
    };
    // What the libraries have to say is about connections and bytes: at "info" it would bury our own lines.
    let libraries = level.min(Level::WARN);
    let targets = Targets::new().with_default(libraries).with_target(env!("CARGO_CRATE_NAME"), level);
    registry().with(lines.with_filter(targets))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the events of this function look like.
    fn written(level: Level, encoding: LogEncoding) -> Vec<String> {
        let lines = Lines::default();
        let output = lines.clone();
        let subscriber = subscriber(level, encoding, move || output.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("quiet");
            tracing::info!(listening = "grpc.otlp=127.0.0.1:4317", "ready");
            tracing::info!(target: "h2::client", "a frame");
            tracing::warn!(target: "h2::client", "a broken frame");
        });
        let text = lines.0.lock().unwrap();
        String::from_utf8(text.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_for_people() {
        let [ready, frame] = &written(Level::INFO, LogEncoding::Console)[..] else { panic!("two lines") };
        assert!(ready.ends_with("ready listening=\"grpc.otlp=127.0.0.1:4317\""), "{ready}");
        assert!(frame.contains("a broken frame"), "{frame}");
    }

    #[test]
    fn a_line_for_programs() {
        let [ready, _] = &written(Level::INFO, LogEncoding::Json)[..] else { panic!("two lines") };
        let ready: serde_json::Value = serde_json::from_str(ready).unwrap();
        assert_eq!((&ready["message"], &ready["level"]), (&"ready".into(), &"INFO".into()));
        assert_eq!(ready["listening"], "grpc.otlp=127.0.0.1:4317");
    }

    #[test]
    fn the_level_is_the_lowest_that_is_written() {
        assert_eq!(written(Level::DEBUG, LogEncoding::Console).len(), 3);
        assert_eq!(written(Level::ERROR, LogEncoding::Console).len(), 0);
    }
}
