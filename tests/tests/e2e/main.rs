//! Against a real Collector and with the official SDKs. `cargo xtask e2e` builds them.
mod agent;
mod collector;
mod forwarding;
mod hops;
mod inputs;
mod sdks;
mod telemetry;
