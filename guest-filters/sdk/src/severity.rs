//! How severe a record says it is.
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::str::FromStr;

/// OpenTelemetry's severity number: 1 to 24 in six ranges of four, or [`Severity::UNSPECIFIED`].
///
/// It is ordered by urgency, is parsed from a short name in any case or from a number, and deserialises from
/// either.
///
/// ```
/// use sluicegate_filter::Severity;
///
/// assert!(Severity::WARN > Severity::INFO4);
/// assert_eq!("warn".parse(), Ok(Severity::WARN));
/// assert_eq!("13".parse(), Ok(Severity::WARN));
/// assert_eq!(Severity::WARN.to_string(), "WARN");
/// assert!("LOUD".parse::<Severity>().is_err());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// Text or a number that names no [`Severity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSeverity(String);

/// Short names, by number, as the specification's table has them.
const NAMES: [&str; 25] = [
    "UNSPECIFIED",
    "TRACE",
    "TRACE2",
    "TRACE3",
    "TRACE4",
    "DEBUG",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "INFO",
    "INFO2",
    "INFO3",
    "INFO4",
    "WARN",
    "WARN2",
    "WARN3",
    "WARN4",
    "ERROR",
    "ERROR2",
    "ERROR3",
    "ERROR4",
    "FATAL",
    "FATAL2",
    "FATAL3",
    "FATAL4",
];

/// The constants, which all look alike.
macro_rules! constants {
    ($($name:ident = $number:literal),+ $(,)?) => {
        impl Severity {
            $(
                #[doc = concat!("`SEVERITY_NUMBER_", stringify!($name), "`, ", stringify!($number), ".")]
                pub const $name: Self = Self($number);
            )+
        }
    };
}

constants! {
    UNSPECIFIED = 0,
    TRACE = 1, TRACE2 = 2, TRACE3 = 3, TRACE4 = 4,
    DEBUG = 5, DEBUG2 = 6, DEBUG3 = 7, DEBUG4 = 8,
    INFO = 9, INFO2 = 10, INFO3 = 11, INFO4 = 12,
    WARN = 13, WARN2 = 14, WARN3 = 15, WARN4 = 16,
    ERROR = 17, ERROR2 = 18, ERROR3 = 19, ERROR4 = 20,
    FATAL = 21, FATAL2 = 22, FATAL3 = 23, FATAL4 = 24,
}

impl Severity {
    /// The severity of this number, if OpenTelemetry defines one.
    #[inline]
    pub(crate) fn of(number: i64) -> Option<Self> {
        u8::try_from(number).ok().filter(|&number| usize::from(number) < NAMES.len()).map(Self)
    }

    /// The number, from 0 to 24.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The short name, such as `INFO` or `ERROR2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl TryFrom<i64> for Severity {
    type Error = UnknownSeverity;

    fn try_from(number: i64) -> Result<Self, UnknownSeverity> {
        Self::of(number).ok_or_else(|| UnknownSeverity(number.to_string()))
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        if let Ok(number) = text.parse::<i64>() {
            return Self::try_from(number);
        }
        match NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            Some(number) => Ok(Self(number as u8)),
            None => Err(UnknownSeverity(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = Severity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a severity's name or number")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Severity, E> {
                Severity::try_from(number).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Severity, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Severity, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no severity: expected TRACE, DEBUG, INFO, WARN, ERROR or FATAL, such a name with 2, 3 or 4 \
             behind it, or a number from 1 to 24",
            self.0
        )
    }
}

impl std::error::Error for UnknownSeverity {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_severity_is_parsed_by_its_name_and_its_number() {
        for number in 0..=24_u8 {
            let severity = Severity::try_from(i64::from(number)).expect("within range");
            assert_eq!(severity.number(), number);
            assert_eq!(severity.name().parse(), Ok(severity));
            assert_eq!(severity.name().to_lowercase().parse(), Ok(severity));
            assert_eq!(number.to_string().parse(), Ok(severity));
        }
        for unknown in ["25", "-1", "", "INFO5", "LOUD", "INFO "] {
            assert_eq!(unknown.parse::<Severity>(), Err(UnknownSeverity(unknown.to_owned())));
        }
    }
}
