//! The contract as wit-bindgen generates it from `wit/filter.wit`, for guests that need every freedom it gives.
//!
//! A guest that uses this module gathers its columns and checks its answers itself: implement [`Guest`] and
//! name the type in this module's `export!`. Everybody else is better served by [`Filter`](crate::Filter).
#![allow(unsafe_code, reason = "the canonical ABI passes pointers; only generated code touches them")]
#![allow(missing_docs, reason = "generated items carry the documentation that the WIT file has")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "filter",
    pub_export_macro: true,
    additional_derives: [PartialEq],
    default_bindings_module: "sluicegate_filter::raw",
});

pub use self::sluicegate::filter::logs::{Change, Column, Field, Verdict};
pub use self::sluicegate::filter::{clock, logging};
