use super::*;
use sluicegate_filter::testing::{Answer, Harness, LogRecord, json};
use sluicegate_filter::{ArrayBuf, Field, KvListBuf, Value};

fn record() -> LogRecord {
    LogRecord::new()
}

#[track_caller]
fn redact(settings: &str, record: LogRecord) -> Answer {
    Harness::<Redact>::new(settings).expect("valid settings").run(record)
}

/// What a pattern makes of texts.
#[track_caller]
fn check_pattern(pattern: &str, cases: &[(&str, &str)]) {
    let settings = format!(r##"{{ "patterns": [{pattern}], "replace_with": {{ "mask": "#" }} }}"##);
    for (text, expected) in cases {
        let answer = redact(&settings, record().body(*text));
        assert_eq!(answer.record, record().body(*expected), "{pattern}");
        assert_eq!(answer.changed, text != expected, "{pattern}: {text}");
    }
}

#[test]
fn emails() {
    check_pattern(
        r#""email""#,
        &[
            ("to joe.doe+x@mail.example.co.uk.", "to #."),
            ("from=joe@example.com&to=ann@example.com", "from=#&to=#"),
            ("/unsubscribe?m=joe%40example.com", "/unsubscribe?m=#"),
            ("<jörg@bücher.example>", "<#>"),
            ("почта: иван@пример.рф!", "почта: #!"),
            ("user@localhost, react@18.2.0, @decorator, a@b", "user@localhost, react@18.2.0, @decorator, a@b"),
            ("@@joe@example.com@@", "@@#@@"),
            ("{\"mail\":\"JOE@EXAMPLE.COM\"}", "{\"mail\":\"#\"}"),
            // JSON's escapes stay whole, and what they stand for is part of a find.
            (r#"{"m":"to:\njoe@example.com\n"}"#, r##"{"m":"to:\n#\n"}"##),
            (r#"{"m":"\u003cjoe@example.com\u003e"}"#, r##"{"m":"\u003c#\u003e"}"##),
            (r#"{"m":"jos\u00e9\u002Bx@example.com"}"#, r##"{"m":"#"}"##),
            (r#"{"m":"{\"m\":\"\\u003cjos\\u00e9@example.com\"}"}"#, r##"{"m":"{\"m\":\"\\u003c#\"}"}"##),
            (r"CORP\joe@example.com", r"CORP\#"),
        ],
    );
}

#[test]
fn payment_cards() {
    check_pattern(
        r#""payment_card""#,
        &[
            ("card 4111111111111111 ok", "card # ok"),
            ("4111 1111 1111 1111", "#"),
            ("4111-1111-1111-1111,5500-0000-0000-0004", "#,#"),
            ("378282246310005 and 3782 822463 10005", "# and #"),
            ("6011111111111117;30569309025904;3530111333300000", "#;#;#"),
            // Beside other numbers.
            ("order 2024 4111 1111 1111 1111 7", "order 2024 # 7"),
            ("4111111111111111 5500000000000004", "# #"),
            ("x4111111111111111y", "x#y"),
            ("nr.4111111111111111", "nr.#"),
            // Encoded in forms and addresses.
            ("card=4111+1111+1111+1111&n=1", "card=#&n=1"),
            ("?c=4111%201111%201111%201111%20&d=%204111111111111111%2c1", "?c=#%20&d=%20#%2c1"),
            ("%20%2020%284111111111111111%29", "%20%2020%28#%29"),
            ("100%4111111111111111", "100%#"),
            // Not beside digits of other scripts, which are no digits of cards.
            ("٤4111111111111111٤", "٤#٤"),
            ("４１１１１１１１１１１１１１１１", "４１１１１１１１１１１１１１１１"),
            // A wrong check digit, no issuer, other lengths, parts of longer numbers.
            ("4111111111111112", "4111111111111112"),
            ("1234567812345670", "1234567812345670"),
            ("0000000000000000", "0000000000000000"),
            ("41111111111111111111", "41111111111111111111"),
            ("94111111111111111", "94111111111111111"),
            ("1700000000000000000", "1700000000000000000"),
            ("0.4111111111111111", "0.4111111111111111"),
            ("4111  1111  1111  1111", "4111  1111  1111  1111"),
        ],
    );
}

#[test]
fn addresses() {
    check_pattern(
        r#""ipv4""#,
        &[
            ("from 10.0.0.1:8080.", "from #:8080."),
            ("10.0.0.1,255.255.255.255", "#,#"),
            ("at 192.168.1.1.", "at #."),
            ("x10.0.0.1y", "x#y"),
            ("256.1.1.1 1.2.3 1.2.3.4.5 1.1.1.300", "256.1.1.1 1.2.3 1.2.3.4.5 1.1.1.300"),
            ("1.3.6.1.4.1.311", "1.3.6.1.4.1.311"),
            ("1.1.1.1111 8.8.8.8", "1.1.1.1111 #"),
        ],
    );
}

#[test]
fn tokens() {
    check_pattern(
        r#""bearer_token""#,
        &[
            ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln1-_=", "Authorization: Bearer #"),
            ("\"authorization\": \"bearer abc12345\"", "\"authorization\": \"bearer #\""),
            ("BEARER=abcdefghijklmnopqrstuvwxyz", "BEARER=#"),
            ("bearer authentication failed", "bearer authentication failed"),
            ("a forbearer a1b2c3d4e5", "a forbearer a1b2c3d4e5"),
            // What is no token does not hide the next one.
            ("bearer bearer abcdefgh1", "bearer bearer #"),
        ],
    );
    check_pattern(
        r#""aws_key""#,
        &[
            ("key AKIAIOSFODNN7EXAMPLE.", "key #."),
            ("ASIAIOSFODNN7EXAMPLE", "#"),
            (r"\nAKIAIOSFODNN7EXAMPLE\n", r"\n#\n"),
            ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = #"),
            ("\"SecretAccessKey\":\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"}", "\"SecretAccessKey\":\"#\"}"),
            (
                "AKIA123 XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLES",
                "AKIA123 XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLES",
            ),
        ],
    );
}

#[test]
fn patterns_of_ones_own() {
    check_pattern(r#"{ "regex": "ord-\\d+" }"#, &[("ord-1 ord-22 ord-", "# # ord-"), ("ord-١", "#")]);
    check_pattern(r#"{ "regex": "session=(\\w+)" }"#, &[("session=abc; x", "session=#; x")]);
    // Overlapping ones are both found, and replaced together.
    check_pattern(r#"{ "regex": "abc" }, { "regex": "bcd" }"#, &[("xabcdx abc bcd", "x#x # #")]);
    // One that finds more does not hide what another one finds beside it.
    check_pattern(r#""email", "ipv4", { "regex": "user \\S+" }"#, &[("user joe@example.com@10.0.0.1 joe", "# joe")]);
    // One that tears escapes apart.
    check_pattern(r#"{ "regex": "secret[^\"]+" }"#, &[(r#"{"a":"secret \"b\" c"}"#, r##"{"a":"#b\" c"}"##)]);
    check_pattern(r#"{ "regex": "n" }"#, &[(r"a\nb n", r"a\nb #")]);
    // Matches of nothing are none.
    check_pattern(r#"{ "regex": "\\b" }"#, &[("a x b", "a x b")]);
}

#[test]
fn values_of_every_kind_are_searched() {
    let settings = json!({ "patterns": ["payment_card"] }).to_string();
    let card = "4111111111111111";
    let list = |value: Value<'_>| {
        let mut inner = ArrayBuf::default();
        inner.push("before");
        inner.push(value);
        inner.push(7);
        let mut list = KvListBuf::default();
        list.push("a", 1);
        list.push("b", &inner);
        list.push("c", "4111 of something");
        list
    };
    let cases = [
        (record().body(card), record().body("****")),
        (record().event_name(card), record().event_name("****")),
        (record().body(4_111_111_111_111_111_i64), record().body("****")),
        (record().body(4_111_111_111_111_111.0), record().body("****")),
        (record().body(card.as_bytes()), record().body(&b"****"[..])),
        (record().body(&list(card.into())), record().body(&list("****".into()))),
        (record().attribute("k", &list(card.into())), record().attribute("k", &list("****".into()))),
        (record().attribute("a", 1).attribute("k", card), record().attribute("a", 1).attribute("k", "****")),
        // Twice the same key.
        (record().attribute("k", card).attribute("k", "x"), record().attribute("k", "****")),
        (record().attribute("k", "x").attribute("k", card), record().attribute("k", "x")),
        (record().attribute("k", card).attribute("k", card), record().attribute("k", "****")),
    ];
    for (before, after) in cases {
        assert_eq!(redact(&settings, before).record, after);
    }
    let untouched = record()
        .severity_text(card)
        .body(&list("x".into()))
        .attribute("n", 41_111)
        .attribute("b", &[0xff, b'4'][..])
        .attribute("empty", Value::Empty)
        .attribute(card, "key")
        .scope_name(card)
        .scope_attribute("k", card)
        .resource_attribute("k", card);
    let answer = redact(&settings, untouched.clone());
    assert_eq!((answer.record, answer.changed), (untouched, false));
}

#[test]
fn bytes_are_searched_around_what_is_no_text() {
    let settings = json!({ "patterns": ["email"], "mask_keys": { "names": ["password"] } }).to_string();
    let cases: [(&[u8], &[u8]); 4] = [
        (b"\xffjoe@example.com \xf0\x9f\x98", b"\xff**** \xf0\x9f\x98"),
        (b"caf\xe9 joe@example.com, \xc3\xa9ann@example.com", b"caf\xe9 ****, ****"),
        (b"{\"password\":\"a\xe9b\",\"c\":\"\xe9\"}", b"{\"password\":\"****\",\"c\":\"\xe9\"}"),
        (b"\xff\xfe no \x80", b"\xff\xfe no \x80"),
    ];
    for (before, after) in cases {
        assert_eq!(redact(&settings, record().body(before)).record, record().body(after));
    }
}

#[test]
fn values_in_pieces_are_searched() {
    let settings = json!({ "patterns": ["email"] }).to_string();
    let string = |text: &str| [&[0x0a, text.len() as u8], text.as_bytes()].concat();
    let field = |tag: u8, message: &[u8]| [&[tag, message.len() as u8], message].concat();
    // An attribute whose value stands in two fields: the string, and then nothing.
    let split = [&string("k")[..], &field(0x12, &string("joe@example.com")), &[0x12, 0]].concat();
    let answer = redact(&settings, record().protobuf(&field(0x32, &split)));
    assert_eq!(answer.record, record().attribute("k", "****"));
    // A body in two fields, each with an array.
    let array = |text: &str| field(0x2a, &field(0x2a, &field(0x0a, &string(text))));
    let answer = redact(&settings, record().protobuf(&[array("a"), array("joe@example.com")].concat()));
    let mut whole = ArrayBuf::default();
    whole.push("a");
    whole.push("****");
    assert_eq!(answer.record, record().body(&whole));
}

#[test]
fn keys_are_masked_and_removed() {
    let settings = json!({
        "mask_keys": { "names": ["password"], "matching": ["(?i)token$"] },
        "remove_keys": { "names": ["cookie"], "matching": ["^secret_"] },
    })
    .to_string();
    let list = |entries: &[(&str, Value<'_>)]| {
        let mut list = KvListBuf::default();
        entries.iter().for_each(|(key, value)| list.push(key, *value));
        list
    };
    let before = [("user", "joe".into()), ("password", 1.into()), ("cookie", "c".into()), ("authToken", "t".into())];
    let after = [("user", "joe".into()), ("password", "****".into()), ("authToken", "****".into())];
    let with = |entries: &[(&str, Value<'_>)]| {
        entries.iter().fold(record(), |record, (key, value)| record.attribute(key, *value))
    };
    assert_eq!(redact(&settings, with(&before)).record, with(&after));
    assert_eq!(redact(&settings, record().body(&list(&before))).record, record().body(&list(&after)));
    let twice = record().attribute("cookie", 1).attribute("cookie", 2).attribute("secret_token", 3);
    assert_eq!(redact(&settings, twice).record, record());
    let empty = record().attribute("password", Value::Empty);
    assert_eq!(redact(&settings, empty).record, record().attribute("password", "****"));
}

#[test]
fn keys_in_json_text() {
    let settings = json!({
        "mask_keys": { "names": ["password", "card"] },
        "remove_keys": { "names": ["cookie"] },
        "replace_with": { "mask": "\"*\"" },
    })
    .to_string();
    let cases = [
        (r#"{"user":"joe","password":"a\"b","n":1}"#, r#"{"user":"joe","password":"\"*\"","n":1}"#),
        (r#"{"password" : 12}"#, r#"{"password" : "\"*\""}"#),
        (r#"{"password":{"a":["}",{}]},"b":2}"#, r#"{"password":"\"*\"","b":2}"#),
        (r#"{"a":{"card":null}}"#, r#"{"a":{"card":"\"*\""}}"#),
        (r#"[{"pass\u0077ord":"x"}]"#, r#"[{"pass\u0077ord":"\"*\""}]"#),
        (r#"{"cookie":"a","b":1}"#, r#"{"b":1}"#),
        (r#"{"b":1, "cookie":"a"}"#, r#"{"b":1}"#),
        (r#"{"cookie":1,"cookie":2}"#, r#"{}"#),
        (r#"{"cookie":"a"}"#, r#"{}"#),
        // Cut off, and within other text.
        (r#"{"password":"secr"#, r##"{"password":"\"*\"""##),
        (r#"POST {"password":"x"} 200"#, r#"POST {"password":"\"*\""} 200"#),
        (r#"{"password":"#, r##"{"password":"\"*\"""##),
        // Removed in a row, at the beginning, in the middle and at the end.
        (r#"{"a":1,"cookie":"x","cookie":"y"}"#, r#"{"a":1}"#),
        (r#"{"a":1, "cookie":"x", "cookie":"y", "cookie":"z" }"#, r#"{"a":1 }"#),
        (r#"{"cookie":1,"cookie":2,"a":1,"cookie":3,"cookie":4,"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"cookie":"x","card":2,"cookie":"y"}"#, r#"{"a":1,"card":"\"*\""}"#),
        // A stray quote, and a line cut off at the front.
        (r#"size 5" {"password":"x"}"#, r#"size 5" {"password":"\"*\""}"#),
        (r#"lo","password":"x","b":"\""}"#, r#"lo","password":"\"*\"","b":"\""}"#),
        (r#"rd":"x","password":"y"}"#, r#"rd":"x","password":"\"*\""}"#),
        // A value is no key.
        (r#"{"a":"password","b":"x"}"#, r#"{"a":"password","b":"x"}"#),
        (r#"the "password": was wrong"#, r#"the "password": "\"*\"" wrong"#),
    ];
    for (before, after) in cases {
        assert_eq!(redact(&settings, record().body(before)).record, record().body(after));
    }
}

#[test]
fn keys_in_json_text_in_json_text() {
    let settings = json!({
        "mask_keys": { "names": ["password", "pass\u{fc}ort"] },
        "remove_keys": { "names": ["cookie"] },
        "replace_with": { "mask": "\"*\"" },
    })
    .to_string();
    // Where each string of JSON text has JSON text in it.
    let wrap = |text: &str, times: usize| {
        (0..times)
            .fold(text.to_owned(), |text, _| json!({ "log": format!("{text}\n"), "stream": "stdout" }).to_string())
    };
    let before = r#"{"user":"joe", "password" : {"a":["b\"",1]},"n":1,"cookie":"c","cookie":"d"}"#;
    let after = r#"{"user":"joe", "password" : "\"*\"","n":1}"#;
    for times in 0..4 {
        let (before, after) = (wrap(before, times), wrap(after, times));
        assert_eq!(redact(&settings, record().body(&*before)).record, record().body(&*after));
    }
    let cases = [
        // Escaped in other ways.
        (r#"{"log":"{\u0022password\u0022:\u0022x\u0022}"}"#, r#"{"log":"{\u0022password\u0022:\"\\\"*\\\"\"}"}"#),
        (r#"{"log":"{\n\"pass\u00fcort\":\n1\n}"}"#, r#"{"log":"{\n\"pass\u00fcort\":\n\"\\\"*\\\"\"\n}"}"#),
        // Cut off within, at the front, and at both ends.
        (r#"{"log":"{\"password\":\"x","a":1}"#, r#"{"log":"{\"password\":\"\\\"*\\\"\"","a":1}"#),
        (r#"er\",\"password\":\"x\"}","a":1}"#, r#"er\",\"password\":\"\\\"*\\\"\"}","a":1}"#),
        (r#"er\",\"password\":\"x"#, r#"er\",\"password\":\"\\\"*\\\"\""#),
        // Nothing to see.
        (r#"{"log":"the \"password\" was \u0022x\u0022"}"#, r#"{"log":"the \"password\" was \u0022x\u0022"}"#),
        (r#"{"path":"C:\\password\\","a":"\"#, r#"{"path":"C:\\password\\","a":"\"#),
    ];
    for (before, after) in cases {
        assert_eq!(redact(&settings, record().body(before)).record, record().body(after));
    }
}

#[test]
fn a_value_has_one_hash_wherever_it_stands() {
    let settings = json!({
        "mask_keys": { "names": ["k"] },
        "replace_with": { "hash": { "key": "0123456789abcdef" } },
    });
    let mut filter = Harness::<Redact>::new(settings).expect("valid settings");
    let mut hash = |record: LogRecord, around: (&str, &str)| {
        let answer = filter.run(record).record;
        let body = answer.get(&Field::Body).and_then(Value::as_str).expect("a string").to_owned();
        body.strip_prefix(around.0).and_then(|body| body.strip_suffix(around.1)).expect("the same around").to_owned()
    };
    let outer = hash(record().body(r#"{"k":"a\"\n"}"#), (r#"{"k":""#, r#""}"#));
    let inner = hash(record().body(r#"{"log":"{\"k\":\"a\\\"\\n\"}"}"#), (r#"{"log":"{\"k\":\""#, r#"\"}"}"#));
    assert_eq!(outer, inner);
}

#[test]
fn resources_and_scopes_only_when_asked() {
    type With = fn(LogRecord, &str, &str) -> LogRecord;
    let places: [(&str, With); 2] = [
        ("resource_attributes", |record, key, value| record.resource_attribute(key, value)),
        ("scope_attributes", |record, key, value| record.scope_attribute(key, value)),
    ];
    for (setting, with) in places {
        let mut settings = json!({ "patterns": ["email"], "remove_keys": { "names": ["k"] } });
        let owner = |mail: &str| with(record(), "owner", mail);
        let untouched = redact(&settings.to_string(), owner("joe@example.com"));
        assert!(!untouched.changed, "{setting}");
        settings[setting] = true.into();
        let mut filter = Harness::<Redact>::new(settings).expect("valid settings");
        let answers = filter.run_batch([
            with(owner("joe@example.com"), "k", "v"),
            with(owner("joe@example.com"), "k", "v"),
            owner("nobody"),
            record(),
            owner("ann@example.com"),
        ]);
        let records: Vec<_> = answers.iter().map(|answer| answer.record.clone()).collect();
        assert_eq!(records, [owner("****"), owner("****"), owner("nobody"), record(), owner("****")], "{setting}");
        assert!(!answers[2].changed && !answers[3].changed, "{setting}");
    }
}

#[test]
fn hashes_are_stable_and_need_the_key() {
    let hash = |key: &str, text: &str| {
        let settings = json!({ "patterns": ["email"], "replace_with": { "hash": { "key": key } } }).to_string();
        let record = redact(&settings, record().body(text)).record;
        record.get(&Field::Body).and_then(Value::as_str).expect("a string").to_owned()
    };
    let joe = hash("0123456789abcdef", "joe@example.com");
    // The first half of the HMAC-SHA-256, as other programs calculate it.
    assert_eq!(joe, "6f7ab77d33042961");
    assert_eq!(hash("0123456789abcdef", "<joe@example.com>"), format!("<{joe}>"));
    assert_ne!(hash("0123456789abcdef", "ann@example.com"), joe);
    assert_ne!(hash("fedcba9876543210", "joe@example.com"), joe);
}

#[test]
fn many_keys_are_no_trouble() {
    let settings = json!({ "patterns": ["email"], "mask_keys": { "matching": ["^secret"] } }).to_string();
    let key = |number: usize| format!("{}{number}", if number.is_multiple_of(2) { "secret" } else { "public" });
    let all = |value: fn(usize) -> &'static str| {
        (0..5_000).fold(record(), |record, number| record.attribute(&key(number), value(number)))
    };
    let redacted = redact(&settings, all(|_| "joe@example.com")).record;
    assert_eq!(redacted, all(|_| "****"));
}

#[test]
fn refuses_wrong_settings_by_name() {
    let cases = [
        (json!({}), "there is nothing to redact: give `patterns`, `mask_keys` or `remove_keys`"),
        (
            json!({ "patterns": ["emial"] }),
            "patterns[0]: unknown variant `emial`, expected one of `email`, `payment_card`",
        ),
        (json!({ "patterns": ["email", { "regex": "(" }] }), "patterns[1].regex: regex parse error"),
        (json!({ "patterns": [{ "regex": "x*" }] }), "patterns[0].regex: it matches an empty text"),
        (json!({ "mask_keys": { "matching": ["a", "["] } }), "mask_keys.matching[1]: regex parse error"),
        (
            json!({ "mask_keys": { "name": ["a"] } }),
            "mask_keys.name: unknown field `name`, expected `names` or `matching`",
        ),
        (
            json!({ "patterns": ["email"], "replace_with": { "hash": { "key": "short" } } }),
            "replace_with.hash.key: 16 characters are the least, not 5",
        ),
        (json!({ "pattern": [] }), "pattern: unknown field `pattern`, expected one of `patterns`, `mask_keys`"),
    ];
    for (settings, expected) in cases {
        let error = Harness::<Redact>::new(&settings).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{settings}: {error}");
    }
}
