//! Write filters over OpenTelemetry log records for Sluicegate.
//!
//! A filter is a Rust type that looks at one record after the other and keeps it, drops it, changes it or
//! routes it elsewhere. This crate makes a WebAssembly component of it. This is a whole filter, and its test,
//! which needs no WebAssembly:
//!
//! ```
//! use serde::Deserialize;
//! use sluicegate_filter::{Error, Filter, Record, Settings, Verdict, export};
//!
//! /// Drops the records of health checks, and marks which environment the others are from.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Quiet {
//!     path: String,
//!     environment: String,
//! }
//!
//! impl Filter for Quiet {
//!     fn new(settings: Settings) -> Result<Self, Error> {
//!         settings.parse()
//!     }
//!
//!     fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
//!         if record.attribute("url.path") == Some(self.path.as_str().into()) {
//!             return Verdict::drop("health check");
//!         }
//!         record.set_resource_attribute("deployment.environment.name", &self.environment);
//!         Verdict::Keep
//!     }
//! }
//!
//! export!(Quiet);
//!
//! use sluicegate_filter::testing::{Harness, LogRecord, json};
//!
//! # fn main() -> Result<(), Error> {
//! let mut quiet = Harness::<Quiet>::new(json!({ "path": "/healthz", "environment": "staging" }))?;
//!
//! let check = quiet.run(LogRecord::new().attribute("url.path", "/healthz"));
//! assert_eq!(check.verdict, Verdict::drop("health check"));
//!
//! let order = quiet.run(LogRecord::new().attribute("url.path", "/orders").body("created"));
//! assert_eq!(order.verdict, Verdict::Keep);
//! assert_eq!(
//!     order.record,
//!     LogRecord::new()
//!         .attribute("url.path", "/orders")
//!         .body("created")
//!         .resource_attribute("deployment.environment.name", "staging")
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # A crate for it
//!
//! The filter's crate is a `cdylib` that depends on this crate and, for its settings, on `serde`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! serde = { version = "1", features = ["derive"] }
//! sluicegate-filter = { path = "../sluicegate/guest-filters/sdk" }
//! ```
//!
//! `sluicegate filter build` then compiles it and says where the component is. `cargo test` tests it.
//!
//! # What to know
//!
//! - [`Record`] reads lazily and by column: the first look at a field fetches it for the whole batch, so looking
//!   at few fields is what makes a filter fast. [`Record::attributes`] goes through all of them when it must.
//! - [`Value`]s are borrowed from the record. [`Value::to_owned`] ends the borrow, for a change or for later.
//! - A filter that panics costs its own instance and the batch it was working on, which then follows the
//!   processor's `on_failure`; the panic's message is logged. So panic on what cannot be, and decide over
//!   everything that records may hold.
//! - There are no files, no network and no environment. There is [`log`], and there is a [`clock`].

#![warn(missing_docs)]

mod bytes;
mod columns;
mod edits;
mod field;
mod filter;
mod guest;
mod record;
mod settings;
mod severity;
mod value;
mod verdict;
mod wire;

pub mod clock;
pub mod log;
#[cfg(feature = "native")]
#[doc(hidden)]
pub mod native;
pub mod raw;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use field::Field;
pub use filter::{Error, Filter};
pub use record::{Attributes, Record};
pub use settings::Settings;
pub use severity::{Severity, UnknownSeverity};
pub use value::{Array, ArrayBuf, KvList, KvListBuf, OwnedValue, Value};
pub use verdict::Verdict;

/// The guide's code is tested with this crate's own.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-filters.md")]
struct Guide;

/// What [`export!`] expands to names these.
#[doc(hidden)]
pub mod exported {
    pub use crate::guest::Instance;
}

/// Makes a component of a [`Filter`]. A crate does it once.
///
/// Natively it only checks that the type is a filter, so that `cargo test` works everywhere.
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            struct Component;

            #[cfg(target_family = "wasm")]
            ::std::thread_local! {
                static INSTANCE: $crate::exported::Instance<$filter> = const { $crate::exported::Instance::new() };
            }

            #[cfg(target_family = "wasm")]
            impl $crate::raw::Guest for Component {
                fn configure(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<$crate::raw::Plan, ::std::string::String> {
                    INSTANCE.with(|instance| instance.configure(settings))
                }

                fn process(
                    batch: &$crate::raw::Batch,
                ) -> ::std::result::Result<$crate::raw::Outcome, ::std::string::String> {
                    INSTANCE.with(|instance| instance.process(batch))
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::raw::export!(Component with_types_in $crate::raw);
        };

        #[cfg(not(target_family = "wasm"))]
        $crate::export_native!($filter);
    };
}

/// What [`export!`] does natively.
#[cfg(not(feature = "native"))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_native {
    ($filter:ty) => {
        const _: $crate::exported::Instance<$filter> = $crate::exported::Instance::new();
    };
}

/// What [`export!`] does natively for a host that runs the filter so.
#[cfg(feature = "native")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_native {
    ($filter:ty) => {
        /// Makes the filter from its settings.
        pub(crate) fn start(
            settings: ::std::string::String,
        ) -> ::std::result::Result<::std::boxed::Box<dyn $crate::native::Process>, ::std::string::String> {
            $crate::native::start::<$filter>(settings)
        }
    };
}
