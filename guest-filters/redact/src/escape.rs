//! The escapes of JSON's strings, as texts hold them that are JSON or cut out of it.
use std::ops::Range;

/// How often JSON text is followed into the strings of JSON text. Each time is a pass over the text, and nobody who
/// wraps lines of lines of lines gets so far.
pub(crate) const MOST_LEVELS: usize = 8;

/// How long an escape may be: a character beyond the first plane takes two of six.
const LONGEST: usize = 12;

/// A text with its escapes undone. What is no escape of JSON stays.
pub(crate) struct Unescaped {
    pub(crate) text: String,
    /// For each byte of `text` where its character begins in the original, and last where the original ends.
    origins: Vec<usize>,
}

impl Unescaped {
    pub(crate) fn new(original: &str) -> Self {
        let mut text = String::with_capacity(original.len());
        let mut origins = Vec::with_capacity(original.len() + 1);
        let mut at = 0;
        while let Some(first) = original[at..].chars().next() {
            let (character, length) = escape(&original[at..]).unwrap_or((first, first.len_utf8()));
            text.push(character);
            origins.resize(text.len(), at);
            at += length;
        }
        origins.push(at);
        Self { text, origins }
    }

    /// Where a part of the text stands in the original.
    pub(crate) fn origin(&self, part: &Range<usize>) -> Range<usize> {
        self.origins[part.start]..self.origins[part.end]
    }
}

/// Moves the ends of what was found behind the escapes that they would tear apart, if anything is left then.
pub(crate) fn spare(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let spared = behind_escape(text, found.start)..behind_escape(text, found.end);
    (!spared.is_empty()).then_some(spared)
}

/// Where the escape ends that `at` is in the middle of, or `at` itself.
fn behind_escape(text: &str, at: usize) -> usize {
    let starts = (at.saturating_sub(LONGEST - 1)..at).rev().filter(|&start| is_backslash_of_escape(text, start));
    let ends = starts.filter_map(|start| escape(&text[start..]).map(|(_, length)| start + length));
    ends.max().map_or(at, |end| end.max(at))
}

fn is_backslash_of_escape(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let before = || bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
    bytes[at] == b'\\' && before().is_multiple_of(2)
}

/// What the escape that `text` begins with stands for, and how long it is.
fn escape(text: &str) -> Option<(char, usize)> {
    let character = match text.strip_prefix('\\')?.bytes().next()? {
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((character, 2))
}

fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let units = [Some(unit(text)?), text.get(6..).and_then(unit)];
    match char::decode_utf16(units.into_iter().flatten()).next()? {
        Ok(character) => Some((character, character.len_utf16() * 6)),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

/// The four digits of a Unicode escape.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // A sign would be read too.
    if digits.starts_with('+') { None } else { u16::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_traced_back() {
        let cases = [
            ("plain ü", "plain ü"),
            (r#"a\n\"b\"\\\/\t"#, "a\n\"b\"\\/\t"),
            (r"jos\u00e9 \ud83d\ude00!", "josé 😀!"),
            (r"\ud83d\u0041 \uD83D", "\u{fffd}A \u{fffd}"),
            // What is none.
            (r"C:\Users \u12 \u+123 \", r"C:\Users \u12 \u+123 \"),
        ];
        for (original, expected) in cases {
            let unescaped = Unescaped::new(original);
            assert_eq!(unescaped.text, expected, "{original}");
            assert_eq!(unescaped.origin(&(0..expected.len())), 0..original.len(), "{original}");
        }
        assert_eq!(Unescaped::new(r"a\u00e9b").origin(&(1..3)), 1..7);
    }

    #[test]
    fn escapes_are_not_torn_apart() {
        let cases = [
            (r"a\nb", 2..4, Some(3..4)),
            (r"a\u003cb", 2..8, Some(7..8)),
            (r"a\u003cb", 4..6, None),
            (r"a\\nb", 3..5, Some(3..5)),
            (r"\ud83d\ude00b", 8..13, Some(12..13)),
            (r#"a\"b"#, 0..2, Some(0..3)),
            (r"C:\joe", 3..6, Some(3..6)),
        ];
        for (text, found, expected) in cases {
            assert_eq!(spare(text, found.clone()), expected, "{text} {found:?}");
        }
    }
}
