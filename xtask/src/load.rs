//! Loads Sluicegate.
use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    command::{Step, target_dir},
    filters_by, set_up,
};

/// What is measured should be what is shipped.
const PROFILE: &str = "release";

/// Builds Sluicegate, the load tool and the filters, with the profile that `arguments` name, and hands them on.
///
/// # Errors
/// When something can't be built, or the tool fails.
pub(crate) fn load(mut arguments: Vec<OsString>) -> Result<()> {
    let profile = take_profile(&mut arguments)?;
    // Filters are built when they may be needed: it takes longer than to look.
    let needs_filters = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.starts_with("--filter") || argument.starts_with("--config")
    });
    let programs = build(&profile)?;
    if needs_filters {
        set_up()?;
        filters_by(&programs.join("sluicegate"))?;
    }
    let load = Step::new(programs.join("load"));
    arguments.into_iter().fold(load, Step::arg).run("")
}

/// Builds Sluicegate and the programs that load it, and returns the folder that they are in.
///
/// # Errors
/// When they can't be built.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    let build = Step::cargo("build").args(["--locked", "--bins", "--profile", profile]);
    let (folder, build) = match profile {
        // The other chores' build.
        "dev" => ("debug", build.args(["--workspace", "--examples"])),
        // Together with the tests' dependencies, some would have features that the shipped program's haven't.
        _ => (profile, build.args(["--package", "sluicegate", "--package", "sluicegate-load"])),
    };
    build.run("building the programs")?;
    Ok(target_dir().join(folder))
}

/// Takes `--profile NAME` out, wherever it stands.
///
/// # Errors
/// When there is no name.
pub(crate) fn take_profile(arguments: &mut Vec<OsString>) -> Result<String> {
    const FLAG: &str = "--profile";
    let Some(place) = arguments.iter().position(|argument| argument.to_string_lossy().starts_with(FLAG)) else {
        return Ok(PROFILE.to_owned());
    };
    let flag = arguments.remove(place).to_string_lossy().into_owned();
    if let Some(profile) = flag.strip_prefix("--profile=") {
        return Ok(profile.to_owned());
    }
    let profile = (place < arguments.len()).then(|| arguments.remove(place));
    Ok(profile.context("--profile needs a name, such as release, quick or dev")?.to_string_lossy().into_owned())
}
