//! The programs that Sluicegate is compared with. Each is made ready in the folder that cargo builds into, and leaves the
//! rest of the machine alone.
use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    collector,
    command::{Step, target_dir},
};

/// The release of rotel, pinned as all versions are.
const ROTEL: &str = "rotel==0.0.1a15";

/// The subject that needs a Collector of its own.
pub(crate) const ROUTING_COLLECTOR: &str = "collector-policy";

/// Makes those ready that are wanted, and says why it can't where it can't. The comparison goes on without them.
pub(crate) fn prepare(is_wanted: impl Fn(&str) -> bool) {
    let tested = || collector::build(collector::TESTED, "collector").map(drop);
    let routing = || collector::build(collector::ROUTING, "peers/collector").map(drop);
    let peers: [(&str, &dyn Fn() -> Result<()>); 4] =
        [("nginx", &nginx), ("collector", &tested), (ROUTING_COLLECTOR, &routing), ("rotel", &rotel)];
    for (subject, prepare) in peers {
        if is_wanted(subject)
            && let Err(error) = prepare()
        {
            eprintln!("xtask: without {subject}: {error:#}");
        }
    }
}

/// The one of the machine, or else Debian's package unpacked: installed, it would start a service.
fn nginx() -> Result<()> {
    let folder = folder("peers/nginx")?;
    if folder.join("usr/sbin/nginx").exists() || is_on_path("nginx") {
        return Ok(());
    }
    // Where the lists of packages are old, what they name may be gone.
    let download = || Step::new("apt-get").args(["--quiet=2", "download", "nginx"]).within(&folder);
    if download().run("downloading nginx").is_err() {
        Step::new("apt-get").args(["--quiet=2", "update"]).run("updating the lists of packages")?;
        download().run("downloading nginx")?;
    }
    let packages = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = packages.filter(|file| file.extension().is_some_and(|extension| extension == "deb")).max();
    let package = package.context("apt-get left no package behind")?;
    Step::new("dpkg").arg("--extract").arg(package).arg(&folder).run("unpacking nginx")
}

/// PyPI's package carries the program.
fn rotel() -> Result<()> {
    let folder = folder("peers/rotel")?;
    let program = folder.join("bin/rotel-agent");
    if program.exists() {
        return Ok(());
    }
    Step::new("python3").args(["-m", "venv"]).arg(&folder).run("preparing rotel")?;
    Step::new(folder.join("bin/pip")).args(["install", "--quiet", "--no-deps", ROTEL]).run("installing rotel")?;
    let libraries = fs::read_dir(folder.join("lib"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let carried = libraries.map(|library| library.join("site-packages/rotel/rotel-agent")).find(|file| file.exists());
    let Some(carried) = carried else { bail!("the package {ROTEL} has no program") };
    // One may be left from where the folder was before.
    let _ = fs::remove_file(&program);
    let from_bin = Path::new("..").join(carried.strip_prefix(&folder)?);
    std::os::unix::fs::symlink(from_bin, program).context("can't link to rotel's program")
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = target_dir().join(name);
    fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    Ok(folder)
}

fn is_on_path(name: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's path lacks Debian's folder for servers.
    env::split_paths(&folders).chain([Path::new("/usr/sbin").into()]).any(|folder| folder.join(name).is_file())
}
