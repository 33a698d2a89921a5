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
    let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    if !["--render", "--help", "-h"].into_iter().any(has) {
        let only = only(&words);
        // What isn't asked for needn't be built.
        let wants = |subject: &str| only.is_none_or(|only| only.split(',').any(|name| name.starts_with(subject)));
        // The build of the whole workspace has it already.
        if wants("native") && profile != "dev" {
            // By itself: what it needs of Sluicegate would be built into the one that is shipped, too.
            Step::cargo("build")
                .args(["--locked", "--bins", "--profile", &profile, "--package", "sluicegate-native"])
                .run("building Sluicegate with filters compiled in")?;
        }
        set_up()?;
        filters_by(&programs.join("sluicegate"))?;
        // It takes minutes to build, which is no matter of a moment.
        let is_short = has("--moment");
        peers::prepare(|subject| wants(subject) && !(is_short && subject == peers::ROUTING_COLLECTOR));
    }
    let compare = Step::new(programs.join("compare"));
    arguments.into_iter().fold(compare, Step::arg).run("")
}

/// The subjects that are asked for by their names.
fn only<'a>(words: &'a [std::borrow::Cow<'_, str>]) -> Option<&'a str> {
    const FLAG: &str = "--only";
    let place = words.iter().position(|word| word == FLAG);
    let next = place.and_then(|place| words.get(place + 1)).map(AsRef::as_ref);
    next.or_else(|| words.iter().find_map(|word| word.strip_prefix("--only=")))
}
