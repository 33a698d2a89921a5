//! What to find in texts.
use super::card;
use super::characters::Characters;
use super::escape::{self, MOST_LEVELS, Unescaped};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use sluicegate_filter::Error;
use std::ops::Range;

/// How much memory one regular expression may take: the default of the `regex` crate is ten times that, and a
/// filter has little.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// How long a bearer token without a digit must be, to be no word: "bearer authentication".
const LONGEST_WORD: usize = 24;

/// A pattern as settings name it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenPattern {
    Email,
    PaymentCard,
    Ipv4,
    BearerToken,
    AwsKey,
    Regex(String),
}

/// Patterns, ready to be searched for.
pub(crate) struct Patterns {
    finders: Vec<Finder>,
    /// All of them at once, in one pass: most texts hold none.
    any: RegexSet,
    /// Whether numbers of payment cards are looked for, which no regular expression tells.
    cards: bool,
    /// Whether a whole number may hold something, and from how many digits on.
    digits: Option<u32>,
}

/// How to find all that one pattern means.
struct Finder {
    /// What a text must have, at the least, to be worth searching.
    needs: Characters,
    /// It finds candidates, within a group or as a whole.
    regex: Regex,
    check: Option<Check>,
}

/// What must be right, too, around a candidate or in it, to make it a find.
type Check = fn(text: &str, found: &Range<usize>) -> bool;

impl Patterns {
    pub(crate) fn new(written: &[WrittenPattern]) -> Result<Self, Error> {
        let mut sources = Vec::new();
        let mut finders = Vec::new();
        let (mut cards, mut digits) = (false, None::<u32>);
        for (number, pattern) in written.iter().enumerate() {
            for (needs, source, check) in pattern.sources() {
                let wrong = |error| format!("patterns[{number}].regex: {error}");
                let regex = regex(source).map_err(wrong)?;
                if regex.is_match("") {
                    return Err(wrong("it matches an empty text, so it would match everywhere".into()).into());
                }
                sources.push(source);
                finders.push(Finder { needs, regex, check });
            }
            // Of numbers alone are cards, and whatever somebody's own pattern means.
            match pattern {
                WrittenPattern::PaymentCard => {
                    cards = true;
                    digits = digits.or(Some(*card::DIGITS.start() as u32));
                }
                WrittenPattern::Regex(_) => digits = Some(1),
                _ => {}
            }
        }
        let any = RegexSetBuilder::new(sources).size_limit(REGEX_SIZE_LIMIT * finders.len().max(1)).build()?;
        Ok(Self { finders, any, cards, digits })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.finders.is_empty() && !self.cards
    }

    /// Whether a number with so many digits may hold something.
    pub(crate) fn may_be_in_number(&self, number: i64) -> bool {
        self.digits.is_some_and(|least| number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1 >= least)
    }

    /// Adds where something is, in no order, and possibly overlapping.
    pub(crate) fn find(&self, text: &str, characters: Characters, found: &mut Vec<Range<usize>>) {
        self.find_within(text, characters, MOST_LEVELS, found);
    }

    /// Text with backslashes may be JSON, so it is searched as what it is and as what it says.
    fn find_within(&self, text: &str, characters: Characters, levels: usize, found: &mut Vec<Range<usize>>) {
        if !characters.have(Characters::BACKSLASH) {
            return self.search(text, characters, found);
        }
        let mut ranges = Vec::new();
        self.search(text, characters, &mut ranges);
        found.extend(ranges.drain(..).filter_map(|range| escape::spare(text, range)));
        let unescaped = Unescaped::new(text);
        if levels > 0 && unescaped.text.len() < text.len() {
            let characters = Characters::of(&unescaped.text);
            self.find_within(&unescaped.text, characters, levels - 1, &mut ranges);
            found.extend(ranges.iter().map(|range| unescaped.origin(range)));
        }
    }

    fn search(&self, text: &str, characters: Characters, found: &mut Vec<Range<usize>>) {
        if self.cards && characters.have(Characters::DIGIT) && card::may_be_in(text) {
            card::find(text, found);
        }
        if self.finders.iter().any(|finder| characters.have(finder.needs)) && self.any.is_match(text) {
            for at in self.any.matches(text) {
                self.finders[at].find(text, found);
            }
        }
    }
}

impl Finder {
    fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let mut at = 0;
        while let Some(range) = self.next(text, at) {
            let is_right = self.check.is_none_or(|check| check(text, &range));
            // What turns out to be nothing may still overlap something.
            let step = text[range.start..].chars().next().map_or(1, char::len_utf8);
            at = if is_right { range.end.max(range.start + step) } else { range.start + step };
            if is_right && !range.is_empty() {
                found.push(range);
            }
            if at > text.len() {
                break;
            }
        }
    }

    /// The next candidate: the first group that takes part, or the whole match.
    fn next(&self, text: &str, at: usize) -> Option<Range<usize>> {
        if self.regex.captures_len() == 1 {
            return self.regex.find_at(text, at).map(|found| found.range());
        }
        let captures = self.regex.captures_at(text, at)?;
        let group = captures.iter().skip(1).flatten().next();
        group.or(captures.get(0)).map(|found| found.range())
    }
}

impl WrittenPattern {
    /// What a text must have, regular expressions, and the checks that complete them; none for cards. Word boundaries are
    /// ASCII's, because others keep the fastest matcher from texts that are not.
    fn sources(&self) -> Vec<(Characters, &str, Option<Check>)> {
        match self {
            Self::Email => {
                vec![(Characters::AT.and(Characters::DOT), r"[\w.%+-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d_][\w-]+", None)]
            }
            Self::PaymentCard => Vec::new(),
            Self::Ipv4 => vec![(
                Characters::DIGIT.and(Characters::DOT),
                r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})",
                Some(stands_alone),
            )],
            Self::BearerToken => {
                vec![(Characters::BEARER, r#"(?i)(?-u:\b)bearer["':=\s]{1,4}([A-Z0-9._~+/-]{8,}=*)"#, Some(is_token))]
            }
            Self::AwsKey => vec![
                (
                    Characters::AWS_KEY,
                    r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA)[A-Z0-9]{16}(?-u:\b)",
                    None,
                ),
                (
                    Characters::SECRET_KEY,
                    r#"(?i)secret[ _-]?(?:access)?[ _-]?key["':=\s]{1,5}([A-Z0-9/+]{40})(?:[^A-Z0-9/+]|$)"#,
                    None,
                ),
            ],
            Self::Regex(source) => vec![(Characters::NONE, source, None)],
        }
    }
}

/// A regular expression of the settings.
pub(crate) fn regex(source: &str) -> Result<Regex, Error> {
    Ok(RegexBuilder::new(source).size_limit(REGEX_SIZE_LIMIT).build()?)
}

/// Whether an address is no part of a longer number with dots, such as an object identifier.
fn stands_alone(text: &str, found: &Range<usize>) -> bool {
    let (before, after) = (&text.as_bytes()[..found.start], &text.as_bytes()[found.end..]);
    let continues = |first: Option<&u8>, second: Option<&u8>| match first {
        Some(b'.') => second.is_some_and(u8::is_ascii_digit),
        first => first.is_some_and(u8::is_ascii_digit),
    };
    !continues(before.last(), before.iter().nth_back(1)) && !continues(after.first(), after.get(1))
}

fn is_token(text: &str, found: &Range<usize>) -> bool {
    let token = &text[found.clone()];
    token.len() >= LONGEST_WORD || token.bytes().any(|byte| byte.is_ascii_digit())
}
