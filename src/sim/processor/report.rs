//! A document of a simulated processor's books, for comparison with the gate's books.

use super::{HoldState, Misbehaviour, Processor, Violations};
use crate::units::HoldId;
use serde::Serialize;
use std::collections::BTreeMap;

/// The books of one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BooksReport {
    /// Name and version of this document's shape.
    pub schema: &'static str,
    /// The processor.
    pub processor: String,
    /// The seed of its random numbers.
    pub seed: u64,
    /// Operations received by kind, repetitions included.
    pub operations: BTreeMap<&'static str, u64>,
    /// Holds by state.
    pub holds: BTreeMap<&'static str, u64>,
    /// Money by currency code, in minor units.
    pub totals: BTreeMap<&'static str, Totals>,
    /// Requests that the gate should never have sent.
    pub violations: Violations,
    /// How often the processor misbehaved.
    pub misbehaved: BTreeMap<&'static str, u64>,
    /// Every hold, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_lines: Option<Vec<HoldLine>>,
}

/// Sums over all holds of a currency, in minor units. `authorized = captured + released + open` at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Reserved, at the last total of each hold.
    pub authorized_minor: i64,
    /// Taken.
    pub captured_minor: i64,
    /// Given back after it was taken.
    pub refunded_minor: i64,
    /// Taken back by the driver's bank in a dispute that was lost.
    pub charged_back_minor: i64,
    /// Released or lapsed.
    pub released_minor: i64,
    /// Still reserved.
    pub open_minor: i64,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldLine {
    /// The gate's name for it.
    #[serde(serialize_with = "as_text")]
    pub hold: HoldId,
    /// Its state.
    pub state: HoldState,
    /// Currency code.
    pub currency: &'static str,
    /// Reserved total.
    pub authorized_minor: i64,
    /// Taken.
    pub captured_minor: i64,
    /// Given back.
    pub refunded_minor: i64,
    /// Released or lapsed.
    pub released_minor: i64,
}

fn as_text<S: serde::Serializer>(hold: &HoldId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hold)
}

impl HoldState {
    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            HoldState::Open => "open",
            HoldState::Captured => "captured",
            HoldState::Voided => "voided",
            HoldState::Expired => "expired",
            HoldState::CaptureFailed => "capture_failed",
        }
    }
}

impl Processor {
    /// The books as a document; `every_hold` adds a line per hold.
    pub fn report(&self, every_hold: bool) -> BooksReport {
        let mut holds = BTreeMap::new();
        let mut totals: BTreeMap<&'static str, Totals> = BTreeMap::new();
        let mut lines = every_hold.then(Vec::new);
        for (id, hold) in self.books.holds() {
            *holds.entry(hold.state.name()).or_default() += 1;
            let sum = totals.entry(hold.authorized.currency.code()).or_default();
            sum.authorized_minor += hold.authorized.minor;
            sum.captured_minor += hold.captured_minor;
            sum.refunded_minor += hold.refunded_minor;
            sum.charged_back_minor += hold.charged_back_minor;
            sum.released_minor += hold.released_minor;
            if hold.state == HoldState::Open {
                sum.open_minor += hold.authorized.minor - hold.captured_minor;
            }
            if let Some(lines) = &mut lines {
                lines.push(HoldLine {
                    hold: *id,
                    state: hold.state,
                    currency: hold.authorized.currency.code(),
                    authorized_minor: hold.authorized.minor,
                    captured_minor: hold.captured_minor,
                    refunded_minor: hold.refunded_minor,
                    released_minor: hold.released_minor,
                });
            }
        }
        BooksReport {
            schema: "wattstile.processor-books/1",
            processor: self.settings.id.to_string(),
            seed: self.settings.seed,
            operations: self.received().iter().map(|(kind, count)| (kind_name(*kind), *count)).collect(),
            holds,
            totals,
            violations: self.books.violations(),
            misbehaved: self
                .misbehaved()
                .iter()
                .map(|(kind, count): (&Misbehaviour, _)| (kind.name(), *count))
                .collect(),
            hold_lines: lines,
        }
    }
}

fn kind_name(kind: crate::payment::OperationKind) -> &'static str {
    use crate::payment::OperationKind;
    match kind {
        OperationKind::Authorize => "authorize",
        OperationKind::Increment => "increment",
        OperationKind::Decrement => "decrement",
        OperationKind::Capture => "capture",
        OperationKind::Void => "void",
        OperationKind::Refund => "refund",
        OperationKind::Inquire => "inquire",
    }
}
