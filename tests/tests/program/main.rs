//! The built program, from outside. `cargo xtask test` builds what these tests need.
mod auth;
mod authoring;
mod chains;
mod commands;
mod connections;
mod delivery;
mod examples;
mod refusals;
mod shutdown;
mod tls;
mod wire;
