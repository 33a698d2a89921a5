//! A guest for tests: it answers what the host must refuse, one kind of garbage at a time.
//!
//! The setting `answer` names the kind; an unknown name is refused with all of them. A few answers are right, to
//! show that it is the garbage that is refused. With `body`, batches without a record of this body are answered right.
//! The route `declared` is always declared.
use serde::Deserialize;
use sluicegate_filter::Settings;
#[cfg(target_family = "wasm")]
use sluicegate_filter::raw;
use sluicegate_filter::raw::{Batch, Column, Field, Guest, Outcome, Plan};
use std::cell::OnceCell;

mod answers;

use answers::{ANSWERS, Answer};

/// The guest.
pub struct Garbage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    answer: String,
    body: Option<String>,
}

/// What `configure` leaves for `process`.
#[derive(Debug)]
struct Configured {
    answer: Answer,
    body: Option<String>,
}

thread_local! {
    static CONFIGURED: OnceCell<Configured> = const { OnceCell::new() };
}

impl Guest for Garbage {
    fn configure(settings: String) -> Result<Plan, String> {
        let configured = choose(&settings)?;
        CONFIGURED.with(|cell| drop(cell.set(configured)));
        Ok(Plan { routes: vec!["declared".to_owned()] })
    }

    fn process(batch: &Batch) -> Result<Outcome, String> {
        CONFIGURED.with(|cell| {
            let Configured { answer, body } = cell.get().ok_or("the guest was not configured")?;
            match body {
                Some(body) if !has(&batch.column(&Field::Body), body) => Ok(answers::nothing()),
                _ => answer(batch.len()),
            }
        })
    }
}

#[cfg(target_family = "wasm")]
raw::export!(Garbage with_types_in raw);

fn choose(settings: &str) -> Result<Configured, String> {
    let chosen: Chosen = Settings::from_json(settings).parse().map_err(|error| error.to_string())?;
    match ANSWERS.iter().find(|(name, _)| *name == chosen.answer) {
        Some((_, answer)) => Ok(Configured { answer: *answer, body: chosen.body }),
        None => {
            let names: Vec<_> = ANSWERS.iter().map(|(name, _)| *name).collect();
            Err(format!("answer: `{}` is none of {}", chosen.answer, names.join(", ")))
        }
    }
}

/// Whether one of the column's values has these bytes.
fn has(column: &Column, value: &str) -> bool {
    let mut start = 0;
    column.ends.iter().any(|&end| {
        let data = &column.data[start..end as usize];
        start = end as usize;
        data == value.as_bytes()
    })
}

#[cfg(test)]
mod tests;
