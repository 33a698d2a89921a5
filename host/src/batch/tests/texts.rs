//! Texts that are ASCII but for one place, and bytes that look like such a place but stand in no text.

use super::*;
use crate::batch::wire::put_delimited;

/// Around the sizes in which texts are looked at, and around the length from which on the text's length, or its
/// attribute's, takes two bytes.
const LENGTHS: [usize; 22] =
    [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 113, 116, 117, 118, 119, 127, 128, 129, 300];

/// A field of a record that holds a text.
type Place = fn(&[u8]) -> Vec<u8>;

/// Where a text may stand.
const PLACES: [Place; 6] = [
    |text| field(3, text),
    |text| field(12, text),
    |text| field(5, &field(1, text)),
    |text| field(6, &[field(1, text), field(2, &field(1, b"value"))].concat()),
    |text| field(6, &[field(1, b"key"), field(2, &field(1, text))].concat()),
    |text| field(6, &[field(1, b"key"), field(2, &field(5, &field(1, &field(1, text))))].concat()),
];

/// UTF-8, and what looks like it: a character without its end, an end without its beginning, a surrogate.
const PIECES: [&[u8]; 6] = ["é".as_bytes(), "日".as_bytes(), "🦀".as_bytes(), b"\xc3", b"\xbf", b"\xed\xa0\x80"];

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_delimited(&mut out, number, content);
    out
}

/// A request of one record, which has `text` at a place and high bytes all around it.
fn request(place: Place, text: &[u8]) -> Vec<u8> {
    let time = b"\x09\x80\xff\x00\xc3\xa9\x01\x02\xfe";
    let number = field(6, &[field(1, b"number"), field(2, b"\x18\xc8\xff\x01")].concat());
    let double = field(6, &[field(1, b"double"), field(2, b"\x21\xc3\xa9\xff\x80\x00\x00\xe0\xbf")].concat());
    let bytes = field(6, &[field(1, b"bytes"), field(2, &field(7, &[0xff; 40]))].concat());
    let ids = [field(9, &[0x80; 16]), field(10, b"\xc3\xa9\xff\x01\x02\x03\x04\x05")].concat();
    let record = [&time[..], &number, &double, &bytes, &place(text), &ids].concat();
    field(1, &field(2, &field(2, &record)))
}

#[test]
fn a_piece_at_every_position_is_seen_as_prost_sees_it() {
    for place in PLACES {
        for length in LENGTHS {
            check_acceptance(&request(place, &vec![b'a'; length]));
            for piece in PIECES {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text.splice(at..(at + piece.len()).min(length), piece.iter().copied());
                    check_acceptance(&request(place, &text));
                }
            }
        }
    }
}

/// What is not UTF-8 is named by its place, however far into a long text.
#[test]
fn the_place_of_what_is_not_utf8_is_told() {
    let mut text = "日本語".repeat(1_000).into_bytes();
    text[7_001] = 0xff;
    let bytes = request(PLACES[2], &text);
    let start = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let malformed = Batch::new(bytes.into()).unwrap_err();
    // The character begins with the byte before.
    assert_eq!((malformed.offset, &*malformed.reason), (start + 6_999, "AnyValue: string_value is not UTF-8"));
}
