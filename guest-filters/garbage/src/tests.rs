use super::*;
use std::collections::BTreeSet;

#[test]
fn every_answer_has_a_name_of_its_own_and_can_be_chosen() {
    let names: BTreeSet<_> = ANSWERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), ANSWERS.len());
    for name in names {
        Garbage::configure(format!(r#"{{ "answer": "{name}" }}"#)).expect("a known answer");
    }
    let error = choose(r#"{ "answer": "sense" }"#).expect_err("an unknown answer");
    assert!(error.starts_with("answer: `sense` is none of nothing, everything, "), "{error}");
}

#[test]
fn answers_can_be_made_for_any_batch_of_two_rows_or_more() {
    for (name, answer) in ANSWERS {
        for rows in [2, 3, 1_000] {
            let outcome = answer(rows);
            assert_eq!(outcome.is_err(), *name == "refuse", "{name}");
        }
    }
}
