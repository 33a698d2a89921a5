//! Routes and drops records by rules.
//!
//! The setting `rules` is a list. The first rule whose condition holds decides: `route: NAME` sends the record
//! there, `drop: REASON` ends it, `keep: true` lets it go on. Where no rule holds the record goes on.
//!
//! ```yaml
//! settings:
//!   rules:
//!     - if: { field: { attribute: url.path }, one_of: [/healthz, /readyz] }
//!       drop: health check
//!     - if:
//!         all:
//!           - { field: severity_number, at_least: ERROR }
//!           - not: { field: { resource_attribute: deployment.environment.name }, equals: test }
//!       route: critical
//!     - if: { field: body, matches: '(?i)\bpassword\b' }
//!       route: audit
//! ```
//!
//! A condition is `all`, `any` or `not` of other conditions, or names a `field` and what it must be. Without `if`
//! a rule holds for every record. Fields are those of `enrich`: `{ attribute: KEY }`, `{ resource_attribute: KEY }`,
//! `{ scope_attribute: KEY }`, `body`, `severity_number`, `severity_text`, `event_name`, `scope_name` and the others.
//!
//! | test | holds where the field is |
//! | --- | --- |
//! | `exists: true`, `exists: false` | there, or not |
//! | `equals: V` | this value; 1 and 1.0 are equal, 1 and "1" are not |
//! | `one_of: [V, …]` | one of these values |
//! | `at_least: N`, `at_most: N` | a number within these bounds |
//! | `prefix: T`, `suffix: T`, `contains: T` | a string that begins with, ends with or contains this |
//! | `matches: R` | a string in which this regular expression matches; `^` and `$` anchor it |
//!
//! Several tests of one field must all hold. No test but `exists: false` holds for a field that isn't there; in
//! particular a record without a severity is neither at least nor at most any. The tests of `severity_number` take
//! names as well as numbers.
use sluicegate_filter::{Error, Filter, Record, Settings, Verdict, export};

mod condition;
mod settings;

use condition::Condition;

/// The filter.
struct Route {
    rules: Vec<Rule>,
}

/// A condition, and what becomes of records for which it holds.
struct Rule {
    condition: Condition,
    action: Action,
}

/// Names live as long as the filter, so that deciding allocates nothing.
#[derive(Clone, Copy)]
enum Action {
    Keep,
    Drop(&'static str),
    Route(&'static str),
}

impl Filter for Route {
    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self { rules: settings::rules(&settings)? })
    }

    fn routes(&self) -> Vec<String> {
        let mut routes = Vec::new();
        for rule in &self.rules {
            if let Action::Route(name) = rule.action
                && !routes.iter().any(|known| known == name)
            {
                routes.push(name.to_owned());
            }
        }
        routes
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        match self.rules.iter().find(|rule| rule.condition.holds(record)).map(|rule| rule.action) {
            None | Some(Action::Keep) => Verdict::Keep,
            Some(Action::Drop(reason)) => Verdict::drop(reason),
            Some(Action::Route(name)) => Verdict::route(name),
        }
    }
}

export!(Route);

#[cfg(test)]
mod tests;
