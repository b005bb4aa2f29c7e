//! `wattstile invoice`: invoices and credit notes, and the check of their series, with a gate, its data, or a file.

use super::gate_or_data::{List, Source, Which, give, moment};
use super::output::{BAD, GOOD};
use super::{CliError, Exit, Output};
use crate::api::{InvoiceRow, SeriesRow};
use crate::billing::invoice::{Issued, verify_series};
use crate::units::counted;
use crate::web::segment;
use rust_decimal::Decimal;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Documents: invoices and credit notes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List invoices and credit notes, those of the newest sessions first
    #[command(after_help = "Example:\n  wattstile invoice ls --series R-2026-EUR --limit 20")]
    Ls(Ls),
    /// Show one document
    #[command(after_help = "Example:\n  wattstile invoice show R-2026-EUR-000123")]
    Show {
        /// Its number
        number: String,
    },
    /// Check that series have no gap and that nothing in them was changed
    #[command(after_help = "Examples:\n  wattstile invoice verify-series\n  \
        wattstile invoice verify-series --series R-2026-EUR --out R-2026-EUR.jsonl\n  \
        wattstile invoice verify-series R-2026-EUR.jsonl --head SHA256\n\n\
        Without a file, the documents of the gate (or of its data) are checked up to the last number that was given.\n\
        Ends with 0 when everything is whole, with 1 when it is not, with 65 when the file is no series.")]
    VerifySeries(VerifySeries),
}

#[derive(Debug, clap::Args)]
struct Ls {
    /// Only of this series
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

#[derive(Debug, clap::Args)]
struct VerifySeries {
    /// The documents of one series from the first on, one JSON object per line; without it, those of the gate
    file: Option<PathBuf>,
    /// The hash that the last document must have: proves that none is missing at the end of a file
    #[arg(long, value_name = "SHA256", requires = "file")]
    head: Option<String>,
    /// Only this series of the gate
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    series: Option<String>,
    /// Write the documents of that series to this file, one JSON object per line
    #[arg(long, value_name = "FILE", requires = "series")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::VerifySeries(VerifySeries { file: Some(file), head, .. }) => verify_file(&file, head.as_deref(), output),
        Verb::VerifySeries(verify) => verify.run(&args.which.open(output)?, output),
        Verb::Ls(Ls { series, limit }) => {
            let list = List {
                path: "invoices",
                query: series.into_iter().map(|series| ("series", series)).collect(),
                most: Some(limit),
                heads: &["number", "document", "issued", ">total", "currency", "session", "corrects"],
                if_empty: Some("no documents yet"),
            };
            list.give(&args.which.open(output)?, output, cells)?;
            Ok(Exit::Ok)
        }
        Verb::Show { number } => {
            let document = args.which.open(output)?.get(&format!("invoices/{}", segment(&number)), &[])?;
            let row: InvoiceRow = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| {
                writeln!(out, "{}  {}", row.number, row.kind)?;
                writeln!(out, "  issued         {}", moment(&row.at))?;
                writeln!(out, "  session        {}", row.session)?;
                row.corrects.iter().try_for_each(|number| writeln!(out, "  corrects       {number}"))?;
                let taxes: Decimal = row.taxes.values().sum();
                let mut sums = vec![("net".to_owned(), row.total.saturating_sub(taxes))];
                sums.extend(row.taxes.iter().map(|(tax, amount)| (format!("VAT {tax}"), *amount)));
                sums.push(("total".to_owned(), row.total));
                let figures: Vec<String> = sums.iter().map(|(_, amount)| amount.to_string()).collect();
                let width = figures.iter().map(String::len).max().unwrap_or(0);
                for ((name, _), figure) in sums.iter().zip(&figures) {
                    writeln!(out, "  {name:<15}{} {figure:>width$}", row.currency)?;
                }
                writeln!(out, "  receipt        wattstile receipt show {}", row.session)?;
                writeln!(out, "  content        sha256 {}", row.content)?;
                writeln!(out, "  chain          sha256 {}", row.hash)
            })?;
            Ok(Exit::Ok)
        }
    }
}

fn cells(row: &InvoiceRow) -> Vec<String> {
    let corrects = row.corrects.clone().unwrap_or_default();
    let total = row.total.to_string();
    vec![
        row.number.clone(),
        row.kind.clone(),
        moment(&row.at),
        total,
        row.currency.clone(),
        row.session.clone(),
        corrects,
    ]
}

impl VerifySeries {
    /// Checks what the gate has.
    fn run(&self, source: &Source, output: &Output) -> Result<Exit, CliError> {
        let query: Vec<(&str, String)> = self.series.iter().map(|series| ("series", series.clone())).collect();
        let (mut schema, mut items) = (String::new(), Vec::new());
        source.each_page("invoices/series", &query, None, &mut |page| {
            schema = page.schema;
            items.extend(page.items);
            Ok(())
        })?;
        let document = serde_json::json!({ "schema": schema, "items": items });
        let rows: Vec<SeriesRow> = serde_json::from_value(document["items"].clone()).map_err(CliError::failed)?;
        if let (Some(series), Some(path)) = (&self.series, &self.out) {
            let lines = source.text(&format!("invoices/series/{}", segment(series)), &[])?;
            std::fs::write(path, lines).map_err(|error| CliError::file(path, &error))?;
        }
        give(output, &document, |out| {
            for row in &rows {
                let SeriesRow { series, documents, currency, total, head, fault, .. } = row;
                let total = total.unwrap_or_default();
                match fault {
                    None => writeln!(
                        out,
                        "{GOOD}whole{GOOD:#}   {series}  {}  {currency} {total}  sha256 {head}",
                        counted(*documents, "document")
                    )?,
                    Some(fault) => writeln!(out, "{BAD}broken{BAD:#}  {series}  {fault}")?,
                }
            }
            if rows.is_empty() { writeln!(out, "no series yet") } else { Ok(()) }
        })?;
        Ok(if rows.iter().all(|row| row.fault.is_none()) { Exit::Ok } else { Exit::Failed })
    }
}

fn verify_file(path: &Path, head: Option<&str>, output: &Output) -> Result<Exit, CliError> {
    let documents = read(path)?;
    let broken = |what: &dyn std::fmt::Display| CliError::failed(format!("{}: {what}", path.display()));
    let summary = verify_series(&documents).map_err(|error| broken(&error))?;
    let found = summary.head.map(|head| head.to_string()).unwrap_or_default();
    if let Some(expected) = head.filter(|expected| !expected.eq_ignore_ascii_case(&found)) {
        return Err(broken(&format!("it ends with {found}, not with {expected}: documents are missing at the end")));
    }
    let series = summary.series.map(|series| series.to_string()).unwrap_or_default();
    let totals = summary.totals.iter().map(|(currency, minor)| {
        let exponent = u32::from(currency.exponent());
        (currency.code(), rust_decimal::Decimal::from_i128_with_scale(*minor, exponent).to_string())
    });
    let totals: std::collections::BTreeMap<&str, String> = totals.collect();
    let document = serde_json::json!({
        "whole": true, "series": series, "documents": summary.count, "head": found, "totals": totals,
    });
    output.answer("invoice-series/1", &document, |out| {
        writeln!(
            out,
            "{GOOD}whole{GOOD:#}  {series}  {}, no gap, nothing changed",
            counted(summary.count, "document")
        )?;
        totals.iter().try_for_each(|(currency, total)| writeln!(out, "  total  {currency} {total}"))?;
        writeln!(out, "  head   {found}")
    })?;
    Ok(Exit::Ok)
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
