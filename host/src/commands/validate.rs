//! `sluicegate validate`.
use std::path::PathBuf;

use clap::Args;
use sluicegate::{
    config::{Config, LogEncoding},
    pipeline::Shared,
    reload::Generation,
    telemetry::logs,
};
use tracing::Level;

use super::{Failure, cache::CacheFolder};

/// Load everything that `run` would, try each filter on sample records, and say what is wrong
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    cache: CacheFolder,
}

impl Validate {
    #[tokio::main]
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let (config, warnings) = Config::load(&self.config)?;
        // Such as of certificates that are no longer good.
        logs::init(Level::WARN, LogEncoding::Console);
        Generation::load_sound(&config, &Shared::new(self.cache.open())).await?;
        if !warnings.is_empty() {
            eprintln!("{warnings}");
        }
        println!("{} is valid", self.config.display());
        Ok(())
    }
}
