//! Sluicegate.
fn main() {}
