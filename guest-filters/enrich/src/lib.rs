#![doc = include_str!("../README.md")]
use serde::Deserialize;
use sluicegate_filter::{Error, Field, Filter, OwnedValue, Record, Settings, Verdict, export};

/// The filter, which is its settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrich {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Set(Set),
    Rename(Rename),
    Remove(Field),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    field: Field,
    /// One of these two is given.
    value: Option<OwnedValue>,
    from: Option<Field>,
    #[serde(default = "yes")]
    overwrite: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    from: Field,
    to: Field,
    #[serde(default = "yes")]
    overwrite: bool,
}

impl Filter for Enrich {
    fn new(settings: Settings) -> Result<Self, Error> {
        let enrich: Self = settings.parse()?;
        for (number, operation) in enrich.operations.iter().enumerate() {
            operation.check().map_err(|error| format!("operations[{number}].{}: {error}", operation.name()))?;
        }
        Ok(enrich)
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        for operation in &self.operations {
            operation.apply(record);
        }
        Verdict::Keep
    }
}

export!(Enrich);

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Rename(_) => "rename",
            Self::Remove(_) => "remove",
        }
    }

    /// Finds what could never work, before there are records.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Set(Set { field, value: Some(value), from: None, .. }) => field.check(value.as_value()),
            Self::Set(Set { field, value: None, from: Some(from), .. }) if field != from => removable(field),
            Self::Set(Set { value: None, from: Some(from), .. }) => {
                Err(format!("{from} would be copied to itself").into())
            }
            Self::Set(_) => Err("give either `value` or `from`".into()),
            Self::Rename(Rename { from, to, .. }) if from == to => Err(format!("{from} keeps its name").into()),
            Self::Rename(Rename { from, to, .. }) => removable(from).and_then(|()| removable(to)),
            Self::Remove(field) => removable(field),
        }
    }

    fn apply(&self, record: &mut Record<'_>) {
        match self {
            Self::Set(Set { field, overwrite: false, .. })
            | Self::Rename(Rename { to: field, overwrite: false, .. })
                if record.get(field).is_some() => {}
            Self::Set(Set { field, value: Some(value), .. }) => _ = record.set(field, value),
            Self::Set(Set { field, from, .. }) => _ = from.as_ref().is_some_and(|from| copy(record, from, field)),
            Self::Rename(Rename { from, to, .. }) => {
                if copy(record, from, to) {
                    _ = record.remove(from);
                }
            }
            Self::Remove(field) => _ = record.remove(field),
        }
    }
}

/// Whether there was something to copy that `to` can hold.
fn copy(record: &mut Record<'_>, from: &Field, to: &Field) -> bool {
    let value = record.get(from).map(|value| value.to_owned());
    value.is_some_and(|value| record.set(to, &value).is_ok())
}

/// Whether the field can be changed at all, and named.
fn removable(field: &Field) -> Result<(), Error> {
    field.check(OwnedValue::Empty.as_value())
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
