//! `${env:NAME}` in values.
//!
//! The Collector's syntax: `${env:NAME}`, `${NAME}` for short, `${env:NAME:-default}` where the variable may be
//! unset, and `$$` for a `$`. A `$` before anything else stands for itself. Values aren't expanded again.

use super::scalar::{Scalar, Style};

/// What can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpandError {
    /// The reference as it stands in the text.
    pub(super) reference: String,
    /// What is wrong with it.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

/// Replaces every reference in `text`, a scalar of the given style, by what `env` says.
pub(super) fn expand(
    text: &str,
    style: Style,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Scalar, Vec<ExpandError>> {
    let (mut expanded, mut references, mut errors) = (String::new(), 0, Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            references += 1;
            let end = inner.find('}');
            // An unclosed reference reaches to the end of its line.
            let shown = end.or_else(|| inner.find('\n')).unwrap_or(inner.len());
            let reference = format!("${{{}{}", &inner[..shown], if end.is_some() { "}" } else { "" });
            match resolve(end.map(|end| &inner[..end]), env) {
                Ok(value) => expanded.push_str(&value),
                Err((message, help)) => errors.push(ExpandError { reference, message, help }),
            }
            rest = end.map_or("", |end| &inner[end + 1..]);
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    if !errors.is_empty() {
        return Err(errors);
    }
    let alone = references == 1 && text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let style = match style {
        Style::Plain if alone => Style::Expanded,
        Style::Plain if references == 0 => Style::Plain,
        _ => Style::Text,
    };
    Ok(Scalar { text: expanded, style })
}

/// The value of what stands between the braces, or a message and what to do.
fn resolve(inner: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let literal = "write `$$` for a `$` that stands for itself";
    let Some(inner) = inner else {
        return Err(("a reference without its closing `}`".to_owned(), literal.to_owned()));
    };
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let name = match name.split_once(':') {
        Some(("env", name)) => name,
        Some((scheme, _)) => {
            let message = format!("values can't be taken from `{scheme}`");
            return Err((message, format!("write `${{env:NAME}}`, or {literal}")));
        }
        None => name,
    };
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !valid {
        let message = format!("`{name}` is not the name of an environment variable");
        return Err((message, format!("a name has letters, digits and `_`; {literal}")));
    }
    env(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        let help = format!("set it, or give a default: `${{env:{name}:-default}}`");
        (format!("the environment variable `{name}` is not set"), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion() {
        let env = |name: &str| match name {
            "HOST" => Some("collector".to_owned()),
            "PORT" => Some("4317".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${env:HOST}$$".to_owned()),
            _ => None,
        };
        let check = |text: &str, want: &str, style| {
            let want = Scalar { text: want.to_owned(), style };
            assert_eq!(expand(text, Style::Plain, &env), Ok(want), "{text}");
        };
        check("plain", "plain", Style::Plain);
        check("7", "7", Style::Plain);
        check("${env:PORT}", "4317", Style::Expanded);
        check("${PORT}", "4317", Style::Expanded);
        check("${env:EMPTY}", "", Style::Expanded);
        check("${env:EMPTY:-5}", "", Style::Expanded);
        check("${env:NONE:-5}", "5", Style::Expanded);
        check("${env:NONE:-a:-b}", "a:-b", Style::Expanded);
        check("${env:NONE:-}", "", Style::Expanded);
        check("${env:HOST}:${env:PORT}", "collector:4317", Style::Text);
        check("1${env:PORT}", "14317", Style::Text);
        check("${env:DOLLAR}", "${env:HOST}$$", Style::Expanded);
        check("$${env:HOST}", "${env:HOST}", Style::Plain);
        check("$$$${env:HOST}", "$${env:HOST}", Style::Plain);
        check("$$${env:HOST}", "$collector", Style::Text);
        check("^a$|$1|$", "^a$|$1|$", Style::Plain);
        let text = expand("${env:PORT}", Style::Text, &env);
        assert_eq!(text.map(|scalar| scalar.style), Ok(Style::Text));
    }

    #[test]
    fn refusals() {
        let check = |text: &str, want: &[(&str, &str)]| {
            let errors = expand(text, Style::Plain, &|_| None).expect_err(text);
            let errors: Vec<_> =
                errors.iter().map(|error| (error.reference.as_str(), error.message.as_str())).collect();
            assert_eq!(errors, want, "{text}");
        };
        check(
            "a ${env:ONE} ${TWO}",
            &[
                ("${env:ONE}", "the environment variable `ONE` is not set"),
                ("${TWO}", "the environment variable `TWO` is not set"),
            ],
        );
        check("${env:A", &[("${env:A", "a reference without its closing `}`")]);
        check("${file:/x}", &[("${file:/x}", "values can't be taken from `file`")]);
        check("${}", &[("${}", "`` is not the name of an environment variable")]);
        check("${env:1A}", &[("${env:1A}", "`1A` is not the name of an environment variable")]);
        check("${env:A_${env:B}}", &[("${env:A_${env:B}", "`A_${env:B` is not the name of an environment variable")]);
    }
}
