//! The built program, from outside. `cargo xtask test` builds what these tests need.
mod auth;
mod authoring;
mod bombs;
mod chains;
mod commands;
mod connections;
mod delivery;
mod examples;
mod http;
mod overload;
mod refusals;
mod shutdown;
mod tls;
mod wire;
