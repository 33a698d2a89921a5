use super::*;

/// A module that has nothing, and so describes no world.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn what_is_no_filter_is_refused_with_what_to_do() {
    let cases: [(&[u8], &str); 3] = [
        (b"#!/bin/sh", "the module can't become a component"),
        (b"", "the module can't become a component"),
        (EMPTY_MODULE, "this is no filter: it doesn't export `configure`; it doesn't export `process`"),
    ];
    for (bytes, expected) in cases {
        let error = componentize(bytes).expect_err("no filter").to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("\nhelp: "), "{error}");
    }
}

#[test]
fn a_folder_without_a_manifest_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = build(dir.path(), None).expect_err("nothing to build").to_string();
    assert_eq!(
        error,
        format!("there is no Cargo.toml in {}: name the folder of a filter's crate", dir.path().display())
    );
}

#[test]
fn cargos_messages_are_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let manifest = dir.path().join("Cargo.toml");
    fs::write(&manifest, "").expect("a manifest");
    let artifact = |reason: &str, crate_type: &str, file: &str| {
        serde_json::json!({
            "reason": reason,
            "manifest_path": manifest,
            "target": { "name": "my-filter", "kind": [crate_type], "crate_types": [crate_type], "src_path": "/" },
            "filenames": [file],
            "fresh": true,
        })
    };
    let cases = [
        (artifact("compiler-artifact", "cdylib", "/t/wasm32-unknown-unknown/release/my_filter.wasm"), true),
        (artifact("compiler-artifact", "lib", "/t/release/libmy_filter.rlib"), false),
        (artifact("compiler-artifact", "cdylib", "/t/release/libmy_filter.so"), false),
        (artifact("build-script-executed", "cdylib", "/t/my_filter.wasm"), false),
        (serde_json::json!({ "reason": "build-finished", "success": true }), false),
    ];
    for (message, expected) in cases {
        let module = serde_json::from_value(message.clone()).ok().and_then(Module::from_message);
        assert_eq!(module.is_some(), expected, "{message}");
        if let Some(module) = module {
            assert_eq!(module.file_name(), "my_filter.wasm");
            assert_eq!(module.default_folder(), Path::new("/t/filters"));
        }
    }
}

#[test]
fn the_set_up_error_has_commands_to_copy() {
    let error = toolchain::SetUpError.to_string();
    assert!(error.contains("\n    rustup target add wasm32-unknown-unknown\n"), "{error}");
    assert!(error.contains("\n    apt-get install "), "{error}");
}
