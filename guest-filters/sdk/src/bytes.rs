//! Comparing bytes quickly.

/// Whether both are the same. What the standard library compiles to for WebAssembly looks at one byte after the other,
/// and names of attributes are looked at for every record.
#[inline]
pub(crate) fn are_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let half = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    // The last word overlaps the one before, so that nothing is left over.
    match (a.last_chunk(), b.last_chunk()) {
        (Some(last_a), Some(last_b)) => {
            let words = || a.as_chunks().0.iter().zip(b.as_chunks().0);
            word(last_a) == word(last_b) && words().all(|(a, b)| word(a) == word(b))
        }
        _ => match ((a.first_chunk(), a.last_chunk()), (b.first_chunk(), b.last_chunk())) {
            ((Some(first_a), Some(last_a)), (Some(first_b), Some(last_b))) => {
                half(first_a) == half(first_b) && half(last_a) == half(last_b)
            }
            _ => a.iter().eq(b),
        },
    }
}

/// Whether all bytes have these bits under the mask.
pub(crate) fn have_bits(bytes: &[u8], mask: u8, bits: u8) -> bool {
    let of_word = |byte| u64::from_le_bytes([byte; 8]);
    let (words, rest) = bytes.as_chunks();
    words.iter().all(|word| u64::from_le_bytes(*word) & of_word(mask) == of_word(bits))
        && rest.iter().all(|byte| byte & mask == bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_length_counts() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            assert!(are_equal(&bytes, &bytes.clone()), "{length}");
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert!(!are_equal(&bytes, &other), "{at} of {length}");
            }
            assert!(!are_equal(&bytes, &[&bytes[..], &[0]].concat()), "{length}");
        }
    }

    #[test]
    fn bits_of_every_byte_count() {
        for length in 0..40 {
            let mut bytes = vec![3; length];
            assert!(have_bits(&bytes, !0, 3) && have_bits(&bytes, !1, 2), "{length}");
            for at in 0..length {
                bytes[at] = 2;
                assert!(!have_bits(&bytes, !0, 3) && have_bits(&bytes, !1, 2), "{at} of {length}");
                bytes[at] = 3;
            }
        }
    }
}
