//! Keys within JSON text, whole, cut off, or with other text around it.
use crate::keys::{Keys, Treatment};
use std::ops::Range;

/// A member whose value is to be masked or that is to be removed.
#[derive(Debug, PartialEq)]
pub(crate) struct Find {
    /// The value, or the whole member with a comma.
    pub(crate) range: Range<usize>,
    pub(crate) treatment: Treatment,
}

/// Finds the members of objects in `text` that `keys` treat.
///
/// It goes by tokens alone: a string with a colon behind it is a key, wherever it stands. So text that ends in the
/// middle of an object, as log lines do that were cut, is no different from a whole document.
pub(crate) fn find(text: &str, keys: &Keys) -> Vec<Find> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = next_quote(bytes, at) {
        at = string_end(bytes, start);
        let colon = skip_space(bytes, at);
        if bytes.get(colon) != Some(&b':') {
            continue;
        }
        let Some(treatment) = treatment(&text[start..at], keys) else {
            continue;
        };
        let value = skip_space(bytes, colon + 1);
        let end = value_end(bytes, value);
        let range = match treatment {
            Treatment::Mask => value..end,
            Treatment::Remove => with_comma(bytes, start..end),
        };
        found.push(Find { range, treatment });
        at = end;
    }
    found
}

fn next_quote(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].iter().position(|&byte| byte == b'"').map(|offset| from + offset)
}

/// Where the string ends that begins with the quote at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// What becomes of the member with this key, in quotes. Escapes are undone, or they would hide a key.
fn treatment(key: &str, keys: &Keys) -> Option<Treatment> {
    if key.contains('\\') {
        keys.treatment(&serde_json::from_str::<String>(key).ok()?)
    } else {
        keys.treatment(key.trim_matches('"'))
    }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    from + bytes[from.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the value ends that begins at `start`.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return at,
            byte if depth == 0 && byte.is_ascii_whitespace() => return at,
            _ => at += 1,
        }
        if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    bytes.len()
}

/// A member with the comma behind it or, if it is the last, with the one before.
fn with_comma(bytes: &[u8], member: Range<usize>) -> Range<usize> {
    let behind = skip_space(bytes, member.end);
    if bytes.get(behind) == Some(&b',') {
        return member.start..skip_space(bytes, behind + 1);
    }
    let before = bytes[..member.start].trim_ascii_end();
    match before.split_last() {
        Some((b',', before)) => before.len()..member.end,
        _ => member,
    }
}
