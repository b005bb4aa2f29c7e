//! `wattstile invoice`: checks series of invoices without asking anybody.

use super::output::GOOD;
use super::{CliError, Exit, Output};
use crate::billing::invoice::{Issued, verify_series};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Invoices.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check that a series has no gap and that nothing in it was changed, offline
    #[command(after_help = "Example:\n  wattstile invoice verify-series R-2026.jsonl\n\n\
        Ends with 0 when the series is whole, with 1 when it is not, with 65 when the\n\
        file is no series.")]
    VerifySeries(VerifySeries),
}

#[derive(Debug, clap::Args)]
struct VerifySeries {
    /// The documents of one series from the first on, one JSON object per line
    file: PathBuf,
    /// The hash that the last document must have: proves that none is missing at the end
    #[arg(long, value_name = "SHA256")]
    head: Option<String>,
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::VerifySeries(verify) => verify.run(output),
    }
}

impl VerifySeries {
    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        let documents = read(&self.file)?;
        let broken = |what: &dyn std::fmt::Display| CliError::failed(format!("{}: {what}", self.file.display()));
        let summary = verify_series(&documents).map_err(|error| broken(&error))?;
        let head = summary.head.map(|head| head.to_string()).unwrap_or_default();
        if let Some(expected) = self.head.as_ref().filter(|expected| !expected.eq_ignore_ascii_case(&head)) {
            return Err(broken(&format!("it ends with {head}, not with {expected}: documents are missing at the end")));
        }
        let series = summary.series.map(|series| series.to_string()).unwrap_or_default();
        let totals = summary.totals.iter().map(|(currency, minor)| {
            let exponent = u32::from(currency.exponent());
            (currency.code(), rust_decimal::Decimal::from_i128_with_scale(*minor, exponent).to_string())
        });
        let totals: std::collections::BTreeMap<&str, String> = totals.collect();
        let document = serde_json::json!({
            "whole": true, "series": series, "documents": summary.count, "head": head, "totals": totals,
        });
        output.answer("invoice-series/1", &document, |out| {
            writeln!(out, "{GOOD}whole{GOOD:#}  {series}  {} documents, no gap, nothing changed", summary.count)?;
            totals.iter().try_for_each(|(currency, total)| writeln!(out, "  total  {currency} {total}"))?;
            writeln!(out, "  head   {head}")
        })?;
        Ok(Exit::Ok)
    }
}

/// Reads one document per line.
fn read(path: &Path) -> Result<Vec<Issued>, CliError> {
    let file = File::open(path).map_err(|error| CliError::file(path, &error))?;
    let mut documents = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let corrupt = |error: &dyn std::fmt::Display| {
            CliError::new(Exit::Corrupt, format!("{}: line {}: {error}", path.display(), index + 1))
        };
        let line = line.map_err(|error| corrupt(&error))?;
        if !line.trim().is_empty() {
            documents.push(serde_json::from_str(&line).map_err(|error| corrupt(&error))?);
        }
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_series_is_named_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("series.jsonl");
        std::fs::write(&path, "\n{\"at\": 1}\n").unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.exit, Exit::Corrupt);
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
