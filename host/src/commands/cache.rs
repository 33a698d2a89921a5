//! Where compiled components are kept.
use std::path::PathBuf;

use clap::Args;
use sluicegate::filter::Cache;

/// The arguments of every command that loads filters.
#[derive(Debug, Args)]
pub(super) struct CacheFolder {
    /// Keep compiled components in this folder [default: $SLUICEGATE_CACHE_DIR, $CACHE_DIRECTORY,
    /// $XDG_CACHE_HOME/sluicegate or ~/.cache/sluicegate, whichever is there first]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Compile components at every start, and keep nothing of them
    #[arg(long, conflicts_with = "cache_dir")]
    no_cache: bool,
}

impl CacheFolder {
    pub(super) fn open(&self) -> Option<Cache> {
        if self.no_cache {
            return None;
        }
        let folder = self.cache_dir.clone().or_else(|| Cache::usual_folder(|name| std::env::var_os(name)));
        folder.map(Cache::new)
    }
}
