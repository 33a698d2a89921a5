//! Some of `guest-filters/`, compiled for the machine itself. They run through the same SDK over the same columns as their
//! components do, so that what differs is what the sandbox costs.

mod border;
#[cfg(test)]
mod tests;

use sluicegate::filter::native::{self, Start};

/// The filters, as part of this crate: a library of WebAssembly is none to link to.
macro_rules! filters {
    ($($name:ident = $path:literal),+ $(,)?) => {
        $(
            #[path = $path]
            mod $name;
        )+

        /// Each filter by the name of its component.
        static FILTERS: &[(&str, Start)] = &[$((stringify!($name), |settings| border::start($name::start, settings))),+];
    };
}

filters! {
    drop_below_severity = "../../guest-filters/drop-below-severity/src/lib.rs",
    enrich = "../../guest-filters/enrich/src/lib.rs",
    observe = "../../guest-filters/observe/src/lib.rs",
    redact = "../../guest-filters/redact/src/lib.rs",
    route = "../../guest-filters/route/src/lib.rs",
}

/// Has processors run these filters in place of the components of their names.
pub fn install() {
    native::install(FILTERS);
}
