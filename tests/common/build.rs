//! Looks for what some tests need and a machine may lack, so that such a test is reported as ignored
//! there; in continuous integration it fails instead.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CI");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = from_env("DEPTHCAST_TEST_DATA").unwrap_or(repository.join("../shared/data"));
    offer("data", Some(data).filter(|path| path.is_dir()));
    let rerun = from_env("DEPTHCAST_TEST_RERUN").unwrap_or(repository.join(".tools/bin/rerun"));
    offer("rerun", Some(rerun).filter(|path| path.is_file()));
    let folders = env::var_os("PATH").unwrap_or_default();
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| {
        env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    });
    offer("chromium", chromium);
}

fn from_env(variable: &str) -> Option<PathBuf> {
    println!("cargo::rerun-if-env-changed={variable}");
    env::var_os(variable).map(PathBuf::from)
}

/// Tells the crate where a thing is. One that appears later is noticed when this file is touched,
/// as `scripts/setup.sh --tests` does, or a variable changes: to watch a path that does not exist
/// would compile all tests anew each time.
fn offer(name: &str, found: Option<PathBuf>) {
    println!("cargo::rustc-check-cfg=cfg(has_{name})");
    if found.is_some() || env::var_os("CI").is_some() {
        println!("cargo::rustc-cfg=has_{name}");
    }
    if let Some(path) = found {
        println!("cargo::rerun-if-changed={}", path.display());
        println!("cargo::rustc-env=FOUND_{}={}", name.to_uppercase(), path.display());
    }
}
