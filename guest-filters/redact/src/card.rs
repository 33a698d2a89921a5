//! Numbers of payment cards.
use std::ops::{Range, RangeInclusive};

/// How many digits they have.
pub(crate) const DIGITS: RangeInclusive<usize> = 13..=19;

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
