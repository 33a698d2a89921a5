//! Compares Sluicegate with others that stand in its place, under the same loads.
//!
//! | module | does |
//! | --- | --- |
//! | [`subject`], [`case`], [`cores`] | what is compared, and under which loads |
//! | [`goal`], [`plan`] | what is to be shown, and what is measured for it |
//! | [`peers`] | starts a subject with a configuration of its own |
//! | [`measure`] | measures case after case, in turns |
//! | [`results`], [`machine`] | what came of it, and where |
//! | [`report`], [`plot`] | the same as tables and pictures |

pub mod case;
pub mod cores;
pub mod goal;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod plan;
pub mod plot;
pub mod report;
pub mod results;
pub mod subject;
