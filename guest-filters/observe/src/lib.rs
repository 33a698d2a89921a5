//! A guest for tests and benchmarks: it does one thing to every record, so that the thing can be measured.
//!
//! | setting | value | default |
//! | --- | --- | --- |
//! | `read` | fields to read, such as `severity_number`, `body` or `{ attribute: NAME }` | none |
//! | `iterate` | whether to go through all attributes of the record | no |
//! | `set` | attributes to set, each to this value on every record | none |
//! | `number` | an attribute to set to the record's number in its batch | none |
//! | `drop_every`, `route_every` | drops or routes (to `observed`) every so many records | none |
use serde::Deserialize;
use sluicegate_filter::{Error, Field, Filter, OwnedValue, Record, Settings, Verdict, export};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU64;

/// The guest: its settings and where it is.
struct Observe {
    settings: Chores,
    /// The number of the next record in its batch.
    row: u64,
}

/// What to do.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Chores {
    read: Vec<Field>,
    iterate: bool,
    set: BTreeMap<String, OwnedValue>,
    number: Option<String>,
    drop_every: Option<NonZeroU64>,
    route_every: Option<NonZeroU64>,
}

impl Filter for Observe {
    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings: settings.parse()?, row: 0 })
    }

    fn routes(&self) -> Vec<String> {
        if self.settings.route_every.is_some() { vec!["observed".to_owned()] } else { Vec::new() }
    }

    fn start_batch(&mut self, _records: usize) {
        self.row = 0;
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        let row = self.row;
        self.row += 1;
        for field in &self.settings.read {
            black_box(record.get(field));
        }
        if self.settings.iterate {
            black_box(record.attributes().map(black_box).count());
        }
        for (key, value) in &self.settings.set {
            record.set_attribute(key, value);
        }
        if let Some(key) = &self.settings.number {
            record.set_attribute(key, row.cast_signed());
        }
        let due = |every: Option<NonZeroU64>| every.is_some_and(|every| row % every == 0);
        if due(self.settings.drop_every) {
            return Verdict::drop("observed");
        }
        if due(self.settings.route_every) {
            return Verdict::route("observed");
        }
        Verdict::Keep
    }
}

export!(Observe);

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_filter::testing::{Harness, LogRecord, json};

    #[test]
    fn reading_changes_nothing() {
        let settings = json!({ "read": ["severity_number", "body", { "attribute": "a" }], "iterate": true });
        let mut observe = Harness::<Observe>::new(settings).expect("valid settings");
        let answer = observe.run(LogRecord::new().attribute("a", 1));
        assert_eq!((answer.verdict, answer.changed), (Verdict::Keep, false));
    }

    #[test]
    fn every_record_gets_what_was_asked_for() {
        let settings = json!({ "set": { "a": [1] }, "number": "n", "drop_every": 3, "route_every": 2 });
        let mut observe = Harness::<Observe>::new(settings).expect("valid settings");
        let answers = observe.run_batch([LogRecord::new(), LogRecord::new(), LogRecord::new()]);
        let verdicts: Vec<_> = answers.iter().map(|answer| answer.verdict.clone()).collect();
        assert_eq!(verdicts, [Verdict::drop("observed"), Verdict::Keep, Verdict::route("observed")]);
        for (number, answer) in answers.iter().enumerate() {
            let number = answer.record.get(&Field::Attribute("n".to_owned())).and_then(|value| value.as_int())
                == Some(number as i64);
            assert!(number, "{answer:?}");
        }
    }
}
