//! Against a real Collector. `cargo xtask e2e` builds it.
mod agent;
mod collector;
mod forwarding;
