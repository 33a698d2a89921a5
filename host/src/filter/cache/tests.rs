use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A component that no other number has.
fn component(number: u32) -> Vec<u8> {
    let text = format!(r#"(component (core module (func (export "answer") (result i32) (i32.const {number}))))"#);
    wat::parse_str(text).unwrap()
}

fn engine() -> wasmtime::Engine {
    crate::filter::Engine::new(1).unwrap().wasmtime
}

fn cache() -> (TempDir, Cache) {
    let parent = tempfile::tempdir().unwrap();
    let cache = Cache::new(parent.path().join("of/components"));
    (parent, cache)
}

fn source(cache: &Cache, engine: &wasmtime::Engine, wasm: &[u8]) -> Source {
    cache.component(engine, wasm).expect("it compiles").1
}

/// All files in the folder, by name.
fn files(cache: &Cache) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(&cache.0.path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_compiled_is_not_compiled_again() {
    let (_parent, cache) = cache();
    let (engine, wasm) = (engine(), component(1));
    assert_eq!(source(&cache, &engine, &wasm), Source::Compiler);
    assert_eq!(source(&cache, &engine, &wasm), Source::Cache);
    // As at the next start.
    let (next, next_engine) = (Cache::new(cache.0.path.clone()), self::engine());
    assert_eq!(source(&next, &next_engine, &wasm), Source::Cache);
    // What its code depends on is part of the key.
    assert_eq!(source(&cache, &engine, &component(2)), Source::Compiler);
    let other_settings = wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(false)).unwrap();
    assert_eq!(source(&cache, &other_settings, &wasm), Source::Compiler);
    let other_version = wasmtime::ModuleVersionStrategy::Custom("48.0.0".to_owned());
    let other_version = wasmtime::Engine::new(wasmtime::Config::new().module_version(other_version).unwrap()).unwrap();
    assert_eq!(source(&cache, &other_version, &wasm), Source::Compiler);
    assert_eq!(source(&cache, &engine, &wasm), Source::Cache);

    let files = files(&cache);
    assert_eq!(files.len(), 4, "{files:?}");
    for path in files.iter().chain([&cache.0.path]) {
        assert_eq!(path.metadata().unwrap().mode() & 0o077, 0, "{} is this user's alone", path.display());
    }
}

#[test]
fn what_is_damaged_is_compiled_and_replaced() {
    let (_parent, cache) = cache();
    let (engine, wasm) = (engine(), component(1));
    source(&cache, &engine, &wasm);
    let [file] = &files(&cache)[..] else { panic!("one file") };
    let (whole, key) = (fs::read(file).unwrap(), key(&engine, &wasm));
    let check = |what: &str, content: &[u8]| {
        assert!(matches!(payload(content, &key), Err(Unusable::Damaged(_))), "{what}");
    };
    let header = header(&key, &[]).len();
    for at in (0..header).chain((header..whole.len()).step_by(101)).chain([whole.len() - 1]) {
        let mut content = whole.clone();
        content[at] ^= 1 << (at % 8);
        check(&format!("a bit of byte {at} is flipped"), &content);
    }
    for len in (0..=header).chain((header..whole.len()).step_by(501)) {
        check(&format!("only {len} bytes are left"), &whole[..len]);
    }
    check("it has a byte more", &[&whole[..], &[0]].concat());
    assert!(payload(&whole, &key).is_ok());

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let other = cache.0.path.join(name(&self::key(&engine, &component(2))));
    source(&cache, &engine, &component(2));
    for (what, content) in [
        ("a bit is flipped", &flipped[..]),
        ("it is cut off", &whole[..whole.len() / 2]),
        ("it is empty", &[]),
        ("another component's file has its name", &fs::read(&other).unwrap()),
    ] {
        fs::write(file, content).unwrap();
        assert_eq!(source(&cache, &engine, &wasm), Source::Compiler, "{what}");
        assert_eq!(source(&cache, &engine, &wasm), Source::Cache, "{what}");
    }
}

#[test]
fn what_others_may_have_written_is_not_used() {
    for (owner, mode, expected) in [
        (1000, 0o600, true),
        (1000, 0o755, true),
        (0, 0o644, true),
        (1001, 0o600, false),
        (1000, 0o620, false),
        (1000, 0o602, false),
        (0, 0o666, false),
        (1000, 0o1777, false),
    ] {
        assert_eq!(check_access(owner, mode, 1000).is_ok(), expected, "{owner}, {mode:o}");
    }

    let (_parent, cache) = cache();
    let (engine, wasm) = (engine(), component(1));
    source(&cache, &engine, &wasm);
    set_mode(&files(&cache)[0], 0o660);
    assert_eq!(source(&cache, &engine, &wasm), Source::Compiler);
    assert_eq!(source(&cache, &engine, &wasm), Source::Cache, "it was replaced");

    set_mode(&cache.0.path, 0o777);
    assert_eq!(source(&cache, &engine, &wasm), Source::Compiler);
    assert_eq!(source(&cache, &engine, &component(2)), Source::Compiler);
    assert_eq!(files(&cache).len(), 1, "nothing is written there");
    set_mode(&cache.0.path, 0o700);
    assert_eq!(source(&cache, &engine, &wasm), Source::Cache);
}

#[test]
fn several_may_write_and_read_at_once() {
    let (_parent, cache) = cache();
    let components: Vec<_> = (0..4).map(component).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // A cache and an engine of its own, as another process has.
                let (cache, engine) = (Cache::new(cache.0.path.clone()), engine());
                for wasm in components.iter().chain(&components) {
                    source(&cache, &engine, wasm);
                }
            });
        }
    });
    assert_eq!(files(&cache).len(), components.len(), "{:?}", files(&cache));
    let engine = engine();
    assert!(components.iter().all(|wasm| source(&cache, &engine, wasm) == Source::Cache));
}

#[test]
fn where_nothing_can_be_kept_it_is_compiled() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (engine, wasm) = (engine(), component(1));
    for folder in [file.path().to_owned(), file.path().join("below"), PathBuf::from("/proc/sluicegate")] {
        let cache = Cache::new(folder);
        for _ in 0..2 {
            assert_eq!(source(&cache, &engine, &wasm), Source::Compiler);
        }
        assert!(cache.0.is_warned.load(Ordering::Relaxed), "it is told");
    }
    let (_parent, cache) = self::cache();
    cache
        .component(&engine, b"\0asm\x0d\0\x01\0\xff")
        .expect_err("what does not compile is an error with a cache, too");
}

#[test]
fn what_was_not_used_for_long_makes_room() {
    let (_parent, roomy) = cache();
    let engine = engine();
    let components: Vec<_> = (0..4).map(component).collect();
    for wasm in &components[..3] {
        source(&roomy, &engine, wasm);
    }
    let size = files(&roomy)[0].metadata().unwrap().len();
    let path = |number: u32| roomy.0.path.join(name(&key(&engine, &component(number))));
    let used = |path: &Path, ago: Duration| {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - ago).unwrap();
    };
    let file = |name: &str| {
        let path = roomy.0.path.join(name);
        fs::write(&path, "?").unwrap();
        used(&path, 2 * STALE);
        path
    };
    let digits = "0123456789abcdef";
    let unfinished = format!("{}.{digits}.unfinished", digits.repeat(4));
    let left = file(&unfinished);
    let writing = file(&unfinished.replace(".0", ".1"));
    let others = [
        "notes.txt",
        "precious.cwasm",
        "download.unfinished",
        &unfinished.to_uppercase(),
        &unfinished[1..],
        &unfinished.replace('.', "x"),
        &format!("{}.old.cwasm", digits.repeat(4)),
    ];
    let others: Vec<_> = others.iter().map(|name| file(name)).collect();
    let folder = roomy.0.path.join(format!("{}.cwasm", digits.repeat(4)));
    fs::create_dir(&folder).unwrap();
    used(&writing, STALE / 2);
    for (number, hours) in [(0, 30), (1, 20), (2, 10)] {
        used(&path(number), hours * STALE);
    }
    // The first is found, so that it is no longer the oldest.
    assert_eq!(source(&roomy, &engine, &components[0]), Source::Cache);

    let full = Cache::with_limit(roomy.0.path.clone(), 3 * size + size / 2);
    assert_eq!(source(&full, &engine, &components[3]), Source::Compiler);
    let there = [0, 1, 2, 3].map(|number| path(number).exists());
    assert_eq!(there, [true, false, true, true]);
    assert_eq!([&left, &writing].map(|path| path.exists()), [false, true]);

    let tiny = Cache::with_limit(roomy.0.path.clone(), 1);
    assert_eq!(source(&tiny, &engine, &components[1]), Source::Compiler);
    assert_eq!([0, 1, 2, 3].map(|number| path(number).exists()), [false, true, false, false]);
    for other in others.iter().chain([&folder]) {
        assert!(other.exists(), "{} is none of the cache's files", other.display());
    }
}

#[test]
fn the_folder_is_the_users_own() {
    let check = |variables: &[(&str, &str)], expected: Option<&str>| {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        assert_eq!(Cache::usual_folder(variable).as_deref(), expected.map(Path::new), "{variables:?}");
    };
    let (home, xdg) = (("HOME", "/home/me"), ("XDG_CACHE_HOME", "/caches"));
    let (systemd, own) = (("CACHE_DIRECTORY", "/var/cache/a:/var/cache/b"), ("SLUICEGATE_CACHE_DIR", "here"));
    check(&[home, xdg, systemd, own], Some("here"));
    check(&[home, xdg, systemd, ("SLUICEGATE_CACHE_DIR", "")], Some("/var/cache/a"));
    check(&[home, xdg], Some("/caches/sluicegate"));
    check(&[home, ("XDG_CACHE_HOME", "relative")], Some("/home/me/.cache/sluicegate"));
    check(&[home], Some("/home/me/.cache/sluicegate"));
    check(&[], None);
}
