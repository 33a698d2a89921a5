//! The time of day.

/// Wall-clock time in nanoseconds since the Unix epoch, the unit of a record's own times.
///
/// Native tests can set it with [`testing::set_time`](crate::testing::set_time).
///
/// ```
/// assert!(sluicegate_filter::clock::now() > 1_700_000_000_000_000_000);
/// ```
#[must_use]
pub fn now() -> u64 {
    #[cfg(target_family = "wasm")]
    return crate::raw::clock::now();
    #[cfg(not(target_family = "wasm"))]
    return crate::testing::time();
}
