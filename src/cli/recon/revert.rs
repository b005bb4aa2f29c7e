//! `recon revert`: an imported batch is taken back.

use super::import::{known, wait_for};
use crate::api::{BatchRow, BatchView, RevertBatch};
use crate::cli::gate_or_data::{Source, give};
use crate::cli::{CliError, Exit, Output};
use crate::units::{ProcessorId, counted};

#[derive(Debug, clap::Args)]
pub(super) struct Revert {
    /// The batch's name, as `recon report` shows it
    batch: String,
    /// The processor; needed where several have a batch of this name
    #[arg(long, value_name = "ID")]
    processor: Option<ProcessorId>,
    /// Why it is taken back; the report shows it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only show what would be taken back
    #[arg(long)]
    dry_run: bool,
}

impl Revert {
    pub(super) fn run(&self, source: &Source, output: &Output) -> Result<Exit, CliError> {
        let processor = self.processor(source)?;
        let missing = || CliError::not_found(format!("{processor} has no batch {}", self.batch));
        let before = known(source, &processor, &self.batch)?.ok_or_else(missing)?;
        let order = RevertBatch {
            processor: processor.clone(),
            batch: self.batch.clone(),
            reason: self.reason.clone(),
            dry_run: self.dry_run,
        };
        let answered = source.post("settlement/revert", &order)?;
        let after: BatchView = if self.dry_run {
            serde_json::from_value(answered).map_err(CliError::failed)?
        } else {
            wait_for(source, &processor, &self.batch, "reverted")?
        };
        let already = before.batch.state == "reverted";
        let document = serde_json::json!({
            "schema": "wattstile.settlement-revert/1", "processor": processor, "batch": self.batch,
            "revision": after.batch.revision, "dry_run": self.dry_run, "already_reverted": already,
            "state": after.batch.state, "reason": after.batch.reason, "lines": after.batch.lines,
            "currency": before.batch.currency, "bank": before.batch.bank, "settled": before.batch.settled,
            "fees": before.batch.fees, "suspense": before.batch.suspense,
        });
        give(output, &document, |out| {
            let (batch, count) = (&before.batch, counted(before.batch.lines, "line"));
            let what = match (already, self.dry_run) {
                (true, _) => "was taken back already",
                (false, true) => "would be taken back (nothing was changed)",
                (false, false) => "is taken back",
            };
            writeln!(out, "{}  {count}  {what}", self.batch)?;
            if !already {
                writeln!(
                    out,
                    "  {} {} settled, {} fees, {} in suspense; bank {}",
                    batch.currency, batch.settled, batch.fees, batch.suspense, batch.bank
                )?;
            }
            Ok(())
        })?;
        Ok(Exit::Ok)
    }

    /// The processor that has a batch of this name.
    fn processor(&self, source: &Source) -> Result<String, CliError> {
        if let Some(processor) = &self.processor {
            return Ok(processor.to_string());
        }
        let query = [("batch", self.batch.clone())];
        let batches: Vec<BatchRow> = source.items("settlement/batches", &query, None)?;
        let mut found: Vec<&str> = batches.iter().map(|row| &*row.processor).collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => Err(CliError::not_found(format!("there is no batch {}", self.batch))
                .help("`wattstile recon report` lists them")),
            several => {
                let text = format!("several processors have a batch {}: {}", self.batch, several.join(", "));
                Err(CliError::new(Exit::Usage, text).help("name one with --processor"))
            }
        }
    }
}
