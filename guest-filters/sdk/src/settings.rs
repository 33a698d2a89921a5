//! A filter's settings.
use crate::Error;
use serde::de::DeserializeOwned;

/// What stands under `settings` in the processor's configuration, as JSON. Without any it is `{}`.
#[derive(Debug, Clone)]
pub struct Settings(String);

impl Settings {
    /// Settings from JSON text, for guests that use [`raw`](crate::raw) and for tests.
    pub fn from_json(json: impl Into<String>) -> Self {
        Self(json.into())
    }

    /// The settings as `T`. Give `T` the attribute `#[serde(deny_unknown_fields)]`, so that a misspelt setting
    /// is an error rather than a setting without effect.
    ///
    /// # Errors
    /// Names the setting that doesn't fit, and what would.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut json = serde_json::Deserializer::from_str(&self.0);
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let error = error.into_inner();
            // The JSON was made from YAML, so a position in it would point to nowhere.
            let position = format!(" at line {} column {}", error.line(), error.column());
            let text = error.to_string();
            let text = text.strip_suffix(&position).unwrap_or(&text);
            if path == "." { text.into() } else { format!("{path}: {text}").into() }
        })
    }

    /// The JSON text itself.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }
}
