//! Which characters a text has, at a look.

/// The kinds of characters that a text has, of those that something depends on: a bit for each. Most attributes are a word
/// or two, for which looking at the characters takes a fraction of the time that a regular expression takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Characters(u16);

/// What each kind is made of. What is a letter in either case is told apart where it matters alone.
const KINDS: [&[u8]; 14] =
    [b"\"", b"\\", b"@%", b".", b"0123456789", b"aA", b"bB", b"cC", b"eE", b"rR", b"tT", b"yY", b"A", b"KSBCGINPR"];

/// The kinds of each byte.
static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut kind = 0;
    while kind < KINDS.len() {
        let mut at = 0;
        while at < KINDS[kind].len() {
            table[KINDS[kind][at] as usize] |= 1 << kind;
            at += 1;
        }
        kind += 1;
    }
    table
};

impl Characters {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const QUOTE: Self = Self(1);
    pub(crate) const BACKSLASH: Self = Self(1 << 1);
    /// In an email address.
    pub(crate) const AT: Self = Self(1 << 2);
    pub(crate) const DOT: Self = Self(1 << 3);
    pub(crate) const DIGIT: Self = Self(1 << 4);
    /// All letters of "bearer".
    pub(crate) const BEARER: Self = Self(1 << 5 | 1 << 6 | 1 << 8 | 1 << 9);
    /// Those letters of "secret key" that nothing but ASCII stands for when case doesn't matter.
    pub(crate) const SECRET_KEY: Self = Self(1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11);
    /// The first two letters of an AWS key.
    pub(crate) const AWS_KEY: Self = Self(1 << 12 | 1 << 13);

    /// The kinds that `text` has.
    #[inline]
    pub(crate) fn of(text: &str) -> Self {
        let kinds = |bytes: &[u8]| bytes.iter().fold(0, |kinds, &byte| kinds | TABLE[usize::from(byte)]);
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        Self(words.iter().fold(kinds(rest), |found, word| found | kinds(word)))
    }

    /// Whether all of these are among them.
    #[inline]
    pub(crate) fn have(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Both together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_wherever_it_stands() {
        let cases = [
            ("\"", Characters::QUOTE),
            ("\\", Characters::BACKSLASH),
            ("%", Characters::AT),
            ("@", Characters::AT),
            (".", Characters::DOT),
            ("7", Characters::DIGIT),
            ("bEar", Characters::BEARER),
            ("CreTY", Characters::SECRET_KEY),
            ("AK", Characters::AWS_KEY),
        ];
        for (text, kinds) in cases {
            for before in 0..20 {
                let text = format!("{}{text} \u{fc}\u{2029}", "-".repeat(before));
                assert!(Characters::of(&text).have(kinds), "{text}");
            }
        }
        let none = Characters::of("no kind of them: \u{fc}\u{2029} would do, if short words lack all");
        assert!(!cases.iter().any(|(_, kinds)| none.have(*kinds)), "{none:?}");
    }
}
