//! The built program, from outside. `cargo xtask test` builds what these tests need.
mod authoring;
mod bombs;
mod chains;
mod commands;
mod delivery;
mod examples;
mod http;
mod overload;
mod refusals;
mod shutdown;
mod wire;
