use super::*;

fn nested() -> OwnedValue {
    serde_json::from_str(r#"{ "a": [1, -2.5, null, true, "x", [], {}], "b": { "c": { "a": 1 } }, "a": 2 }"#)
        .expect("valid JSON")
}

#[test]
fn json_becomes_values() {
    let value = nested();
    let list = value.as_value().as_kv_list().expect("an object");
    let elements: Vec<_> = list.get("a").and_then(Value::as_array).expect("an array").iter().collect();
    let (empty_array, empty_list) = (ArrayBuf::default(), KvListBuf::default());
    assert_eq!(
        elements,
        [
            Value::Int(1),
            Value::Double(-2.5),
            Value::Empty,
            Value::Bool(true),
            Value::Str("x"),
            Value::from(&empty_array),
            Value::from(&empty_list),
        ]
    );
    let keys: Vec<_> = list.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", "a"]);
    let c = list.get("b").and_then(Value::as_kv_list).and_then(|b| b.get("c")).and_then(Value::as_kv_list);
    assert_eq!(c.and_then(|c| c.get("a")), Some(Value::Int(1)));
    assert!(serde_json::from_str::<OwnedValue>("9223372036854775808").is_err());
}

#[test]
fn what_is_written_is_read_and_has_the_size_that_was_said() {
    let nested = nested();
    let long = "x".repeat(300);
    for value in [
        Value::Empty,
        Value::Str(""),
        Value::Str(&long),
        Value::Bool(false),
        Value::Int(i64::MIN),
        Value::Int(0),
        Value::Double(f64::INFINITY),
        Value::Bytes(&[0xff; 200]),
        nested.as_value(),
    ] {
        let mut message = Vec::new();
        value.write_message(&mut message);
        assert_eq!(message.len(), value.message_size(), "{value:?}");
        assert_eq!(Holder::of(&message).value(), value);
        let mut data = Vec::new();
        value.write_data(&mut data);
        assert_eq!(Value::from_data(value.kind(), &data), value);
        assert_eq!(value.to_owned().as_value(), value);
    }
}

#[test]
fn members_merge_as_protobuf_says() {
    let string = |text: &str| [&[0x0a, text.len() as u8], text.as_bytes()].concat();
    let array = |text: &str| {
        let element = [&[0x0a, text.len() as u8 + 2], &string(text)[..]].concat();
        [&[0x2a, element.len() as u8], &element[..]].concat()
    };
    let abc = |values: &[&str]| {
        let mut array = ArrayBuf::default();
        values.iter().for_each(|value| array.push(*value));
        OwnedValue::Array(array)
    };
    let cases = [
        (vec![], OwnedValue::Empty),
        (vec![string("a"), string("b")], OwnedValue::Str("b".to_owned())),
        (vec![array("a"), array("b")], abc(&["a", "b"])),
        (vec![array("a"), string("x"), array("b"), array("c")], abc(&["b", "c"])),
        // An unknown field says nothing, a string table's index that there is no value here.
        (vec![array("a"), vec![0x78, 1], array("b")], abc(&["a", "b"])),
        (vec![string("a"), vec![0x40, 1]], OwnedValue::Empty),
    ];
    for (parts, expected) in cases {
        let whole = parts.concat();
        assert_eq!(Holder::of(&whole).value(), expected.as_value(), "{whole:x?}");
        // The same in a message that is itself in pieces.
        let pieces = parts.iter().map(|part| [&[0x12, part.len() as u8], &part[..]].concat());
        let pieces = pieces.collect::<Vec<_>>().concat();
        let value = Holder::within(&pieces, 2).value();
        assert_eq!(value, expected.as_value(), "{pieces:x?}");
        let mut copy = Vec::new();
        value.write_message(&mut copy);
        assert_eq!(Holder::of(&copy).value(), expected.as_value());
        assert_eq!(key_value(&[&[0x0a, 1, b'k'], &pieces[..]].concat()), ("k", expected.as_value()));
    }
}

#[test]
fn depth_counts_messages() {
    let depth = |json: &str| serde_json::from_str::<OwnedValue>(json).expect("valid JSON").as_value().nested();
    assert_eq!(depth("1"), 0);
    assert_eq!(depth("[]"), 1);
    assert_eq!(depth("[1]"), 2);
    assert_eq!(depth("[[]]"), 3);
    assert_eq!(depth(r#"[1, { "a": 1 }]"#), 5);
}
