//! `recon import`: sends a settlement file to the gate, and shows the bookings.

use super::read_batch;
use crate::api::{BatchLine, BatchPart, BatchView, LineRow};
use crate::billing::reconciliation::table::BadRows;
use crate::billing::reconciliation::{BatchFault, SettlementLine};
use crate::cli::gate_or_data::{Source, give};
use crate::cli::output::{BAD, WARNING};
use crate::cli::replay::skipped_rows;
use crate::cli::{CliError, Exit, Output};
use crate::limits::{SETTLEMENT_LINES_LISTED, SETTLEMENT_LINES_PER_PART, SETTLEMENT_PREVIEW_BYTES_MAX};
use crate::units::{Currency, ProcessorId, Timestamp, counted};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The processor's settlement file
    file: PathBuf,
    /// Which of its columns is what: a TOML file
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// The processor
    #[arg(long, value_name = "ID")]
    processor: ProcessorId,
    /// When the batch was paid out (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    at: Timestamp,
    /// The batch's currency
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    currency: Currency,
    /// The batch's name; without it, that of the file
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// Go on without the rows that cannot be read: they are counted, and the verb ends with 1
    #[arg(long)]
    skip_invalid: bool,
    /// Take it although the processor never connected and is not configured
    #[arg(long)]
    new_processor: bool,
    /// Only show what would be booked
    #[arg(long)]
    dry_run: bool,
}

/// How long it is waited until the gate has booked a batch, or taken it back.
const BOOKED_WITHIN: Duration = Duration::from_secs(120);

/// The batch as the gate has it; none when it has none of that name.
pub(super) fn known(source: &Source, processor: &str, batch: &str) -> Result<Option<BatchView>, CliError> {
    let query = [("processor", processor.to_owned()), ("batch", batch.to_owned())];
    match source.get("settlement/batch", &query) {
        Ok(document) => serde_json::from_value(document).map(Some).map_err(CliError::failed),
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until a batch is in this state.
pub(super) fn wait_for(source: &Source, processor: &str, batch: &str, state: &str) -> Result<BatchView, CliError> {
    let until = Instant::now() + BOOKED_WITHIN;
    loop {
        let view = known(source, processor, batch)?;
        match view {
            Some(view) if view.batch.state == state => return Ok(view),
            _ if Instant::now() >= until => {
                let text = format!("the gate has batch {batch}, and it is not {state} yet");
                return Err(CliError::new(Exit::Temporary, text).help("ask again later with `wattstile recon report`"));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl Import {
    pub(super) fn run(&self, source: &Source, output: &Output) -> Result<Exit, CliError> {
        let reading = (self.currency, self.skip_invalid);
        let (batch, skipped) = read_batch(&self.file, &self.map, &self.processor, self.at, reading)?;
        let name = self.batch.clone().unwrap_or_else(|| batch.id.to_string());
        let before = known(source, self.processor.as_str(), &name)?;
        let revision = before.as_ref().map_or(1, |view| match view.batch.state.as_str() {
            "reverted" => view.batch.revision.saturating_add(1),
            _ => view.batch.revision,
        });
        let part = |number: usize, lines: &[SettlementLine], last: bool| -> Result<BatchPart, CliError> {
            Ok(BatchPart {
                processor: self.processor.to_string(),
                batch: name.clone(),
                revision,
                part: u32::try_from(number).map_err(CliError::failed)?,
                last,
                at: self.at.to_rfc3339(),
                currency: self.currency.code().to_owned(),
                lines: lines.iter().map(|found| BatchLine::of(found, self.currency)).collect(),
                new_processor: self.new_processor,
            })
        };
        let (view, already) = if self.dry_run {
            let whole = part(1, &batch.lines, true)?;
            let bytes = serde_json::to_vec(&whole).map_err(CliError::failed)?.len();
            if bytes > SETTLEMENT_PREVIEW_BYTES_MAX {
                let text =
                    format!("the file is too long to be tried: {bytes} bytes, at most {SETTLEMENT_PREVIEW_BYTES_MAX}");
                return Err(
                    CliError::new(Exit::Usage, text).help("split it, or import it and take it back if it is wrong")
                );
            }
            (source.preview(&whole)?, false)
        } else {
            let parts: Vec<&[SettlementLine]> = batch.lines.chunks(SETTLEMENT_LINES_PER_PART).collect();
            if parts.is_empty() {
                let text = format!("{}: no line is left to import", self.file.display());
                return Err(
                    CliError::new(Exit::Corrupt, text).help("its lines are skipped by the map, or there are none")
                );
            }
            for (index, lines) in parts.iter().enumerate() {
                source.post("settlement/parts", &part(index + 1, lines, index + 1 == parts.len())?)?;
            }
            let already = before.is_some_and(|view| matches!(view.batch.state.as_str(), "booked" | "received"));
            let view = wait_for(source, self.processor.as_str(), &name, "booked")?;
            let query = [("processor", self.processor.to_string()), ("batch", name.clone())];
            let lines: Vec<LineRow> =
                source.items("settlement/batch/lines", &query, Some(SETTLEMENT_LINES_LISTED as u64))?;
            (BatchView { lines, ..view }, already)
        };
        let answer = Answer { view: &view, lines: &batch.lines, skipped: &skipped, already, dry_run: self.dry_run };
        give(output, &answer.document(), |out| answer.text(out))?;
        Ok(if answer.is_clean() { Exit::Ok } else { Exit::Failed })
    }
}

/// The gate's answer, with the lines of the file.
struct Answer<'a> {
    view: &'a BatchView,
    lines: &'a [SettlementLine],
    skipped: &'a BadRows,
    already: bool,
    dry_run: bool,
}

impl Answer<'_> {
    fn count(&self, state: &str) -> u64 {
        self.view.counts.get(state).copied().unwrap_or(0)
    }

    fn is_clean(&self) -> bool {
        let wrong: u64 = ["differs", "extra", "set aside"].map(|state| self.count(state)).iter().sum();
        wrong == 0 && self.skipped.is_empty() && self.faults().next().is_none()
    }

    /// The fault in the lines themselves, by their places in the file.
    fn faults(&self) -> impl Iterator<Item = BatchFault> + '_ {
        let currency = self.view.batch.currency.parse().ok();
        let faults =
            self.lines.iter().flat_map(move |line| currency.map_or(Vec::new(), |currency| line.faults(currency)));
        faults.take(100)
    }

    /// The line of the file in which a row of the batch stands.
    fn place(&self, row: u64) -> u64 {
        let index = usize::try_from(row).ok().and_then(|row| row.checked_sub(1));
        index.and_then(|index| self.lines.get(index)).map_or(row, |line| line.row)
    }

    fn document(&self) -> serde_json::Value {
        let batch = &self.view.batch;
        let rows: Vec<serde_json::Value> = self
            .view
            .lines
            .iter()
            .map(|row| {
                let mut shown = serde_json::to_value(row).unwrap_or_default();
                shown["line"] = self.place(row.row).into();
                shown
            })
            .collect();
        json!({
            "schema": "wattstile.settlement-import/1", "processor": batch.processor, "batch": batch.batch,
            "revision": batch.revision, "dry_run": self.dry_run, "already_known": self.already, "same_as": batch.same_as,
            "skipped": self.skipped, "lines": batch.lines, "matched": self.count("matched"),
            "differs": self.count("differs"), "extra": self.count("extra"), "set_aside": self.count("set aside"),
            "other": self.count("other"), "bank": batch.bank, "settled": batch.settled, "fees": batch.fees,
            "suspense": batch.suspense, "currency": batch.currency, "rows": rows,
            "faults": self.faults().map(|fault| fault.to_string()).collect::<Vec<_>>(),
        })
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let batch = &self.view.batch;
        let note = match (self.dry_run, self.already) {
            (true, _) => "  (nothing was changed)",
            (false, true) => "  (known already: nothing was booked again)",
            (false, false) => "",
        };
        let revision = if batch.revision > 1 { format!(" (revision {})", batch.revision) } else { String::new() };
        writeln!(out, "{}{revision}  {}{note}", batch.batch, counted(batch.lines, "line"))?;
        let piles = [
            ("matched", "matched"),
            ("amount differs", "differs"),
            ("extra", "extra"),
            ("fees, payouts", "other"),
            ("set aside", "set aside"),
        ];
        for (name, state) in piles.iter().filter(|(_, state)| *state != "set aside" || self.count(state) > 0) {
            writeln!(out, "  {name:<16}{:>8}", self.count(state))?;
        }
        let (currency, booked) = (&batch.currency, if self.dry_run { "would be booked" } else { "booked" });
        writeln!(
            out,
            "  {booked}: {currency} {} settled, {} fees, {} in suspense; bank {}",
            batch.settled, batch.fees, batch.suspense, batch.bank
        )?;
        if let Some(same) = &batch.same_as {
            writeln!(
                out,
                "  {BAD}listed twice{BAD:#}  every line stands in batch {same} already; nothing of it is settled again"
            )?;
            let hint = "to take this one out of suspense, take it back: wattstile recon revert";
            writeln!(out, "  {WARNING}hint{WARNING:#}     {hint} {} --processor {}", batch.batch, batch.processor)?;
        }
        skipped_rows(self.skipped, out)?;
        for row in &self.view.lines {
            self.row(row, out)?;
        }
        let listed = u64::try_from(self.view.lines.len()).unwrap_or(u64::MAX);
        let wrong: u64 = ["differs", "extra", "set aside"].map(|state| self.count(state)).iter().sum();
        if wrong > listed {
            writeln!(out, "  and {} more", wrong - listed)?;
        }
        self.faults().try_for_each(|fault| writeln!(out, "  {BAD}fault{BAD:#}    {fault}"))
    }

    fn row(&self, row: &LineRow, out: &mut dyn Write) -> io::Result<()> {
        let (line, currency, gross) = (self.place(row.row), &row.currency, row.gross);
        let named = row.operation.as_deref().or(row.reference.as_deref()).unwrap_or("-");
        let why = row.why.as_deref().unwrap_or("");
        match (row.state.as_str(), row.ours) {
            ("differs", Some(ours)) => {
                writeln!(out, "  {BAD}differs{BAD:#}  line {line}  {named}  {currency} ours {ours}, theirs {gross}")
            }
            ("set aside", _) => {
                writeln!(out, "  {BAD}set aside{BAD:#}  line {line}  {named}  {currency} {gross}: {why}")
            }
            (_, _) => {
                writeln!(out, "  {BAD}extra{BAD:#}    line {line}  {named}  {currency} {gross}: {why}, in suspense")
            }
        }
    }
}
