//! `debug`: what passes, as text on standard output.
use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use opentelemetry_proto::tonic::common::v1::AnyValue;
use serde_json::Value;

use super::{
    Cause,
    turn::{Turn, heavy, until},
};
use crate::{
    config::Verbosity,
    items, json,
    payload::Payload,
    receive::{Request, Response, Signal},
};

mod lines;

/// Writes text about each request. Clones write to the same place.
#[derive(Clone)]
pub(super) struct Debug {
    verbosity: Verbosity,
    output: Arc<Output>,
    /// A terminal or a pipe may be slow, or stand still.
    turn: Turn,
}

/// In bytes of protobuf. Nobody reads more of one request, and as text it takes up to a hundred times the memory.
const MAX_DETAILED: usize = 1 << 20;

/// Takes the text of one request in one piece.
type Output = dyn Fn(&str) -> io::Result<()> + Send + Sync;

impl Debug {
    /// Writes to standard output.
    pub(super) fn new(verbosity: Verbosity) -> Self {
        Self::with_output(verbosity, |text| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        })
    }

    fn with_output(verbosity: Verbosity, output: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { verbosity, output: Arc::new(output), turn: Turn::new() }
    }

    /// Writes about `request`, at most until its deadline. A destination that people look at takes everything that
    /// is OTLP.
    pub(super) async fn export(&self, request: Request<Payload>) -> Result<Response, Cause> {
        until(request.deadline, self.write(request)).await.map(|()| Response::default())
    }

    async fn write(&self, request: Request<Payload>) -> Result<(), Cause> {
        let (verbosity, output) = (self.verbosity, Arc::clone(&self.output));
        let held = request.held.clone();
        let text = heavy(move || {
            let request = request.map_body(Payload::whole);
            let text = describe(verbosity, &request)?;
            request.charge(text.len());
            Ok(text)
        })
        .await?;
        self.turn
            .run(move || {
                let _held = held;
                output(&text)
            })
            .await
    }
}

/// What `request` holds, in few words.
pub(super) fn counts(request: &Request) -> String {
    let count = |number, of| lines::count(number, of);
    let (resources, items) = (count(items::resources(request), "resource"), items::count(request));
    let held = match request.signal {
        Signal::Logs => count(items, "log record"),
        Signal::Traces => count(items, "span"),
        Signal::Metrics => format!("{}, {}", count(items::records(request), "metric"), count(items, "data point")),
        Signal::Profiles => count(items, "profile"),
    };
    format!("{}: {resources}, {held}", request.signal)
}

/// A value in few words.
pub(crate) fn text(value: &AnyValue) -> String {
    let mut text = String::new();
    lines::value(&mut text, value);
    text
}

/// `basic`: a line with counts. `normal`: a line for each log record, span or metric, too. `detailed`: instead of
/// those the whole request as indented OTLP JSON, if it is not too large.
fn describe(verbosity: Verbosity, request: &Request) -> Result<String, json::Error> {
    let counts = counts(request);
    let size = request.body.len();
    Ok(match verbosity {
        Verbosity::Basic => format!("{counts}\n"),
        Verbosity::Normal => format!("{counts}\n{}", lines::of(request)),
        Verbosity::Detailed if size > MAX_DETAILED => {
            format!("{counts}\n… {size} bytes, of which no more than {MAX_DETAILED} are shown in detail\n")
        }
        Verbosity::Detailed => {
            let document: Value = serde_json::from_slice(&json::to_json(request.signal, &request.body)?)
                .expect("what was written as JSON is JSON");
            format!("{counts}\n{document:#}\n")
        }
    })
}

impl fmt::Debug for Debug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debug").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
