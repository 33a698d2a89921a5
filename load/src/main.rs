//! `load`: loads Sluicegate, or whatever takes OTLP/gRPC, and says what came of it.
fn main() {}
