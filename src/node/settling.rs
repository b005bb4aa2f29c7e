//! Settlement batches: a part is durable before its processor hears of it, and booked once when the batch is whole.
//!
//! A processor's batches live in the partition of its id, whichever connection they come on. Laying a batch beside our
//! operations takes a look at all sessions, live and archived, so the reconciler does that on a thread of its own:
//! [`Output::BatchDue`] wakes it, and what it found comes back as [`Input::Booked`](super::shard::Input::Booked). It also has the parts
//! of a batch that is taken back booked the other way round, one input each.

use super::delivery::Delivery;
use super::encoding::encode;
use super::house::account_of;
use super::output::{Output, SettlementReply};
use super::partition::Partition;
use crate::billing::reconciliation::register::{BatchKey, Booking, Event, Line, Part, Refusal};
use crate::billing::reconciliation::{Flow, LineKind, Ours, Trailer};
use crate::journal::RecordKind;
use crate::message::{Code, SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};
use crate::payment::{DisputeState, Final, OperationKind, Payment};
use crate::units::{Amount, PartitionId, ProcessorId, TimeSpan, Timestamp};

impl Delivery<'_> {
    /// A part came in.
    pub(super) fn settlement(&mut self, partition: &mut Partition, part: Part, reply: SettlementReply) {
        let decided = partition.settlements.receive(&part, self.now.wall);
        let mut refused = decided.as_ref().err().copied();
        if refused == Some(Refusal::TooMany) && self.forget_overdue_batch(partition) {
            return self.settlement(partition, part, reply);
        }
        if let Some(refusal) = refused {
            tracing::warn!(processor = %part.processor, batch = %part.batch, part = part.part, "a part of a settlement batch is refused: {refusal}");
        }
        match decided {
            Ok(Some(event)) => {
                self.settle(partition, &event);
                self.wake_reconciler(partition, &(part.processor, part.batch));
            }
            Ok(None) => {}
            Err(refusal) => refused = Some(refusal),
        }
        self.reply_settlement(reply, refused);
    }

    /// A part was laid beside our operations.
    pub(super) fn booked(&mut self, partition: &mut Partition, booking: &Booking) {
        if let Some(event) = partition.settlements.book(booking) {
            self.settle(partition, &event);
            self.put_pages_away(partition);
        }
    }

    /// An operator has a batch taken back.
    pub(super) fn revert_batch(
        &mut self,
        partition: &mut Partition,
        key: &BatchKey,
        reason: &str,
        reply: SettlementReply,
    ) {
        let decided = partition.settlements.revert(key, reason, self.now.wall);
        let refused = decided.as_ref().err().copied();
        if let Ok(Some(event)) = decided {
            tracing::warn!(processor = %key.0, batch = %key.1, reason, "a settlement batch is taken back");
            self.settle(partition, &event);
        }
        self.wake_reconciler(partition, key);
        self.reply_settlement(reply, refused);
    }

    /// A part of a batch that is taken back is booked the other way round.
    pub(super) fn unbook_part(&mut self, partition: &mut Partition, key: &BatchKey, part: u32) {
        if let Some(event) = partition.settlements.unbook(key, part, self.now.wall) {
            self.settle(partition, &event);
            self.put_pages_away(partition);
        }
    }

    /// Forgets one batch whose next part did not come in time. Returns whether there was one.
    pub(super) fn forget_overdue_batch(&mut self, partition: &mut Partition) -> bool {
        let Some(event) = partition.settlements.overdue(self.now.wall) else { return false };
        if let Event::Expired((processor, batch)) = &event {
            tracing::warn!(
                %processor, %batch,
                "a settlement batch never became whole and is forgotten; sent again from its first part, it is taken"
            );
        }
        self.settle(partition, &event);
        true
    }

    fn wake_reconciler(&mut self, partition: &Partition, key: &BatchKey) {
        if partition.settlements.get(key).is_some_and(|batch| batch.is_due()) {
            self.queue(Output::BatchDue(partition.id));
        }
    }

    fn reply_settlement(&mut self, reply: SettlementReply, refused: Option<Refusal>) {
        self.queue(match reply {
            SettlementReply::Callback(processor, callback) => {
                Output::Callback { processor, callback, refused: refused.map(code_of) }
            }
            SettlementReply::Order(told) => Output::SettlementTold(told, refused),
        });
    }

    fn settle(&mut self, partition: &mut Partition, event: &Event) {
        self.permit.append(partition.id, RecordKind::SettlementEvent, |bytes| encode(event, bytes));
        partition.settled(event);
    }
}

impl Partition {
    /// Folds a fact of settlement, live and while replaying.
    pub(super) fn settled(&mut self, event: &Event) {
        self.settlements.apply(event);
        let entries = match event {
            Event::Booked(booking) => &booking.entries,
            Event::Reverted(reversal) => &reversal.entries,
            Event::Received(..) | Event::Expired(_) | Event::RevertOrdered(_) => return,
        };
        for entry in entries {
            self.books.post(entry);
        }
    }
}

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

fn code_of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::DifferentPart | Refusal::DifferentBatch | Refusal::NoBatch | Refusal::TooOld => Code::CallbackDiffers,
        Refusal::Trailer => Code::SettlementDiffers,
        Refusal::TooMany => Code::NotYet,
    }
}

/// What a payment moved at outside processors: captures, refunds, and disputes of captures. `at` is when.
pub fn moved(payment: &Payment, at: Timestamp) -> Vec<(ProcessorId, Ours)> {
    let of_hold = |hold, operation, kind, minor| {
        let hold = payment.hold(hold)?;
        if account_of(hold.processor()).is_some() {
            return None;
        }
        let reference = hold.processor_ref.as_ref().map(|name| name.0.clone()).unwrap_or_default();
        let operation = payment.session().operation(operation);
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
