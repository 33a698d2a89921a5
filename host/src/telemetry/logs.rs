//! Sluicegate's own log: lines on standard error. Standard output belongs to the `debug` exporter.
use std::io::{self, IsTerminal};

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, fmt::MakeWriter, layer::SubscriberExt, registry,
    util::SubscriberInitExt,
};

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object a line, its fields beside `message`.
    Json,
}

/// Writes what happens at `level` and above to standard error, for the rest of the process. Later calls change
/// nothing.
pub fn init(level: Level, encoding: Encoding) {
    let _ = subscriber(level, encoding, io::stderr, io::stderr().is_terminal()).try_init();
}

fn subscriber<W>(level: Level, encoding: Encoding, writer: W, colors: bool) -> impl Subscriber
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(colors);
    let lines = match encoding {
        Encoding::Console => lines.boxed(),
        Encoding::Json => lines.json().flatten_event(true).boxed(),
    };
    // What the libraries have to say is about connections and bytes: at "info" it would bury our own lines.
    let libraries = level.min(Level::WARN);
    let targets = Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    registry().with(lines.with_filter(targets))
}
