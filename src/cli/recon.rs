//! `wattstile recon`: what a processor settled against what was captured and refunded.

mod import;
mod revert;

use super::gate_or_data::{Source, Which, give};
use super::output::{BAD, GOOD, WARNING};
use super::replay::skipped_rows;
use super::{CliError, Exit, Output};
use crate::api::{BatchRow, DiffersRow, ExtraRow, SettledRow, SettledSummary, SettledView};
use crate::billing::reconciliation::table::{BadRows, Encoding, read_text};
use crate::billing::reconciliation::{
    Batch, ColumnMap, CsvError, LineKind, Pair, Report, WhyExtra, read_ours, read_rows, reconcile,
};
use crate::limits::{CONFIG_BYTES_MAX, SETTLEMENT_LINES_LISTED};
use crate::units::{Amount, Currency, ProcessorId, TimeSpan, Timestamp, counted};
use rust_decimal::Decimal;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Reconciliation.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Hand a settlement file to the gate, which books it
    #[command(
        after_help = "Example:\n  wattstile recon import settlement.csv --map acme.toml --processor acme-cards \\\n    \
        --at 2026-11-21T23:00:00Z --dry-run\n\n\
        What it answers is what the gate booked, line by line. The same batch may be handed over again: what was\n\
        taken is not taken twice. A wrong one is taken back with `wattstile recon revert`.\n\
        Ends with 0 when every line matches, with 1 when one does not, with 65 when a file cannot be read."
    )]
    Import(Box<import::Import>),
    /// Take an imported settlement file back: what was booked of it is booked the other way round
    #[command(
        after_help = "Example:\n  wattstile recon revert settlement.csv --processor acme-cards --reason \"wrong column map\"\n\n\
        Its operations are open again, and the same name may be imported again. Repeated, nothing more happens."
    )]
    Revert(Box<revert::Revert>),
    /// Show every session priced, captured and settled; or lay a settlement file beside a file of ours
    #[command(after_help = "Examples:\n  wattstile recon report --csv > sessions.csv\n  \
        wattstile recon report settlement.csv --map acme.toml --ours captures.csv \\\n    \
        --processor acme-cards --at 2026-11-21T23:00:00Z\n\n\
        Ends with 0 when everything matches, with 1 when something does not, with 65 when \
        a file cannot be read.")]
    Report(Box<ReportArgs>),
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// A settlement file; without it, the parts that the gate received
    #[arg(requires_all = ["map", "ours", "processor", "at"])]
    file: Option<PathBuf>,
    /// Which columns of the file are what: a TOML file
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Our side: a table with the columns operation, kind, reference, amount, currency, at
    #[arg(long, value_name = "FILE")]
    ours: Option<PathBuf>,
    /// The processor; without it, all of them
    #[arg(long, value_name = "ID")]
    processor: Option<ProcessorId>,
    /// When the file's batch was paid out (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    at: Option<Timestamp>,
    /// The batch's currency
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    currency: Currency,
    /// How old an operation must be to be missed
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    grace_hours: u32,
    /// Go on without the rows that cannot be read: they are counted, and the verb ends with 1
    #[arg(long, requires = "file")]
    skip_invalid: bool,
    /// Write every pile to this file as a table
    #[arg(long, value_name = "FILE", requires = "file")]
    out: Option<PathBuf>,
    /// Give the sessions as comma-separated values
    #[arg(long, conflicts_with = "file")]
    csv: bool,
}

/// A settlement file and a file of ours.
struct Compare {
    file: PathBuf,
    map: PathBuf,
    ours: PathBuf,
    processor: ProcessorId,
    at: Timestamp,
    currency: Currency,
    grace_hours: u32,
    skip_invalid: bool,
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Import(import) => import.run(&args.which.open(output)?, output),
        Verb::Revert(revert) => revert.run(&args.which.open(output)?, output),
        Verb::Report(report) => {
            let ReportArgs { file, map, ours, processor, at, currency, grace_hours, skip_invalid, out, csv } = *report;
            match (file, map, ours, processor, at) {
                (Some(file), Some(map), Some(ours), Some(processor), Some(at)) => {
                    Compare { file, map, ours, processor, at, currency, grace_hours, skip_invalid, out }.run(output)
                }
                (_, _, _, processor, _) => {
                    let source = args.which.open(output)?;
                    whole(&source, processor.as_ref(), grace_hours, csv, output)
                }
            }
        }
    }
}

/// Every session of the gate.
fn whole(
    source: &Source,
    processor: Option<&ProcessorId>,
    grace_hours: u32,
    csv: bool,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut query = vec![("grace_hours", grace_hours.to_string())];
    query.extend(processor.map(|id| ("processor", id.to_string())));
    let is_well = |row: &SettledRow| matches!(row.state.as_str(), "matched" | "refunded" | "in flight");
    let mut all_well = true;
    let mut sessions = Vec::new();
    if csv {
        let heads = ["session", "state", "processors", "priced", "captured", "settled", "currency"];
        output.raw(&csv_lines([heads.map(str::to_owned)])?)?;
    }
    source.each_page("settlement/sessions", &query, None, &mut |page| {
        let mut rows: Vec<SettledRow> = page.rows()?;
        all_well &= rows.iter().all(is_well);
        match (csv, output.is_json()) {
            (true, _) => return output.raw(&csv_lines(rows.iter().map(session_record))?),
            (false, true) => {}
            // Good ones are only counted.
            (false, false) => rows.retain(|row| !is_well(row)),
        }
        sessions.extend(rows);
        Ok(())
    })?;
    let summary: SettledSummary = serde_json::from_value(summary_of(source, &query)?).map_err(CliError::failed)?;
    let most = Some(SETTLEMENT_LINES_LISTED as u64);
    let differs: Vec<DiffersRow> = source.items("settlement/differs", &query, most)?;
    let extra: Vec<ExtraRow> = source.items("settlement/extra", &query, most)?;
    let mut batches: Vec<BatchRow> = source.items("settlement/batches", &query, None)?;
    batches.sort_by_cached_key(|batch| batch.came_at.as_deref().and_then(|at| Timestamp::parse_rfc3339(at).ok()));
    let listed = (differs.len() + extra.len()) as u64;
    let view = SettledView {
        schema: "wattstile.settlement-report/1".to_owned(),
        states: summary.states,
        sessions,
        left_out: (summary.differs + summary.extra).saturating_sub(listed),
        differs,
        extra,
        batches,
    };
    let clean = all_well
        && view.extra.is_empty()
        && view.left_out == 0
        && view.batches.iter().all(|batch| batch.faults.is_empty());
    if csv {
        output.raw(&csv_lines(view.extra.iter().map(extra_record))?)?;
    } else {
        let document =
            if output.is_json() { serde_json::to_value(&view).map_err(CliError::failed)? } else { Value::Null };
        give(output, &document, |out| {
            view.states.iter().try_for_each(|(state, count)| writeln!(out, "{state:<22}{count:>8}"))?;
            writeln!(out, "{:<22}{:>8}", "lines without session", view.extra.len())?;
            for row in &view.sessions {
                let SettledRow { session, state, priced, captured, settled, currency, .. } = row;
                writeln!(
                    out,
                    "  {BAD}{state}{BAD:#}  {session}  {currency} priced {priced}, captured {captured}, settled {settled}"
                )?;
            }
            for line in &view.differs {
                let DiffersRow { batch, row, operation, ours, theirs, currency, .. } = line;
                writeln!(
                    out,
                    "  {BAD}differs{BAD:#}  {batch} row {row}  {operation}  {currency} ours {ours}, theirs {theirs}"
                )?;
            }
            for extra in &view.extra {
                let named = extra.operation.as_deref().or(extra.reference.as_deref()).unwrap_or("-");
                let ExtraRow { batch, row, why, gross, suspense, currency, .. } = extra;
                writeln!(
                    out,
                    "  {BAD}extra{BAD:#}  {batch} row {row}  {named}  {currency} {gross}: {why}, {suspense} in suspense"
                )?;
            }
            if view.left_out > 0 {
                writeln!(out, "  and {} more lines that differ or fit nothing", view.left_out)?;
            }
            for batch in &view.batches {
                let BatchRow { processor, batch, revision, state, lines, net, suspense, fees, currency, .. } = batch;
                let count = counted(*lines, "line");
                let revision = if *revision > 1 { format!(" (revision {revision})") } else { String::new() };
                writeln!(
                    out,
                    "batch  {processor}  {batch}{revision}  {state}  {}  {currency} net {net}, fees {fees}, in suspense \
                     {suspense}",
                    count
                )?;
            }
            for batch in &view.batches {
                if let Some(reason) = &batch.reason {
                    writeln!(out, "  {WARNING}taken back{WARNING:#}  {}: {reason}", batch.batch)?;
                }
                if let Some(same) = &batch.same_as {
                    writeln!(out, "  {BAD}listed twice{BAD:#}  {} has the same lines as {same}", batch.batch)?;
                }
                batch
                    .faults
                    .iter()
                    .try_for_each(|fault| writeln!(out, "  {BAD}fault{BAD:#}  {}: {fault}", batch.batch))?;
            }
            Ok(())
        })?;
    }
    Ok(if clean { Exit::Ok } else { Exit::Failed })
}

/// Lines of a table with commas.
fn csv_lines<const N: usize>(records: impl IntoIterator<Item = [String; N]>) -> Result<String, CliError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    records.into_iter().try_for_each(|record| table.write_record(record)).map_err(CliError::failed)?;
    let bytes = table.into_inner().map_err(CliError::failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How many sessions, lines and batches there are. A gate with many of them counts for a while.
fn summary_of(source: &Source, query: &[(&str, String)]) -> Result<serde_json::Value, CliError> {
    loop {
        let found = source.get("settlement", query)?;
        // A gate of an older version has no such member, and counts at once.
        if found.get("at").is_none_or(|at| !at.is_null()) {
            return Ok(found);
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn session_record(row: &SettledRow) -> [String; 7] {
    let SettledRow { session, state, processors, priced, captured, settled, currency } = row;
    let [priced, captured, settled] = [priced, captured, settled].map(Decimal::to_string);
    [session.clone(), state.clone(), processors.join(" "), priced, captured, settled, currency.clone()]
}

fn extra_record(extra: &ExtraRow) -> [String; 7] {
    let named = extra.operation.clone().unwrap_or_default();
    let (processor, gross, currency) = (extra.processor.clone(), extra.gross.to_string(), extra.currency.clone());
    [named, "extra".to_owned(), processor, String::new(), String::new(), gross, currency]
}

fn read_batch(
    file: &Path,
    map: &Path,
    processor: &ProcessorId,
    at: Timestamp,
    (currency, skip_invalid): (Currency, bool),
) -> Result<(Batch, BadRows), CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::new(Exit::Config, format!("{}: {error}", map.display()));
    let text = read_text(open(map)?, Encoding::Utf8, CONFIG_BYTES_MAX).map_err(|fault| wrong(&fault))?;
    let columns: ColumnMap = toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
    let found = read_rows(open(file)?, &columns, currency).map_err(|error| match error {
        CsvError::Map(what) => wrong(&what),
        CsvError::LeftOut { what, write } => corrupt(file, &what).help(format!("write {write} in {}", map.display())),
        other => corrupt(file, &other),
    })?;
    if !found.bad.is_empty() && !skip_invalid {
        let skip = "--skip-invalid goes on without these rows";
        let help = found.bad.mend.as_ref().map_or(skip.to_owned(), |mend| format!("{mend}; or {skip}"));
        return Err(corrupt(file, &found.bad).help(help));
    }
    if !found.bad.is_empty() && found.rows.is_empty() {
        let help = found.bad.mend.clone().unwrap_or_else(|| "no row of the file can be read".to_owned());
        return Err(corrupt(file, &found.bad).help(help));
    }
    let id = file.file_name().unwrap_or_default().to_string_lossy().into();
    let batch = Batch { id, processor: processor.clone(), currency, at, lines: found.rows, trailer: None };
    Ok((batch, found.bad))
}

fn corrupt(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Corrupt, format!("{}: {error}", path.display()))
}

impl Compare {
    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        let ours = read_ours(open(&self.ours)?).map_err(|error| corrupt(&self.ours, &error))?;
        let reading = (self.currency, self.skip_invalid);
        let (batch, skipped) = read_batch(&self.file, &self.map, &self.processor, self.at, reading)?;
        let report = reconcile(&ours, &batch, TimeSpan::from_secs(i64::from(self.grace_hours) * 3_600));
        if let Some(path) = &self.out {
            let file = File::create(path).map_err(|error| CliError::file(path, &error))?;
            report.write_csv(file).map_err(|error| CliError::file(path, &error))?;
        }
        let answer = Answer { report: &report, skipped: &skipped };
        output.answer("reconciliation/1", &answer, |out| {
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
                let currency = pair.ours.amount.currency;
                let ours = Amount::new(pair.ours.signed(), currency);
                let difference = Amount::new(pair.difference, currency).major();
                let (row, operation, theirs) = (pair.theirs.row, pair.ours.operation, pair.theirs.gross.major());
                writeln!(
                    out,
                    "  {WARNING}differs{WARNING:#}  line {row}  {operation}  {ours} ours, {theirs} theirs: by {difference}"
                )?;
            }
            for missing in &report.missing {
                writeln!(out, "  {BAD}missing{BAD:#}  {}  {}", missing.operation, missing.amount)?;
            }
            for extra in &report.extra {
                let (theirs, why) = (&extra.theirs, extra.why.text());
                let named = theirs.operation.map(|id| id.to_string()).or(theirs.reference.as_deref().map(str::to_owned));
                let named = named.unwrap_or_else(|| "-".to_owned());
                writeln!(out, "  {BAD}extra{BAD:#}    line {}  {named}  {}: {why}", theirs.row, theirs.gross)?;
            }
            self.hints(&report, out)?;
            report.faults.iter().try_for_each(|fault| writeln!(out, "  {BAD}fault{BAD:#}    {fault}"))?;
            skipped_rows(&skipped, out)?;
            verdict(&report, skipped.is_empty(), self.currency, out)
        })?;
        Ok(if report.is_clean() && skipped.is_empty() { Exit::Ok } else { Exit::Failed })
    }
}

impl Compare {
    /// What of the map may be the reason for what differs or fits nothing.
    fn hints(&self, report: &Report, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let map = self.map.display();
        if report.extra.iter().any(|extra| extra.why == WhyExtra::WrongSign) {
            let hint = "where debits are written without a sign, `debits` says which lines they are";
            writeln!(out, "  {WARNING}hint{WARNING:#}     {map}: {hint}")?;
        }
        let scale = 10_i64.pow(u32::from(self.currency.exponent()));
        let in_minor = |pair: &Pair| pair.ours.signed().checked_mul(scale) == Some(pair.theirs.gross.minor);
        if scale > 1 && !report.differs.is_empty() && report.differs.iter().all(in_minor) {
            let hint =
                "every amount that differs is as often too large: minor_units = true reads a file that counts them";
            writeln!(out, "  {WARNING}hint{WARNING:#}     {map}: {hint}")?;
        }
        Ok(())
    }
}

/// The report, and the rows that were left out.
#[derive(serde::Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "BadRows::is_empty")]
    skipped: &'a BadRows,
}

/// Whether all is well, what the lines come to before payouts, and what was paid out.
fn verdict(report: &Report, whole: bool, currency: Currency, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let payouts = || report.other.iter().filter(|line| line.kind == LineKind::Payout);
    let paid: i128 = payouts().map(|line| i128::from(line.net.minor)).sum();
    let shown = |minor| Decimal::from_i128_with_scale(minor, u32::from(currency.exponent()));
    let net = shown(report.sums.map_or(0, |sums| sums.net) - paid);
    if report.is_clean() && whole {
        write!(out, "{GOOD}clean{GOOD:#}  net {currency} {net}")?
    } else {
        write!(out, "{BAD}not clean{BAD:#}  net {currency} {net}")?
    }
    match payouts().next() {
        Some(_) => writeln!(out, ", paid out {}", shown(-paid)),
        None => writeln!(out),
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|error| CliError::file(path, &error))
}
