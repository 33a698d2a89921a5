//! From the settings as they are written to rules that can be worked off.
use super::condition::{Condition, Test};
use super::{Action, Rule};
use regex::RegexBuilder;
use serde::Deserialize;
use sluicegate_filter::{Error, Field, OwnedValue, Settings, Severity, Value};

/// How much memory one regular expression may take: the default of the `regex` crate is ten times that, and a
/// filter has little.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rules: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    r#if: Option<WrittenCondition>,
    /// Exactly one of these is given.
    route: Option<String>,
    drop: Option<String>,
    keep: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCondition {
    /// Exactly one of these is given.
    all: Option<Vec<WrittenCondition>>,
    any: Option<Vec<WrittenCondition>>,
    not: Option<Box<WrittenCondition>>,
    field: Option<Field>,
    /// With `field`, at least one of these is given.
    exists: Option<bool>,
    equals: Option<OwnedValue>,
    one_of: Option<Vec<OwnedValue>>,
    at_least: Option<OwnedValue>,
    at_most: Option<OwnedValue>,
    prefix: Option<String>,
    suffix: Option<String>,
    contains: Option<String>,
    matches: Option<String>,
}

/// Reads the rules, in order.
pub(crate) fn rules(settings: &Settings) -> Result<Vec<Rule>, Error> {
    let written: Written = settings.parse()?;
    let rules = written.rules.into_iter().enumerate();
    rules.map(|(number, rule)| rule.check(&format!("rules[{number}]"))).collect()
}

impl WrittenRule {
    fn check(self, path: &str) -> Result<Rule, Error> {
        let action = match (self.route, self.drop, self.keep) {
            (Some(name), None, None) if !name.is_empty() => Action::Route(name.leak()),
            (None, Some(reason), None) if !reason.is_empty() => Action::Drop(reason.leak()),
            (None, None, Some(true)) => Action::Keep,
            _ => {
                return Err(format!("{path}: give one of `route: NAME`, `drop: REASON` and `keep: true`").into());
            }
        };
        let condition = match self.r#if {
            Some(condition) => condition.check(&format!("{path}.if"))?,
            None => Condition::All(Vec::new()),
        };
        Ok(Rule { condition, action })
    }
}

impl WrittenCondition {
    fn check(mut self, path: &str) -> Result<Condition, Error> {
        let tests = self.tests(path)?;
        let list = |conditions: Vec<Self>, name: &str| {
            let conditions = conditions.into_iter().enumerate();
            conditions
                .map(|(number, condition)| condition.check(&format!("{path}.{name}[{number}]")))
                .collect::<Result<_, Error>>()
        };
        match (self.all, self.any, self.not, self.field) {
            (Some(all), None, None, None) if tests.is_empty() => Ok(Condition::All(list(all, "all")?)),
            (None, Some(any), None, None) if tests.is_empty() => Ok(Condition::Any(list(any, "any")?)),
            (None, None, Some(not), None) if tests.is_empty() => {
                Ok(Condition::Not(Box::new(not.check(&format!("{path}.not"))?)))
            }
            (None, None, None, Some(field)) if !tests.is_empty() => Ok(Condition::Field(field, tests)),
            (None, None, None, Some(_)) => {
                let names = "exists, equals, one_of, at_least, at_most, prefix, suffix, contains, matches";
                Err(format!("{path}: say what the field must be, with one or more of {names}").into())
            }
            _ => {
                Err(format!("{path}: give one of `all`, `any`, `not` and `field`, and tests with `field` alone").into())
            }
        }
    }

    /// Takes the tests out.
    fn tests(&mut self, path: &str) -> Result<Vec<Test>, Error> {
        let field = self.field.as_ref();
        let named = |value: OwnedValue, test: &str| match value_of(field, value) {
            Ok(value) => Ok(value),
            Err(error) => Err(Error::from(format!("{path}.{test}: {error}"))),
        };
        let bound = |value: OwnedValue, test: &str| match named(value, test)? {
            bound @ (OwnedValue::Int(_) | OwnedValue::Double(_)) => Ok(bound),
            other => Err(Error::from(format!("{path}.{test}: expected a number, not {other:?}"))),
        };
        let mut tests = Vec::new();
        tests.extend(self.exists.map(Test::Exists));
        if let Some(value) = self.equals.take() {
            tests.push(Test::OneOf(vec![named(value, "equals")?]));
        }
        if let Some(values) = self.one_of.take() {
            tests.push(Test::OneOf(values.into_iter().map(|value| named(value, "one_of")).collect::<Result<_, _>>()?));
        }
        if let Some(value) = self.at_least.take() {
            tests.push(Test::AtLeast(bound(value, "at_least")?));
        }
        if let Some(value) = self.at_most.take() {
            tests.push(Test::AtMost(bound(value, "at_most")?));
        }
        tests.extend(self.prefix.take().map(Test::Prefix));
        tests.extend(self.suffix.take().map(Test::Suffix));
        tests.extend(self.contains.take().map(Test::Contains));
        if let Some(pattern) = self.matches.take() {
            let regex = RegexBuilder::new(&pattern).size_limit(REGEX_SIZE_LIMIT).build();
            tests.push(Test::Matches(regex.map_err(|error| format!("{path}.matches: {error}"))?));
        }
        Ok(tests)
    }
}

/// A value to compare the field with. A severity may be given by name.
fn value_of(field: Option<&Field>, value: OwnedValue) -> Result<OwnedValue, Error> {
    match (field, value.as_value()) {
        (Some(Field::SeverityNumber), Value::Str(name)) => {
            Ok(OwnedValue::Int(name.parse::<Severity>()?.number().into()))
        }
        _ => Ok(value),
    }
}
