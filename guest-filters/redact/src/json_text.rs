//! Keys within JSON text, whole, cut off, or with other text around it.
use super::escape::{MOST_LEVELS, Unescaped};
use super::keys::{Keys, Treatment};
use std::ops::Range;

/// A member whose value is to be masked or that is to be removed.
#[derive(Debug, PartialEq)]
pub(crate) struct Find {
    /// The value, or the whole member with a comma.
    pub(crate) range: Range<usize>,
    pub(crate) treatment: Treatment,
    /// Within how many strings of JSON text it stands, which is how often it is escaped.
    pub(crate) level: usize,
}

/// Finds the members of objects in `text` that `keys` treat.
///
/// It goes by tokens alone: what stands between two quotes and before a colon is a key, wherever that is. So text that
/// begins or ends in the middle of an object, as log lines do that were cut, is no different from a whole document,
/// and a stray quote hides nothing.
pub(crate) fn find(text: &str, keys: &Keys) -> Vec<Find> {
    find_within(text, keys, MOST_LEVELS)
}

fn find_within(text: &str, keys: &Keys, levels: usize) -> Vec<Find> {
    let bytes = text.as_bytes();
    let mut found: Vec<Find> = Vec::new();
    // Text is looked at in pieces, each up to the next quote. Quotes may be missing, so any piece may be a string.
    let mut start = 0;
    let mut is_behind_quote = false;
    while start < bytes.len() {
        let piece = start..piece_end(bytes, start);
        let member = if is_behind_quote { treated_member(text, &piece, keys) } else { None };
        is_behind_quote = member.is_none();
        start = piece.end + 1;
        if let Some((treatment, value)) = member {
            start = value.end;
            let range = match treatment {
                Treatment::Mask => value,
                Treatment::Remove => {
                    let mut member = piece.start - 1..value.end;
                    // Members removed in a row are one, or each would leave its comma to the other.
                    if let Some(before) = found.pop_if(|last| last.is_removed_up_to(member.start)) {
                        member.start = before.range.start;
                    }
                    with_comma(bytes, member)
                }
            };
            found.push(Find { range, treatment, level: 0 });
        } else if levels > 0 && has_escaped_quotes(&text[piece.clone()]) {
            let unescaped = Unescaped::new(&text[piece.clone()]);
            for find in find_within(&unescaped.text, keys, levels - 1) {
                let origin = unescaped.origin(&find.range);
                let range = piece.start + origin.start..piece.start + origin.end;
                found.push(Find { range, level: find.level + 1, ..find });
            }
        }
    }
    found
}

impl Find {
    fn is_removed_up_to(&self, end: usize) -> bool {
        self.treatment == Treatment::Remove && self.range.end == end
    }
}

/// Where the next quote is that is not escaped, or the text's end.
fn piece_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'"' | b'\\')))
    {
        at += offset;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// What becomes of the member whose key this piece is, if it is one, and where the value stands.
fn treated_member(text: &str, key: &Range<usize>, keys: &Keys) -> Option<(Treatment, Range<usize>)> {
    let bytes = text.as_bytes();
    let colon = skip_space(bytes, key.end + 1);
    if bytes.get(colon) != Some(&b':') {
        return None;
    }
    let key = &text[key.clone()];
    // Escapes would hide a key.
    let treatment = if key.contains('\\') { keys.treatment(&Unescaped::new(key).text) } else { keys.treatment(key) }?;
    let value = skip_space(bytes, colon + 1);
    Some((treatment, value..value_end(bytes, value)))
}

/// Whether there may be JSON text in a string: its quotes are escaped, in one of two ways.
fn has_escaped_quotes(piece: &str) -> bool {
    piece.split('\\').skip(1).any(|rest| rest.starts_with(['"', 'u']))
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
            b'"' => at = (piece_end(bytes, at + 1) + 1).min(bytes.len()),
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
