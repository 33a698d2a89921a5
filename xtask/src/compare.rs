//! Compares Sluicegate with others.
use std::ffi::OsString;

use anyhow::Result;

use crate::{
    command::Step,
    filters_by,
    load::{build, take_profile},
    peers, set_up,
};

/// Builds Sluicegate and the filters with the profile that `arguments` name, makes its peers ready, and compares.
///
/// # Errors
/// When Sluicegate can't be built, or the comparison fails. A peer that can't be had is left out.
pub(crate) fn compare(mut arguments: Vec<OsString>) -> Result<()> {
    let profile = take_profile(&mut arguments)?;
    let programs = build(&profile)?;
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if !["--render", "--help", "-h"].into_iter().any(has) {
        // By itself: what it needs of Sluicegate would be built into the one that is shipped, too.
        Step::cargo("build")
            .args(["--locked", "--bins", "--profile", &profile, "--package", "sluicegate-native"])
            .run("building Sluicegate with filters compiled in")?;
        set_up()?;
        filters_by(&programs.join("sluicegate"))?;
        peers::prepare(has("--moment"));
    }
    let compare = Step::new(programs.join("compare"));
    arguments.into_iter().fold(compare, Step::arg).run("")
}
