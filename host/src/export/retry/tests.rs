use std::cell::RefCell;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Without chance.
const POLICY: Retry = Retry {
    initial_interval: SECOND,
    randomization_factor: 0.0,
    multiplier: 2.0,
    max_interval: Duration::from_secs(5),
    max_elapsed_time: None,
};

fn unavailable(delay: Option<u64>) -> Cause {
    let details = ErrorDetails::with_retry_info(delay.map(Duration::from_secs));
    Cause::Refused(Box::new(match delay {
        Some(_) => Status::with_error_details(Code::Unavailable, "later", details),
        None => Status::unavailable("later"),
    }))
}

fn permanent() -> Cause {
    Cause::Refused(Box::new(Status::invalid_argument("never")))
}

/// When attempts begin, in seconds since the request came, for a sender that waits so long, if they fail at once and as
/// `failures` say, beginning with the first attempt.
#[track_caller]
fn check(policy: &Retry, wait: u64, failures: impl IntoIterator<Item = Cause>, expected: &[u64]) {
    let started = Instant::now();
    let mut pauses = Pauses::new(policy, started, started + Duration::from_secs(wait));
    let mut now = started;
    let begin = |failure| {
        now = pauses.next(now, &failure)?;
        Some((now - started).as_secs())
    };
    let begun: Vec<_> = failures.into_iter().map_while(begin).collect();
    assert_eq!(begun, expected);
}

#[test]
fn pauses_grow_up_to_the_longest() {
    check(&POLICY, 60, (0..5).map(|_| unavailable(None)), &[1, 3, 7, 12, 17]);
}

#[test]
fn no_attempt_begins_too_late() {
    let forever = || (0..100).map(|_| unavailable(None));
    check(&POLICY, 7, forever(), &[1, 3]);
    check(&POLICY, 8, forever(), &[1, 3, 7]);
    check(&Retry { max_elapsed_time: Some(4 * SECOND), ..POLICY }, 60, forever(), &[1, 3]);
    check(&Retry { max_elapsed_time: Some(60 * SECOND), ..POLICY }, 4, forever(), &[1, 3]);
    check(&POLICY, 0, forever(), &[]);
}

#[test]
fn the_destinations_delay_counts_where_it_is_longer() {
    check(&POLICY, 60, [unavailable(Some(9))], &[9]);
    check(&POLICY, 60, [unavailable(Some(0)), unavailable(Some(1)), unavailable(Some(40))], &[1, 3, 43]);
    check(&POLICY, 60, [unavailable(Some(61))], &[]);
    check(&POLICY, 60, [unavailable(Some(u64::MAX))], &[]);
}

#[test]
fn what_is_permanent_is_not_tried_again() {
    check(&POLICY, 60, [permanent()], &[]);
    check(&POLICY, 60, [unavailable(None), permanent()], &[1]);
}

#[tokio::test]
async fn the_first_success_or_the_last_failure_is_the_answer() {
    let policy = Retry { initial_interval: Duration::from_millis(1), multiplier: 1.0, ..POLICY };
    let run = async |failures: Vec<Cause>| {
        let left = RefCell::new(failures.into_iter());
        let attempt = || async { left.borrow_mut().next().map_or(Ok("taken"), Err) };
        let now = Instant::now();
        let answer = again(&policy, now, now + 60 * SECOND, unavailable(None), attempt).await;
        answer.map_err(|cause| cause.to_string())
    };
    assert_eq!(run(vec![]).await, Ok("taken"));
    assert_eq!(run(vec![unavailable(None), Cause::Timeout(SECOND)]).await, Ok("taken"));
    assert_eq!(run(vec![unavailable(None), permanent()]).await, Err("InvalidArgument: never".to_owned()));
}

#[test]
fn pauses_vary_within_their_bounds_and_never_overflow() {
    for _ in 0..1000 {
        let pause = vary(10 * SECOND, 0.5);
        assert!((5 * SECOND..=15 * SECOND).contains(&pause), "{pause:?}");
    }
    assert_eq!(times(Duration::MAX, 2.0), Duration::MAX);
    assert_eq!(times(SECOND, f64::MAX), Duration::MAX);
}

#[test]
fn a_tenth_of_the_senders_wait_is_left_for_the_answer() {
    let now = Instant::now();
    assert_eq!(last(now, None), now + 9 * SECOND);
    assert_eq!(last(now, Some(now + SECOND)), now + SECOND * 9 / 10);
    assert_eq!(last(now, Some(now)), now);
}
