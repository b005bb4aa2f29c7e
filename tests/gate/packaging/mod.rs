//! What is packaged: the version, completions, manual pages, the package, the unit, the image, dashboard and alert rules.

mod alerts;
mod container;
mod help;
mod notify;
mod package;
mod unit;
mod version;

use crate::common::skipped_without;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program.
const WATTSTILE: &str = env!("CARGO_BIN_EXE_wattstile");

/// The folder of the sources.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that a test needs.
fn tool(name: &str) -> Option<PathBuf> {
    let found = look_for(name);
    if found.is_none() {
        skipped_without(format_args!("`{name}`"));
    }
    found
}

/// Whether this machine has it; for optional checks.
fn is_there(name: &str) -> bool {
    look_for(name).is_some()
}

fn look_for(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let ours = root().join("target/ci/prometheus/usr/bin");
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), ours]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Runs it to its end; it has to end well.
#[track_caller]
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}
