//! A guest for tests: it answers what the host must refuse, one kind of garbage at a time.
//!
//! The setting `answer` names the kind; an unknown name is refused with all of them. A few answers are right, to
//! show that it is the garbage that is refused. The route `declared` is always declared.
use serde::Deserialize;
use sluicegate_filter::Settings;
#[cfg(target_family = "wasm")]
use sluicegate_filter::raw;
use sluicegate_filter::raw::{Batch, Guest, Outcome, Plan};
use std::cell::Cell;

mod answers;

use answers::{ANSWERS, Answer};

/// The guest.
pub struct Garbage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    answer: String,
}

thread_local! {
    static ANSWER: Cell<Option<Answer>> = const { Cell::new(None) };
}

impl Guest for Garbage {
    fn configure(settings: String) -> Result<Plan, String> {
        let answer = choose(&settings)?;
        ANSWER.set(Some(answer));
        Ok(Plan { routes: vec!["declared".to_owned()] })
    }

    fn process(batch: &Batch) -> Result<Outcome, String> {
        ANSWER.get().ok_or("the guest was not configured")?(batch.len())
    }
}

#[cfg(target_family = "wasm")]
raw::export!(Garbage with_types_in raw);

fn choose(settings: &str) -> Result<Answer, String> {
    let chosen: Chosen = Settings::from_json(settings).parse().map_err(|error| error.to_string())?;
    match ANSWERS.iter().find(|(name, _)| *name == chosen.answer) {
        Some((_, answer)) => Ok(*answer),
        None => {
            let names: Vec<_> = ANSWERS.iter().map(|(name, _)| *name).collect();
            Err(format!("answer: `{}` is none of {}", chosen.answer, names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
