//! `debug`: what passes, as text on standard output.
use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use prost::Message;
use serde_json::Value;

use self::lines::Summary;
use super::{
    Cause,
    turn::{Turn, heavy, until},
};
use crate::{
    config::Verbosity,
    json,
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
    pub(super) async fn export(&self, request: Request) -> Result<Response, Cause> {
        until(request.deadline, self.write(request)).await.map(|()| Response::default())
    }

    async fn write(&self, request: Request) -> Result<(), Cause> {
        let (verbosity, output) = (self.verbosity, Arc::clone(&self.output));
        let held = request.held.clone();
        let text = heavy(move || {
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
pub(super) fn counts(request: &Request) -> Result<String, json::Error> {
    Ok(format!("{}: {}", request.signal, summary(request)?.counts))
}

/// `basic`: a line with counts. `normal`: a line for each log record, span or metric, too. `detailed`: instead of
/// those the whole request as indented OTLP JSON.
fn describe(verbosity: Verbosity, request: &Request) -> Result<String, json::Error> {
    let Summary { counts, lines } = summary(request)?;
    let signal = request.signal;
    Ok(match verbosity {
        Verbosity::Basic => format!("{signal}: {counts}\n"),
        Verbosity::Normal => format!("{signal}: {counts}\n{lines}"),
        Verbosity::Detailed => {
            let document: Value = serde_json::from_slice(&json::to_json(signal, &request.body)?)
                .expect("what was written as JSON is JSON");
            format!("{signal}: {counts}\n{document:#}\n")
        }
    })
}

fn summary(request: &Request) -> Result<Summary, json::Error> {
    Ok(match request.signal {
        Signal::Logs => lines::logs(&decode(&request.body)?),
        Signal::Traces => lines::traces(&decode(&request.body)?),
        Signal::Metrics => lines::metrics(&decode(&request.body)?),
        Signal::Profiles => lines::profiles(&decode(&request.body)?),
    })
}

fn decode<M: Message + Default>(body: &[u8]) -> Result<M, json::Error> {
    M::decode(body).map_err(|e| json::Error { place: "request".to_owned(), reason: e.to_string() })
}

impl fmt::Debug for Debug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debug").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
