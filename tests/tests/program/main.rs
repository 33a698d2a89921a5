//! The built program, from outside. `cargo xtask test` builds what these tests need.
mod auth;
mod authoring;
mod bombs;
mod chains;
mod commands;
mod connections;
mod delivery;
mod destinations;
mod documented;
mod examples;
mod http;
mod overload;
mod refusals;
mod retry;
mod shutdown;
mod tls;
mod wire;
