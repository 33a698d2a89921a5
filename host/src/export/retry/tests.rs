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

/// When further attempts were made, in seconds since the first, which failed at once, for a sender that waits so
/// long. They fail as `failures` say, and then succeed; and whether that was so.
async fn attempts(policy: &Retry, wait: u64, first: Cause, failures: Vec<Cause>) -> (Vec<u64>, bool) {
    let started = Instant::now();
    let (made, failures) = (RefCell::new(Vec::new()), RefCell::new(failures.into_iter()));
    let attempt = || async {
        made.borrow_mut().push(started.elapsed().as_secs());
        failures.borrow_mut().next().map_or(Ok(()), Err)
    };
    let answer = again(policy, started, started + Duration::from_secs(wait), first, attempt).await;
    (made.into_inner(), answer.is_ok())
}

fn permanent() -> Cause {
    Cause::Refused(Box::new(Status::invalid_argument("never")))
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_up_to_the_longest() {
    let failures = (0..4).map(|_| unavailable(None)).collect();
    assert_eq!(attempts(&POLICY, 60, unavailable(None), failures).await, (vec![1, 3, 7, 12, 17], true));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_can_not_begin_in_time_is_not_waited_for() {
    let forever = || (0..100).map(|_| unavailable(None)).collect::<Vec<_>>();
    let before = Instant::now();
    assert_eq!(attempts(&POLICY, 7, unavailable(None), forever()).await, (vec![1, 3], false));
    assert_eq!(before.elapsed(), 3 * SECOND, "the sender is told at once");
    let policy = Retry { max_elapsed_time: Some(4 * SECOND), ..POLICY };
    assert_eq!(attempts(&policy, 60, unavailable(None), forever()).await, (vec![1, 3], false));
    assert_eq!(attempts(&POLICY, 0, unavailable(None), forever()).await, (vec![], false));
}

#[tokio::test(start_paused = true)]
async fn the_destinations_delay_counts_where_it_is_longer() {
    assert_eq!(attempts(&POLICY, 60, unavailable(Some(9)), vec![]).await, (vec![9], true));
    assert_eq!(attempts(&POLICY, 60, unavailable(Some(0)), vec![unavailable(Some(1))]).await, (vec![1, 3], true));
    assert_eq!(attempts(&POLICY, 60, unavailable(Some(61)), vec![]).await, (vec![], false));
    assert_eq!(attempts(&POLICY, 60, unavailable(Some(u64::MAX)), vec![]).await, (vec![], false));
}

#[tokio::test(start_paused = true)]
async fn what_is_permanent_is_not_tried_again() {
    assert_eq!(attempts(&POLICY, 60, permanent(), vec![]).await, (vec![], false));
    assert_eq!(attempts(&POLICY, 60, unavailable(None), vec![permanent()]).await, (vec![1], false));
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

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_senders_wait_is_left_for_the_answer() {
    let now = Instant::now();
    assert_eq!(last(now, None), now + 9 * SECOND);
    assert_eq!(last(now, Some(now + SECOND)), now + SECOND * 9 / 10);
    assert_eq!(last(now, Some(now)), now);
}
