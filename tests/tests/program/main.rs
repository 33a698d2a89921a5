//! The built program, from outside. `cargo xtask test` builds what these tests need.
mod authoring;
mod chains;
mod commands;
mod delivery;
mod destinations;
mod examples;
mod refusals;
mod retry;
mod shutdown;
mod wire;
