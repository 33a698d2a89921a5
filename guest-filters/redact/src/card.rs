//! Numbers of payment cards.
use std::ops::{Range, RangeInclusive};

/// How many digits they have.
pub(crate) const DIGITS: RangeInclusive<usize> = 13..=19;

/// Whether enough digits for one are in a row, or nearly. Most texts are passed over in steps, since it takes a row of
/// digits, and of what may stand between them, that is at least as long.
pub(crate) fn may_be_in(text: &str) -> bool {
    const LEAST: usize = *DIGITS.start();
    let mut rest = text.as_bytes();
    while let Some(row) = rest.first_chunk::<LEAST>() {
        match row.iter().rposition(|byte| !matches!(byte, b'0'..=b'9' | b' ' | b'-' | b'+' | b'%')) {
            Some(other) => rest = &rest[other + 1..],
            None => return has_digits(rest, LEAST),
        }
    }
    false
}

/// The same for so many digits, byte by byte.
fn has_digits(mut text: &[u8], least: usize) -> bool {
    let mut digits = 0;
    while let [first, rest @ ..] = text {
        match (first, rest) {
            (b'0'..=b'9', _) => digits += 1,
            (b' ' | b'-' | b'+', [b'0'..=b'9', ..]) | (b'%', [b'2', b'0', ..]) => {}
            _ => digits = 0,
        }
        if digits == least {
            return true;
        }
        text = rest;
    }
    false
}

/// Adds where card numbers are, in no order, and possibly overlapping.
///
/// Digits come in groups, with one space or dash between them, or a space as forms and addresses encode it. A number
/// is made of whole groups, of any in a row: other numbers may stand right beside it.
pub(crate) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let mut groups = Vec::new();
    let mut rest = 0;
    while let Some(group) = next_group(text.as_bytes(), rest) {
        if !groups.last().is_some_and(|last: &Range<usize>| are_joined(text, last, &group)) {
            find_in(text, &groups, found);
            groups.clear();
        }
        rest = group.end;
        groups.push(group);
    }
    find_in(text, &groups, found);
}

/// The next digits in a row, at or behind `from`. Those of a percent-encoded character don't count.
fn next_group(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut start = from;
    loop {
        start += text[start..].iter().position(u8::is_ascii_digit)?;
        // What is encoded as 20 to 29 stands between words; other numbers are as likely to follow a percentage.
        match text.split_at(start) {
            ([.., b'%'], [b'2', b'0'..=b'9', ..]) => start += 2,
            _ => break,
        }
    }
    let length = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(start..start + length)
}

fn are_joined(text: &str, left: &Range<usize>, right: &Range<usize>) -> bool {
    matches!(&text.as_bytes()[left.end..right.start], [b' ' | b'-' | b'+'] | b"%20")
}

fn find_in(text: &str, groups: &[Range<usize>], found: &mut Vec<Range<usize>>) {
    for (first, start) in groups.iter().enumerate() {
        let mut digits = Vec::new();
        for group in &groups[first..] {
            digits.extend(text.as_bytes()[group.clone()].iter().take(*DIGITS.end() + 1).map(|digit| digit - b'0'));
            if digits.len() > *DIGITS.end() {
                break;
            }
            if is_issued(&digits) && has_check_digit(&digits) && !is_fraction(text, start) {
                found.push(start.start..group.end);
            }
        }
    }
}

/// Whether there are issuers of such numbers, by how they begin (ISO/IEC 7812) and how long they are.
fn is_issued(digits: &[u8]) -> bool {
    let [a, b, c, d, ..] = *digits else {
        return false;
    };
    let prefix = [a, b, c, d].iter().fold(0_u16, |prefix, digit| prefix * 10 + u16::from(*digit));
    match prefix {
        // Visa.
        4000..=4999 => matches!(digits.len(), 13 | 16 | 19),
        // Mastercard.
        2221..=2720 | 5100..=5599 => digits.len() == 16,
        // American Express.
        3400..=3499 | 3700..=3799 => digits.len() == 15,
        // Diners Club.
        3000..=3059 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&digits.len()),
        // JCB.
        3528..=3589 => (16..=19).contains(&digits.len()),
        // Maestro, Discover, UnionPay and RuPay.
        5000..=5099 | 5600..=5899 | 6000..=6999 => DIGITS.contains(&digits.len()),
        _ => false,
    }
}

/// The last digit makes the sum come out even: Luhn's check (ISO/IEC 7812, annex B).
fn has_check_digit(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (place, &digit)| {
        let digit = u32::from(digit);
        sum + if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
    });
    sum % 10 == 0
}

/// Whether the digits are the decimals of a number, as in 0.4111111111111111.
fn is_fraction(text: &str, digits: &Range<usize>) -> bool {
    matches!(text.as_bytes()[..digits.start], [.., b'0'..=b'9', b'.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of these letters, as a linear congruential generator has them.
    fn texts(letters: &str) -> impl Iterator<Item = String> {
        let mut state = 1_u64;
        let mut roll = move |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        (0..200_000).map(move |_| (0..roll(60)).map(|_| char::from(letters.as_bytes()[roll(letters.len())])).collect())
    }

    #[test]
    fn no_card_is_passed_by() {
        let regex = regex::Regex::new("[0-9](?:(?:[ +-]|%20)?[0-9]){12}").unwrap();
        let mut outcomes = [0; 2];
        for text in texts("0123456789222000%%%%2020 -+.a") {
            let mut found = Vec::new();
            find(&text, &mut found);
            let may_be = may_be_in(&text);
            assert!(may_be || found.is_empty() && !regex.is_match(&text), "{text}");
            outcomes[usize::from(may_be)] += 1;
        }
        assert!(outcomes.iter().all(|outcome| *outcome > 1_000), "{outcomes:?}");
        assert!(!may_be_in("GET /api/v1/orders/590605 completed for user 31090 in 144.08 ms, 4 tries"));
    }
}
