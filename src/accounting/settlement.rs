//! Settlement without the shards: a processor's part in the words of reconciliation, and what our side of it is.

use crate::account::account_of;
use crate::billing::reconciliation::register::{Line, Part};
use crate::billing::reconciliation::{Flow, LineKind, Ours, Trailer};
use crate::message::{SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};
use crate::payment::{DisputeState, Final, OperationKind, Payment};
use crate::session::Session;
use crate::units::{Amount, PartitionId, ProcessorId, TimeSpan, Timestamp};

/// The partition in which a processor's batches live.
pub fn partition_of(processor: &ProcessorId, partitions: u16) -> PartitionId {
    PartitionId::of(processor.as_str(), partitions)
}

/// A part as it came over the protocol, in the words of reconciliation; `None` when it is a whole batch and its hash is not
/// that of its lines. The hash of a batch in several parts, and the sums, are checked when it is whole.
pub fn read(processor: &ProcessorId, part: &SettlementPart) -> Option<Part> {
    if let Some(trailer) = part.trailer.filter(|_| part.part == 1) {
        let of_lines = SettlementTrailer::of(&part.lines)?;
        if trailer.sha256 != of_lines.sha256 {
            return None;
        }
    }
    let day = TimeSpan::from_secs(i64::from(part.value_day).saturating_mul(24 * 3_600));
    Some(Part {
        processor: processor.clone(),
        batch: format!("{:032x}", part.batch).into(),
        revision: 1,
        part: part.part,
        at: Timestamp::from_unix_ms(0).saturating_add(day),
        currency: part.currency,
        lines: part.lines.iter().map(line).collect(),
        last: part.trailer.is_some(),
        trailer: part.trailer.map(|trailer| Trailer {
            count: u64::from(trailer.lines),
            gross: i128::from(trailer.gross),
            fee: -i128::from(trailer.fee),
            net: i128::from(trailer.net),
        }),
        sha256: part.trailer.map(|trailer| trailer.sha256),
    })
}

/// On the wire a fee that is taken is below zero; in the books it is a cost.
fn line(found: &SettlementLine) -> Line {
    let kind = match found.kind {
        SettlementKind::Capture => LineKind::Capture,
        SettlementKind::Refund => LineKind::Refund,
        SettlementKind::Fee => LineKind::Fee,
        SettlementKind::Chargeback => LineKind::Chargeback,
        SettlementKind::ChargebackReversal => LineKind::ChargebackReversal,
        SettlementKind::Adjustment => LineKind::Adjustment,
        SettlementKind::Reserve => LineKind::Reserve,
        SettlementKind::Payout => LineKind::Payout,
    };
    let fee = found.fee.saturating_neg();
    Line { kind, operation: found.operation, reference: None, currency: None, gross: found.gross, fee, net: found.net }
}

/// What a payment moved at outside processors: captures, refunds, and disputes of captures. `at` is when.
pub fn moved(payment: &Payment, at: Timestamp) -> Vec<(ProcessorId, Ours)> {
    let of_hold = |hold, operation, kind, minor| {
        let hold = payment.hold(hold)?;
        if account_of(hold.processor()).is_some() {
            return None;
        }
        let reference = hold.processor_ref.as_ref().map(|name| name.0.clone()).unwrap_or_default();
        let operation = payment.id().operation(operation);
        let amount = Amount::new(minor, payment.currency());
        Some((hold.processor().clone(), Ours { operation, kind, reference, amount, at }))
    };
    let approved = payment.past_operations().iter().filter(|past| past.result == Final::Approved);
    let operations = approved.filter_map(|past| {
        let kind = match past.kind {
            OperationKind::Capture => Flow::Capture,
            OperationKind::Refund => Flow::Refund,
            _ => return None,
        };
        of_hold(past.hold, past.number.0, kind, past.amount_minor)
    });
    let disputes = (0_u16..).zip(payment.disputes()).flat_map(|(index, dispute)| {
        let number = DISPUTES | index << 1;
        let won = dispute.state == DisputeState::Won;
        let opened = of_hold(dispute.hold, number, Flow::Dispute, dispute.amount_minor);
        let back = won.then(|| of_hold(dispute.hold, number | 1, Flow::DisputeWon, dispute.amount_minor));
        opened.into_iter().chain(back.flatten())
    });
    operations.chain(disputes).collect()
}

/// A dispute has no operation of its own: in reconciliation it is known by a number above those of operations.
const DISPUTES: u16 = 0x4000;

/// What a session moved at outside processors, dated by when its money was settled, or else by its end.
pub fn of_session(session: &Session) -> Vec<(ProcessorId, Ours)> {
    let at = session.settled_at().or_else(|| session.ended().map(|ended| ended.known_at)).unwrap_or(session.opened_at);
    moved(&session.payment, at)
}

/// Captures less refunds, in minor units.
pub fn kept(payment: &Payment) -> i64 {
    payment.captured().minor.saturating_sub(payment.refunded().minor)
}
