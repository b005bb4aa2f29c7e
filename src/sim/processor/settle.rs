//! Settlement: what a simulated processor pays out, batch by batch.

use super::script::Aftermath;
use super::{Processor, WorkedOn};
use crate::limits;
use crate::message::{SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};
use crate::payment::{Outcome, Request};
use crate::sim::processor::HoldState;
use crate::units::{Currency, HoldId, OpId, Timestamp};
use std::collections::BTreeMap;

/// What it keeps of every capture: 1.4 % and 10 minor units.
const FEE_PER_MILLE: i64 = 14;
const FEE_MINOR: i64 = 10;

impl Processor {
    /// A batch for each currency in which money moved since the last one, in parts as they go over the wire.
    pub fn settle(&mut self, now: Timestamp) -> Vec<SettlementPart> {
        let mut by_currency: BTreeMap<Currency, Vec<SettlementLine>> = BTreeMap::new();
        for (id, seen) in &self.seen {
            let Some((currency, line)) = seen.worked.as_ref().and_then(|worked| self.line(*id, worked)) else {
                continue;
            };
            if self.settled.insert(*id) {
                by_currency.entry(currency).or_default().push(line);
            }
        }
        let mut parts = Vec::new();
        for (currency, lines) in by_currency {
            let batch = self.callback().0;
            let trailer = SettlementTrailer::of(&lines);
            let chunks: Vec<&[SettlementLine]> = lines.chunks(limits::SETTLEMENT_LINES_PER_PART).collect();
            for (index, chunk) in chunks.iter().enumerate() {
                parts.push(SettlementPart {
                    callback: self.callback(),
                    batch,
                    part: u32::try_from(index + 1).unwrap_or(u32::MAX),
                    value_day: i32::try_from(now.unix_ms().div_euclid(86_400_000)).unwrap_or(i32::MAX),
                    currency,
                    lines: chunk.to_vec(),
                    trailer: trailer.filter(|_| index + 1 == chunks.len()),
                });
            }
        }
        parts
    }

    fn refund_fails(&self, hold: HoldId) -> bool {
        self.books.hold(hold).is_some_and(|hold| hold.script.aftermath == Some(Aftermath::RefundFailed))
    }

    /// The line of an operation that moved money, unless the money never came.
    fn line(&self, id: OpId, worked: &WorkedOn) -> Option<(Currency, SettlementLine)> {
        let Outcome::Approved { amount, .. } = &worked.outcome else { return None };
        let (kind, gross, fee) = match worked.request {
            Request::Capture { .. } => {
                let lost = self.books.hold(worked.hold).is_none_or(|hold| hold.state == HoldState::CaptureFailed);
                let fee = amount.minor.saturating_mul(FEE_PER_MILLE) / 1_000 + FEE_MINOR;
                (!lost).then_some((SettlementKind::Capture, amount.minor, fee))?
            }
            // A refund that failed has given nothing back.
            Request::Refund { .. } if self.refund_fails(worked.hold) => return None,
            Request::Refund { .. } => (SettlementKind::Refund, amount.minor.saturating_neg(), 0),
            _ => return None,
        };
        // On the wire, what is taken is below zero.
        let line = SettlementLine { operation: Some(id), kind, gross, fee: -fee, net: gross.saturating_sub(fee) };
        Some((amount.currency, line))
    }
}
