//! Tells the program which wasmtime it is built with: code that one version compiled is not for another.
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let lock = format!("{}/../Cargo.lock", env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed={lock}");
    let text = fs::read_to_string(&lock)?;
    let (_, package) = text.split_once("name = \"wasmtime\"\nversion = \"").ok_or("no wasmtime in Cargo.lock")?;
    let (version, _) = package.split_once('"').ok_or("no version in Cargo.lock")?;
    println!("cargo::rustc-env=WASMTIME_VERSION={version}");
    Ok(())
}
