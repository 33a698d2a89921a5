//! Until when a certificate is good, for a warning. Whether it is taken is the other side's to say.
use std::time::{Duration, SystemTime};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity (RFC 5280, section 4.1), if it can be read.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial_number, rest) = element(rest, INTEGER)?;
    let (_signature, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, not_after) = time(validity)?;
    Some(time(not_after)?.0)
}

/// The content of the element that `der` begins with, which has to be of this kind, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => {
            let (bytes, rest) =
                rest.split_at_checked(usize::from(length & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

/// The time that `der` begins with, and what follows it.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let (year, text, rest) = if let Some((text, rest)) = element(der, UTC_TIME) {
        let (year, text) = text.split_at_checked(2)?;
        let year = number(year)?;
        // The RFC's rule.
        (if year < 50 { 2000 + year } else { 1900 + year }, text, rest)
    } else {
        let (text, rest) = element(der, GENERALIZED_TIME)?;
        let (year, text) = text.split_at_checked(4)?;
        (number(year)?, text, rest)
    };
    let part = |n: usize| number(text.get(2 * n..2 * n + 2)?);
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    // A year begins in March, so that the odd day is its last one.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day;
    let since_epoch = days.checked_sub(DAYS_BEFORE_EPOCH)?;
    let seconds = ((since_epoch * 24 + hour) * 60 + minute) * 60 + second;
    Some((SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, rest))
}

/// By the same count, the days up to the first of January of 1970.
const DAYS_BEFORE_EPOCH: u64 = 719_469;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_read() {
        for (year, month, day, expected) in [
            (1970, 1, 1, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (2000, 2, 29, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (2026, 12, 31, "Thu, 31 Dec 2026 00:00:00 GMT"),
            (2049, 3, 1, "Mon, 01 Mar 2049 00:00:00 GMT"),
            (2150, 7, 4, "Sat, 04 Jul 2150 00:00:00 GMT"),
        ] {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let end = not_after(certificate.der()).map(httpdate::fmt_http_date);
            assert_eq!(end.as_deref(), Some(expected));
            for cut in 0..certificate.der().len().min(200) {
                let _ = not_after(&certificate.der()[..cut]);
            }
        }
        assert_eq!(not_after(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
