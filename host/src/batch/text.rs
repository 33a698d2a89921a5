//! Whether texts are UTF-8, at many bytes at once.

/// The lowest bit of each byte of a word.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// How many bytes of some words are not ASCII, by place: of no more than 31 words, which whoever adds them has to see to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HighBytes(u64);

impl HighBytes {
    /// Counts a word more.
    #[inline(always)]
    pub(super) fn add(&mut self, word: [u8; 8]) {
        self.0 += u64::from_le_bytes(word) >> 7 & LOWEST;
    }

    /// How many there were.
    #[inline(always)]
    pub(super) fn sum(self) -> usize {
        (self.0.wrapping_mul(LOWEST) >> 56) as usize
    }
}

/// Whether these bytes are UTF-8. It is quicker than the standard library's answer, but can't say where they go wrong.
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// How many of these bytes are not ASCII.
#[inline(never)]
pub(super) fn high_bytes(bytes: &[u8]) -> usize {
    const CHUNK: usize = 32;
    /// From place `n` on, the last `n` bytes of a chunk are marked.
    const REST: [u8; 2 * CHUNK] = {
        let mut marks = [0; 2 * CHUNK];
        let mut place = CHUNK;
        while place < marks.len() {
            marks[place] = 1;
            place += 1;
        }
        marks
    };
    let Some(last) = bytes.last_chunk::<CHUNK>() else {
        return bytes.iter().map(|byte| usize::from(byte >> 7)).sum();
    };
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    let sum = |counts: [u8; CHUNK]| counts.iter().map(|&count| usize::from(count)).sum::<usize>();
    // The last chunk, but for what is counted before: loops over the rest would be as long as nobody can foresee.
    let mut counts: [u8; CHUNK] = *REST[rest.len()..].first_chunk().expect("the rest is shorter than a chunk");
    counts.iter_mut().zip(last).for_each(|(count, byte)| *count &= byte >> 7);
    let mut before = 0;
    // With that, as many chunks as a byte can count.
    for run in chunks.chunks(254) {
        for chunk in run {
            counts.iter_mut().zip(chunk).for_each(|(count, byte)| *count = count.wrapping_add(byte >> 7));
        }
        if run.len() == 254 {
            before += sum(std::mem::take(&mut counts));
        }
    }
    before + sum(counts)
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

    #[test]
    fn no_counter_overflows() {
        for run in [254 * 32, 2 * 254 * 32] {
            for length in run - 33..run + 66 {
                assert_eq!(high_bytes(&vec![0xff; length]), length);
            }
        }
        let mut words = HighBytes::default();
        (0..31).for_each(|_| words.add([0xff; 8]));
        assert_eq!(words.sum(), 31 * 8);
    }
}
