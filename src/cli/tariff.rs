//! `wattstile tariff`: checks, explains and prices tariffs, on the engine that prices live sessions.

mod cases;
mod diff;
mod explain;
mod lint;
mod price;

use super::{CliError, Exit, Output};
use std::path::{Path, PathBuf};

/// Check, explain and price tariffs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Look for what a tariff says but does not mean
    Lint(lint::Args),
    /// Say in words what a tariff charges
    Explain(explain::Args),
    /// Price a CDR, a run or a list of readings
    Price(price::Args),
    /// Tell what recorded sessions would have cost under another tariff
    Diff(diff::Args),
    /// Price published cases and compare with what they expect
    CheckCases(cases::Args),
    /// List the tariffs of a folder
    Ls(explain::ListArgs),
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Lint(args) => lint::run(args, output),
        Verb::Explain(args) => explain::run(args, output),
        Verb::Price(args) => price::run(args, output),
        Verb::Diff(args) => diff::run(args, output),
        Verb::CheckCases(args) => cases::run(args, output),
        Verb::Ls(args) => explain::list(args, output),
    }
}

/// Reads a text file; a byte that is not UTF-8 is an error of the file's.
fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::file(path, &error))
}

/// An error that names its file: `tariff.json: line 3, column 5: …`.
fn at(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

/// Files below a folder in a fixed order; links are not followed.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| CliError::file(&folder, &error))? {
            let entry = entry.map_err(|error| CliError::file(&folder, &error))?;
            let kind = entry.file_type().map_err(|error| CliError::file(&entry.path(), &error))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
