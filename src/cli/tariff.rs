//! `wattstile tariff`: checks, explains and prices tariffs, on the engine that prices live sessions.

mod cases;
mod diff;
mod explain;
mod lint;
mod price;

use super::{CliError, Exit, Output};
use crate::tariff::{Parsed, TariffError, TariffText, tariffs_in, text_of};
use std::path::{Path, PathBuf};

/// Check, explain and price tariffs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Find mistakes in a tariff: parts that never apply, gaps, units, limits
    Lint(lint::Args),
    /// Explain what a tariff charges, in sentences
    Explain(explain::Args),
    /// Price a CDR, a run or a list of readings
    Price(price::Args),
    /// Compare what recorded sessions cost with what another tariff would have charged
    Diff(diff::Args),
    /// Price published cases and compare with what they expect
    CheckCases(cases::Args),
    /// List the tariffs of a folder
    Ls(explain::ListArgs),
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
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

/// Reads a text file; a byte that is not UTF-8 is an error of the file's, with its place.
fn read(path: &Path) -> Result<String, CliError> {
    let bytes = std::fs::read(path).map_err(|error| CliError::file(path, &error))?;
    text_of(&bytes).map(str::to_owned).map_err(|error| faulty(path, &error))
}

/// An error that names its file: `tariff.json: line 3, column 5: …`.
fn at(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

/// All that is wrong with a file, a line each, and what to do about the first.
fn faulty(path: &Path, error: &TariffError) -> CliError {
    let unreadable = CliError::failed(error.in_file(&path.display().to_string()));
    match error.reason.help() {
        Some(help) => unreadable.help(help),
        None => unreadable,
    }
}

/// The one tariff of a file: of a list, the one with this id.
pub(super) fn one_tariff(path: &Path, id: Option<&str>) -> Result<Parsed, CliError> {
    let text = read(path)?;
    let mut read: Vec<Result<Parsed, TariffError>> =
        tariffs_in(&text).map_err(|error| faulty(path, &error))?.iter().map(TariffText::parse).collect();
    if read.len() == 1 && id.is_none() {
        return read.remove(0).map_err(|error| faulty(path, &error));
    }
    let known: Vec<String> = read.iter().flatten().map(|parsed| parsed.tariff.id().to_string()).collect();
    let named = |parsed: &Parsed| id.is_some_and(|id| parsed.tariff.id().as_str().eq_ignore_ascii_case(id));
    let count = read.len();
    let broken = read.iter().find_map(|tariff| tariff.as_ref().err().cloned());
    match (id, read.into_iter().flatten().find(named), broken) {
        (_, Some(parsed), _) => Ok(parsed),
        (None, None, _) => Err(at(path, format!("it is a list of {count} tariffs: {}", known.join(", ")))
            .help("name one with --tariff-id ID")),
        (Some(_), None, Some(error)) => Err(faulty(path, &error)),
        (Some(id), None, None) => {
            Err(CliError::not_found(format!("{}: there is no tariff {id} in it", path.display()))
                .help(format!("it has {}", known.join(", "))))
        }
    }
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
