//! From a core module to a component.
use std::collections::BTreeSet;
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

/// The contract, as guests are built against it.
const CONTRACT: &str = include_str!("../../../wit/filter.wit");

/// Why a module makes no filter.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The module can't become a component.
    #[error(
        "the module can't become a component: {0}\nhelp: bindings come from `sluicegate-filter`, of the version \
         of this program; a `wit-bindgen` of another version may not fit"
    )]
    Encode(String),
    /// The component is of another world.
    #[error("this is no filter: {0}\nhelp: implement `sluicegate_filter::Filter` and name the type in `export!`")]
    OtherWorld(String),
}

/// Makes a component of `core`, a module that describes its world as wit-bindgen does, and checks that it is the
/// world `filter` of `wit/filter.wit`.
///
/// # Errors
/// [`ComponentError`], with what differs.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let encode = || ComponentEncoder::default().validate(true).module(core)?.encode();
    let component = encode().map_err(|error| ComponentError::Encode(format!("{error:#}")))?;
    check_world(&component)?;
    Ok(component)
}

/// The interfaces that `component` imports.
pub(super) fn imports(component: &[u8]) -> Result<Vec<String>, ComponentError> {
    let (resolve, world) = decode(component)?;
    Ok(names(&resolve, resolve.worlds[world].imports.iter()).into_iter().collect())
}

/// Compares names first, since those differences can be told in a line, then types.
fn check_world(component: &[u8]) -> Result<(), ComponentError> {
    let mut contract = Resolve::default();
    let package = contract.push_str("filter.wit", CONTRACT).expect("the contract parses");
    let filter = contract.select_world(&[package], Some("filter")).expect("the contract has the world");
    let (resolve, world) = decode(component)?;

    let offered = names(&contract, contract.worlds[filter].imports.iter());
    let wanted = names(&contract, contract.worlds[filter].exports.iter());
    let imports = names(&resolve, resolve.worlds[world].imports.iter());
    let exports = names(&resolve, resolve.worlds[world].exports.iter());
    let missing = wanted.difference(&exports).map(|name| format!("it doesn't export `{name}`"));
    let (wasi, others): (Vec<_>, Vec<_>) = imports.difference(&offered).partition(|name| name.starts_with("wasi:"));
    let unknown = others.into_iter().map(|name| format!("it imports `{name}`, which Sluicegate doesn't have"));
    let differences: Vec<_> = missing.chain(unknown).collect();
    if !differences.is_empty() {
        return Err(ComponentError::OtherWorld(differences.join("; ")));
    }
    if !wasi.is_empty() {
        // Filters get an empty WASI. The contract doesn't hold its types; they are checked when the filter is loaded.
        return Ok(());
    }
    wit_component::targets(&contract, filter, component, false)
        .map_err(|error| ComponentError::OtherWorld(format!("its types are not those of the contract: {error:#}")))
}

fn decode(component: &[u8]) -> Result<(Resolve, WorldId), ComponentError> {
    match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => Err(ComponentError::OtherWorld("it is a WIT package".to_owned())),
        Err(error) => Err(ComponentError::Encode(format!("{error:#}"))),
    }
}

/// The names of a world's functions and interfaces. Types come along with them and have no life of their own.
fn names<'a>(resolve: &Resolve, items: impl Iterator<Item = (&'a WorldKey, &'a WorldItem)>) -> BTreeSet<String> {
    items
        .filter(|(_, item)| !matches!(item, WorldItem::Type { .. }))
        .map(|(key, _)| resolve.name_world_key(key))
        .collect()
}
