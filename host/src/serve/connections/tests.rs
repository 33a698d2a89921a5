use std::cell::Cell;

use super::*;

#[tokio::test]
async fn failures_to_accept_are_followed_by_a_pause_and_lost_connections_are_not() {
    let check = async |error: io::Error, expected: usize| {
        let (shown, pauses) = (error.to_string(), Cell::new(0));
        let pause = |_: &io::Error| {
            let pauses = &pauses;
            async move { pauses.set(pauses.get() + 1) }
        };
        let accepted: Vec<_> = patient(futures::stream::iter([Err(error), Ok(())]), pause).collect().await;
        assert!(matches!(&*accepted, [Err(_), Ok(())]), "{shown}");
        assert_eq!(pauses.get(), expected, "{shown}");
    };
    const EMFILE: i32 = 24;
    check(io::Error::from_raw_os_error(EMFILE), 1).await;
    check(io::ErrorKind::ConnectionAborted.into(), 0).await;
}
