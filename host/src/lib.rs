//! Sluicegate as a library: everything behind the `sluicegate` command.
//!
//! The modules stand in the order of a request's way through the program:
//!
//! | module | does |
//! | --- | --- |
//! | [`config`] | turns a YAML file into checked settings |
//! | [`receive`] | OTLP/gRPC in: the bytes of one export request |
//! | [`batch`] | checks the bytes, finds the rows, reads columns, keeps changes, encodes again |
//! | [`filter`] | runs WebAssembly filters over a batch |
//! | [`pipeline`] | the whole path: check, filter, route, export, answer |
//! | [`export`] | sends requests to the configured destinations |
//! | [`serve`] | binds, builds, serves and drains |
//! | [`reload`] | takes up changed configurations while it serves |
//! | [`author`] | what people who write filters need |
//! | [`telemetry`] | what Sluicegate says of itself |

pub mod auth;
pub mod author;
pub mod batch;
mod buffered;
pub mod compression;
pub mod config;
pub mod export;
pub mod files;
pub mod filter;
mod hex;
mod items;
pub mod json;
pub mod memory;
pub mod payload;
pub mod pipeline;
pub mod receive;
pub mod reload;
mod schema;
pub mod send;
pub mod serve;
pub mod status;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod tls;
mod work;
