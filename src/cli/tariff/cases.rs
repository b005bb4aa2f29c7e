//! `wattstile tariff check-cases`: prices published cases and compares with what they expect.

use super::{files_below, read};
use crate::cli::{CliError, Exit, Output};
use crate::tariff::{CaseOutcome, check_cdr, check_run};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Price published cases and compare with what they expect
#[derive(Debug, clap::Args)]
#[command(after_help = "A case is a folder with tariff.json and either test_run*.json files, or cdr*.json files with \
                        output_price__*.json beside them.\n\nExample: wattstile tariff check-cases cases/ --json")]
pub struct Args {
    /// Folder of cases, at any depth
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    cases: usize,
    passed: usize,
    failed: Vec<Failure>,
    skipped: Vec<Skip>,
}

#[derive(Debug, Serialize)]
struct Failure {
    case: String,
    field: String,
    expected: String,
    got: String,
}

#[derive(Debug, Serialize)]
struct Skip {
    case: String,
    why: String,
}

/// Runs every case below the folder.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let mut folders: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for file in files_below(&args.folder)? {
        if let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str()))
            && name.ends_with(".json")
        {
            folders.entry(folder.to_owned()).or_default().push(name.to_owned());
        }
    }
    let mut answer = Answer::default();
    for (folder, names) in &folders {
        check_folder(&args.folder, folder, names, &mut answer)?;
    }
    if answer.cases == 0 {
        return Err(CliError::not_found(format!("{}: there are no cases", args.folder.display())));
    }
    output.answer("tariff-cases/1", &answer, |out| text(out, &answer))?;
    Ok(if answer.failed.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn check_folder(root: &Path, folder: &Path, names: &[String], answer: &mut Answer) -> Result<(), CliError> {
    let file = |name: &str| folder.join(name);
    let tariff = if names.iter().any(|name| name == "tariff.json") { Some(read(&file("tariff.json"))?) } else { None };
    let relative = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
    let case_of = |name: &str| if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
    let mut any = false;
    for name in names {
        if name.starts_with("test_run") {
            any = true;
            let outcome = match &tariff {
                Some(tariff) => check_run(tariff, &read(&file(name))?),
                None => CaseOutcome::Skipped("there is no tariff.json beside the run".to_owned()),
            };
            answer.add(case_of(name), outcome);
        } else if name.starts_with("cdr") {
            any = true;
            let output = format!("output_price__{name}");
            let output = if names.contains(&output) { Some(read(&file(&output))?) } else { None };
            answer.add(case_of(name), check_cdr(tariff.as_deref(), &read(&file(name))?, output.as_deref()));
        }
    }
    if !any && tariff.is_some() {
        answer.add(case_of("tariff.json"), CaseOutcome::Skipped("no CDR and no run to price".to_owned()));
    }
    Ok(())
}

impl Answer {
    fn add(&mut self, case: String, outcome: CaseOutcome) {
        self.cases += 1;
        match outcome {
            CaseOutcome::Passed => self.passed += 1,
            CaseOutcome::Skipped(why) => self.skipped.push(Skip { case, why }),
            CaseOutcome::Failed(mismatches) => {
                for mismatch in mismatches {
                    let (field, expected, got) = (mismatch.field, mismatch.expected, mismatch.got);
                    self.failed.push(Failure { case: case.clone(), field, expected, got });
                }
            }
        }
    }
}

fn text(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    for Failure { case, field, expected, got } in &answer.failed {
        writeln!(out, "FAILED  {case}: {field} is {got}, expected {expected}")?;
    }
    for Skip { case, why } in &answer.skipped {
        writeln!(out, "skipped {case}: {why}")?;
    }
    let mut failed: Vec<&str> = answer.failed.iter().map(|failure| failure.case.as_str()).collect();
    failed.dedup();
    let (cases, passed, skipped) = (answer.cases, answer.passed, answer.skipped.len());
    writeln!(
        out,
        "{}: {passed} passed, {} failed, {skipped} skipped",
        crate::units::counted(cases, "case"),
        failed.len()
    )
}
