//! Whether texts are UTF-8, at many bytes at once.

/// The lowest bit of each byte of a word.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// Whether these bytes are UTF-8. It is quicker than the standard library's answer, but can't say where they go wrong.
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// How many of these bytes are not ASCII.
#[inline]
pub(super) fn high_bytes(bytes: &[u8]) -> usize {
    match bytes.as_chunks() {
        // An id.
        (&[word], []) => high_bytes_of(word),
        (&[first, second], []) => high_bytes_of(first) + high_bytes_of(second),
        _ => high_bytes_of_many(bytes),
    }
}

/// The same of eight bytes.
#[inline]
pub(super) fn high_bytes_of(word: [u8; 8]) -> usize {
    ((u64::from_le_bytes(word) >> 7 & LOWEST).wrapping_mul(LOWEST) >> 56) as usize
}

#[inline(never)]
fn high_bytes_of_many(bytes: &[u8]) -> usize {
    const CHUNK: usize = 32;
    let Some(last) = bytes.last_chunk::<CHUNK>() else {
        return bytes.iter().map(|byte| usize::from(byte >> 7)).sum();
    };
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    // As many chunks as a byte can count.
    let of_run = |run: &[[u8; CHUNK]]| {
        let mut counts = [0_u8; CHUNK];
        for chunk in run {
            counts.iter_mut().zip(chunk).for_each(|(count, byte)| *count = count.wrapping_add(byte >> 7));
        }
        counts.iter().map(|&count| usize::from(count)).sum::<usize>()
    };
    let of_runs: usize = chunks.chunks(255).map(of_run).sum();
    // The last chunk, but for what was counted before: loops over the rest would be as long as nobody can foresee.
    let counted = (CHUNK - rest.len()) as u8;
    let of_rest = last.iter().zip(0_u8..).map(|(byte, place)| byte >> 7 & u8::from(place >= counted)).sum::<u8>();
    of_runs + usize::from(of_rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_counted_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
            let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte >= 0x80).count();
            prop_assert_eq!(high_bytes(&bytes), count(&bytes));
        }
    }
}
