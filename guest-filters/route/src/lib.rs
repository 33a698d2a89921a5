#![doc = include_str!("../README.md")]
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
