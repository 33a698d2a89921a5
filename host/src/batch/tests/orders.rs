//! Fields in every order and number, and attributes in every shape.

use super::*;
use crate::batch::wire::put_delimited;

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_delimited(&mut out, number, content);
    out
}

fn check_record(record: &[u8]) {
    check_acceptance(&field(1, &field(2, &field(2, record))));
}

#[test]
fn fields_of_records_may_stand_in_any_order_and_more_than_once() {
    let attribute = |value: &[u8]| field(6, &[field(1, b"k"), field(2, &field(1, value))].concat());
    let mut count = 0_u8;
    let mut fields = || {
        count += 1;
        let number = [count; 8];
        [
            [&[0x09][..], &number].concat(),
            vec![0x10, count],
            field(3, &number),
            field(5, &field(1, &number)),
            attribute(&number),
            vec![0x38, count],
            [&[0x45][..], &number[..4]].concat(),
            field(9, &[number, number].concat()),
            field(10, &number),
            [&[0x59][..], &number].concat(),
            field(12, &number),
            // One that OTLP does not have.
            field(15, &number),
        ]
    };
    let [first, second, third] = [fields(), fields(), fields()];
    for first in &first {
        for second in &second {
            for third in &third {
                check_record(&[&first[..], second, third].concat());
                check_record(&[&attribute(b"0"), &first[..], second, third].concat());
            }
        }
    }
}

#[test]
fn attributes_may_have_every_shape() {
    let names =
        [field(1, b""), field(1, b"k"), b"\x08\x01".to_vec(), b"\x0b\x0c".to_vec(), vec![], b"\x0a\x02k".to_vec()];
    let values: [&[u8]; 19] = [
        b"",
        b"\x0a\x00",
        b"\x0a\x01v",
        b"\x0a\x02v",
        b"\x0a\x00v",
        b"\x0a\x01\xff",
        b"\x10\x01",
        b"\x10\x81\x00",
        b"\x18\x7f",
        b"\x18\x80\x01",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        b"\x18\x80",
        b"\x18\x01\x01",
        b"\x18",
        b"\x21\xff\x80\x00\xff\x80\x00\xff\xf0",
        b"\x21\xff\x80\x00\xff\x80\x00\xff",
        b"\x3a\x01\xff",
        b"\x0a\x01v\x18\x01",
    ];
    let others = [vec![], field(3, b"x"), b"\x18\x05".to_vec(), field(1, b"q")];
    for name in &names {
        for value in values {
            for other in &others {
                let value = field(2, value);
                for parts in
                    [[&name[..], &value, other], [&value, name, other], [other, name, &value], [&[], name, other]]
                {
                    let attribute = field(6, &parts.concat());
                    check_record(&attribute);
                    check_record(&[&attribute[..], &field(6, &field(1, b"last")), &[0x38, 0x01]].concat());
                }
            }
        }
    }
}
