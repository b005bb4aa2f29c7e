//! Orders about settlement batches: a part is brought, a list is tried, a batch is taken back.

use super::answers::{ORDER, PartBrought};
use super::batches::BatchView;
use super::object::objects;
use super::orders::known_processor;
use super::refused::Refused;
use super::views::Views;
use crate::billing::reconciliation::register::{Line, Part};
use crate::billing::reconciliation::{LineKind, SettlementLine};
use crate::host::wall_clock;
use crate::limits::{SETTLEMENT_LINES_MAX, SETTLEMENT_LINES_PER_PART, SETTLEMENT_TEXT_MAX};
use crate::units::screen::screen_reference;
use crate::units::shape::described;
use crate::units::{Currency, ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};

described! {
/// A part of a settlement batch that an operator brings, or (as `preview`) a whole list that is only tried. Amounts in minor
/// units.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchPart {
    /// The processor.
    pub processor: String,
    /// Its name.
    pub batch: String,
    /// How often the batch was taken in, counted from 1: one that was taken back comes again under the next number.
    #[serde(default = "one")]
    pub revision: u32,
    /// Counted from 1.
    pub part: u32,
    /// Whether no part comes after it.
    pub last: bool,
    /// When the money moves (RFC 3339).
    pub at: String,
    /// Of every line that names no other.
    pub currency: String,
    /// The lines.
    #[serde(deserialize_with = "objects")]
    pub lines: Vec<BatchLine>,
    /// Take it although the processor never connected and no setting names it.
    #[serde(default)]
    pub new_processor: bool,
}
}

described! {
/// A line of a settlement batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchLine {
    /// Its subject.
    pub kind: LineKind,
    /// Our operation, if the line names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The processor's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its currency, where that is not its batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Before fees.
    pub gross: i64,
    /// The processor's fee; above zero when it takes something.
    pub fee: i64,
    /// The amount paid out.
    pub net: i64,
}
}

impl BatchLine {
    /// Of a line that was read, in a batch of this currency.
    pub fn of(line: &SettlementLine, batch: Currency) -> BatchLine {
        BatchLine {
            kind: line.kind,
            operation: line.operation.map(|id| id.to_string()),
            reference: line.reference.as_deref().map(str::to_owned),
            currency: (line.gross.currency != batch).then(|| line.gross.currency.code().to_owned()),
            gross: line.gross.minor,
            fee: line.fee.minor,
            net: line.net.minor,
        }
    }
}

described! {
/// A batch is taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertBatch {
    /// The processor.
    pub processor: String,
    /// Its name.
    pub batch: String,
    /// The reason.
    pub reason: String,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

const fn one() -> u32 {
    1
}

/// Hands a part of a batch to its processor's partition, and waits until it is durable.
///
/// # Errors
/// A part that is no part, differs from the one that was brought under its number, or is not answered in time.
pub fn bring_part(views: &Views, wish: BatchPart) -> Result<PartBrought, Refused> {
    if wish.lines.len() > SETTLEMENT_LINES_PER_PART || wish.part == 0 {
        return Err(Refused::usage(format!(
            "a part has a number from 1 on, and {SETTLEMENT_LINES_PER_PART} lines at most"
        )));
    }
    let answer = PartBrought {
        schema: ORDER.to_owned(),
        processor: wish.processor.clone(),
        batch: wish.batch.clone(),
        revision: wish.revision,
        part: wish.part,
    };
    views.bring(read(views, wish)?)?;
    Ok(answer)
}

/// Matches a whole list without booking it.
///
/// # Errors
///
/// The list cannot be read, or our operations are not available.
pub fn preview(views: &Views, wish: BatchPart) -> Result<BatchView, Refused> {
    if wish.lines.len() > SETTLEMENT_LINES_MAX {
        return Err(Refused::usage(format!("a list has {SETTLEMENT_LINES_MAX} lines at most")));
    }
    let mut part = read(views, wish)?;
    let lines = std::mem::take(&mut part.lines);
    Ok(views.preview(lines, &part, part.at)?)
}

/// Takes a batch back: each of its parts is booked the other way round.
///
/// # Errors
/// There is no such batch, it is taken back already, or the reason is none.
pub fn revert_batch(views: &Views, wish: RevertBatch) -> Result<BatchView, Refused> {
    let RevertBatch { processor, batch, reason, dry_run } = wish;
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > SETTLEMENT_TEXT_MAX {
        return Err(Refused::usage(format!("a reason has 1 to {SETTLEMENT_TEXT_MAX} bytes")));
    }
    screen_reference(reason).map_err(|fault| Refused::usage(format!("the reason: {fault}")))?;
    let key = (ProcessorId::new(&processor).map_err(Refused::usage)?, batch.as_str().into());
    if !dry_run {
        views.revert(&key, reason)?;
    }
    let missing = || Refused::not_found(format!("{processor} has no batch {batch}"));
    views.batch_view(&key)?.ok_or_else(missing)
}

fn read(views: &Views, wish: BatchPart) -> Result<Part, Refused> {
    let BatchPart { processor, batch, revision, part, last, at, currency, lines, new_processor } = wish;
    let processor = ProcessorId::new(&processor).map_err(Refused::usage)?;
    if let Some(directory) = views.directory().filter(|_| !new_processor) {
        known_processor(directory, &processor, "; --new-processor imports for it all the same")?;
    }
    let at = Timestamp::parse_rfc3339(&at).map_err(Refused::usage)?;
    if at > wall_clock() {
        return Err(Refused::usage(format!("--at {at} is in the future: a batch is imported when it was paid out")));
    }
    if batch.is_empty() || batch.len() > 64 {
        return Err(Refused::usage("a batch's name has 1 to 64 bytes; --batch gives it another one than the file's"));
    }
    screen_reference(&batch).map_err(|fault| Refused::usage(format!("the batch's name: {fault}")))?;
    let line = |(number, line): (usize, BatchLine)| -> Result<Line, Refused> {
        let BatchLine { kind, operation, reference, currency, gross, fee, net } = line;
        let wrong = |what: String| Refused::usage(format!("line {number}: {what}"));
        if let Some(reference) = reference.as_deref() {
            screen_reference(reference).map_err(|fault| wrong(format!("the reference: {fault}")))?;
            if reference.len() > SETTLEMENT_TEXT_MAX {
                return Err(wrong(format!("the reference is longer than {SETTLEMENT_TEXT_MAX} bytes")));
            }
        }
        let operation = operation.map(|id| id.parse()).transpose().map_err(|error| wrong(format!("{error}")))?;
        let currency = currency.map(|code| code.parse()).transpose().map_err(|error| wrong(format!("{error}")))?;
        Ok(Line { kind, operation, reference: reference.map(Into::into), currency, gross, fee, net })
    };
    let lines = (1..).zip(lines).map(line).collect::<Result<Vec<Line>, Refused>>()?;
    Ok(Part {
        processor,
        batch: batch.as_str().into(),
        revision,
        part,
        at,
        currency: currency.parse().map_err(Refused::usage)?,
        lines,
        last,
        trailer: None,
        sha256: None,
    })
}
