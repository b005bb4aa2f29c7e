//! `wattstile recon`: what a processor settled against what was captured and refunded.

use super::output::{BAD, GOOD, WARNING};
use super::{CliError, Exit, Output};
use crate::billing::reconciliation::{Batch, ColumnMap, Report, read_csv, read_ours, reconcile};
use crate::units::{Amount, Currency, ProcessorId, TimeSpan, Timestamp};
use rust_decimal::Decimal;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Reconciliation.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lay a settlement file beside our captures and refunds; moves no money
    #[command(
        after_help = "Example:\n  wattstile recon report settlement.csv --map acme.toml --ours captures.csv \\\n    \
        --processor acme-cards --at 2026-11-21T23:00:00Z\n\n\
        Ends with 0 when everything matches, with 1 when something does not, with 65 when\n\
        a file cannot be read."
    )]
    Report(Box<Compare>),
}

#[derive(Debug, clap::Args)]
struct Compare {
    /// The processor's settlement file
    file: PathBuf,
    /// Which of its columns is what: a TOML file
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Our side: a table with the columns operation, kind, reference, amount, currency, at
    #[arg(long, value_name = "FILE")]
    ours: PathBuf,
    /// The processor
    #[arg(long, value_name = "ID")]
    processor: ProcessorId,
    /// When the batch was paid out (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    at: Timestamp,
    /// The batch's currency
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    currency: Currency,
    /// How old an operation must be to be missed
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    grace_hours: u32,
    /// Write every pile to this file as a table
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Report(compare) => compare.run(output),
    }
}

impl Compare {
    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        let corrupt = |path: &Path, error: &dyn std::fmt::Display| {
            CliError::new(Exit::Corrupt, format!("{}: {error}", path.display()))
        };
        let map = std::fs::read_to_string(&self.map).map_err(|error| CliError::file(&self.map, &error))?;
        let map: ColumnMap = toml::from_str(&map)
            .map_err(|error| CliError::new(Exit::Config, format!("{}: {error}", self.map.display())))?;
        let lines = read_csv(open(&self.file)?, &map, self.currency).map_err(|error| corrupt(&self.file, &error))?;
        let ours = read_ours(open(&self.ours)?).map_err(|error| corrupt(&self.ours, &error))?;
        let batch = Batch {
            id: self.file.file_name().unwrap_or_default().to_string_lossy().into(),
            processor: self.processor.clone(),
            currency: self.currency,
            at: self.at,
            lines,
            trailer: None,
        };
        let report = reconcile(&ours, &batch, TimeSpan::from_secs(i64::from(self.grace_hours) * 3_600));
        if let Some(path) = &self.out {
            let file = File::create(path).map_err(|error| CliError::file(path, &error))?;
            report.write_csv(file).map_err(|error| CliError::file(path, &error))?;
        }
        output.answer("reconciliation/1", &report, |out| {
            let piles: [(&str, usize); 6] = [
                ("matched", report.matched.len()),
                ("amount differs", report.differs.len()),
                ("only ours, missing", report.missing.len()),
                ("only ours, in flight", report.in_flight.len()),
                ("only theirs", report.extra.len()),
                ("fees and payouts", report.other.len()),
            ];
            piles.iter().try_for_each(|(name, count)| writeln!(out, "{name:<22}{count:>8}"))?;
            for pair in &report.differs {
                let difference = Amount::new(pair.difference, self.currency).major();
                writeln!(out, "  {WARNING}differs{WARNING:#}  {}  by {difference}", pair.ours.operation)?;
            }
            for missing in &report.missing {
                writeln!(out, "  {BAD}missing{BAD:#}  {}  {}", missing.operation, missing.amount)?;
            }
            for extra in &report.extra {
                writeln!(out, "  {BAD}extra{BAD:#}    line {}  {}", extra.theirs.row, extra.theirs.gross)?;
            }
            report.faults.iter().try_for_each(|fault| writeln!(out, "  {BAD}fault{BAD:#}    {fault}"))?;
            verdict(&report, self.currency, out)
        })?;
        Ok(if report.is_clean() { Exit::Ok } else { Exit::Failed })
    }
}

fn verdict(report: &Report, currency: Currency, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let net = report.sums.map_or(0, |sums| sums.net);
    let net = Decimal::from_i128_with_scale(net, u32::from(currency.exponent()));
    match report.is_clean() {
        true => writeln!(out, "{GOOD}clean{GOOD:#}  net {currency} {net}"),
        false => writeln!(out, "{BAD}not clean{BAD:#}  net {currency} {net}"),
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|error| CliError::file(path, &error))
}
