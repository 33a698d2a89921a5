//! What a YAML scalar's text stands for: YAML 1.2's core schema, and durations.

use std::time::Duration;

use serde_json::Number;

/// A scalar of the configuration, after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
}

/// How a scalar came to its text, which decides what type it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: the text decides.
    Plain,
    /// With quotes, as a block, or with more than a reference in it: a string.
    Text,
    /// A reference to the environment and nothing else: the text decides, but where a string is wanted it is one.
    Expanded,
    /// A reference that can't be resolved, which is reported already: whatever is wanted, this is not it.
    Unresolved,
}

/// What a scalar stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Typed {
    Null,
    Bool(bool),
    Number(Number),
    /// `.inf`, `.nan`, or too large for a double: YAML has such numbers, JSON has not.
    NotFinite,
    String,
}

impl Scalar {
    /// The type of the text by the core schema (YAML 1.2.2, section 10.3.2).
    pub(super) fn typed(&self) -> Typed {
        if matches!(self.style, Style::Text | Style::Unresolved) {
            return Typed::String;
        }
        match self.text.trim() {
            "" | "~" | "null" | "Null" | "NULL" => Typed::Null,
            "true" | "True" | "TRUE" => Typed::Bool(true),
            "false" | "False" | "FALSE" => Typed::Bool(false),
            ".nan" | ".NaN" | ".NAN" => Typed::NotFinite,
            text => number(text),
        }
    }
}

impl Typed {
    /// With an article, for "found ...".
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(number) if number.is_f64() => "a number",
            Self::Number(_) => "an integer",
            Self::NotFinite => "a number that is not finite",
            Self::String => "a string",
        }
    }
}

/// A number, or a string where `text` is none.
fn number(text: &str) -> Typed {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Typed::NotFinite;
    }
    let radix = |prefix, radix| {
        let digits: &str = text.strip_prefix(prefix)?;
        // Rust takes a sign here, YAML doesn't.
        let sign = digits.starts_with(['-', '+']);
        u64::from_str_radix(digits, radix).ok().filter(|_| !sign)
    };
    if let Some(integer) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Typed::Number(integer.into());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(unsigned) {
        if let Ok(integer) = text.parse::<i64>() {
            return Typed::Number(integer.into());
        }
        if let Ok(integer) = text.parse::<u64>() {
            return Typed::Number(integer.into());
        }
    }
    // Rust reads every float that YAML knows, and `inf` and `nan` besides, which the first character keeps out.
    if unsigned.starts_with(|first: char| first == '.' || first.is_ascii_digit())
        && let Ok(float) = text.parse::<f64>()
    {
        return Number::from_f64(float).map_or(Typed::NotFinite, Typed::Number);
    }
    Typed::String
}

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// As in `10`.
    #[error("its unit is missing")]
    NoUnit,
    /// As in `soon`.
    #[error("expected numbers with units")]
    Syntax,
    /// As in `-1s`.
    #[error("it is negative")]
    Negative,
    /// More than 63 bits of nanoseconds.
    #[error("it is longer than 292 years")]
    TooLong,
}

/// Reads a duration in Go's syntax, as the Collector does: numbers, each with a unit, as in `1m30s` or `1.5h`.
///
/// # Errors
/// When it is anything else.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = match text.strip_prefix('-') {
        Some(_) => return Err(DurationError::Negative),
        None => text.strip_prefix('+').unwrap_or(text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::Syntax);
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let nanoseconds: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(DurationError::NoUnit),
            _ => return Err(DurationError::Syntax),
        };
        // An hour has 13 digits of nanoseconds: what stands behind them changes nothing.
        let fraction = &fraction[..fraction.len().min(13)];
        let scale = fraction.bytes().fold(1, |scale: u128, _| scale * 10);
        let number = |digits: &str| {
            if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) }
        };
        let whole = number(whole).ok_or(DurationError::TooLong)? * nanoseconds;
        let fraction = number(fraction).ok_or(DurationError::TooLong)? * nanoseconds / scale;
        total += whole + fraction;
        if total > i64::MAX as u128 {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

/// The digits at the start, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text, want: Result<u64, DurationError>| {
            assert_eq!(duration(text), want.map(Duration::from_nanos), "{text}");
        };
        check("100ms", Ok(100_000_000));
        check("5s", Ok(5_000_000_000));
        check("1m30s", Ok(90_000_000_000));
        check("1.5h", Ok(5_400_000_000_000));
        check(".5s", Ok(500_000_000));
        check("1.s", Ok(1_000_000_000));
        check("+2us", Ok(2_000));
        check("3µs4μs5ns", Ok(7_005));
        check("0", Ok(0));
        check("0s", Ok(0));
        check("0.1234567890123456789h", Ok(444_444_440_444));
        check("9223372036854775807ns", Ok(i64::MAX as u64));
        check("9223372036854775808ns", Err(DurationError::TooLong));
        check("99999999999999999999h", Err(DurationError::TooLong));
        check("-1s", Err(DurationError::Negative));
        for text in ["5", "1m30", "1.5"] {
            check(text, Err(DurationError::NoUnit));
        }
        for text in ["", "s", ".s", "1d", "1 s", "5s ", "1S", "one", "+", "1ss"] {
            check(text, Err(DurationError::Syntax));
        }
    }

    #[test]
    fn types() {
        let check = |text: &str, want: Typed| {
            let scalar = Scalar { text: text.to_owned(), style: Style::Plain };
            assert_eq!(scalar.typed(), want, "{text}");
            let scalar = Scalar { style: Style::Text, ..scalar };
            assert_eq!(scalar.typed(), Typed::String, "{text}");
        };
        let float = |float| Typed::Number(Number::from_f64(float).expect("finite"));
        for text in ["", "~", "null", "NULL"] {
            check(text, Typed::Null);
        }
        check("true", Typed::Bool(true));
        check("False", Typed::Bool(false));
        check("7", Typed::Number(7.into()));
        check("007", Typed::Number(7.into()));
        check("-7", Typed::Number((-7).into()));
        check("+7", Typed::Number(7.into()));
        check("0x1F", Typed::Number(31.into()));
        check("0o17", Typed::Number(15.into()));
        check("18446744073709551615", Typed::Number(u64::MAX.into()));
        check("18446744073709551616", float(18_446_744_073_709_551_616.0));
        check("1.5", float(1.5));
        check(".5", float(0.5));
        check("1e3", float(1000.0));
        check("-1.", float(-1.0));
        for text in [".inf", "-.INF", ".nan", "1e999"] {
            check(text, Typed::NotFinite);
        }
        for text in ["yes", "on", "inf", "nan", "1_000", "0x", "0x+1", "1e", ".", "-", "1.2.3", "tRUE", "5s"] {
            check(text, Typed::String);
        }
    }
}
