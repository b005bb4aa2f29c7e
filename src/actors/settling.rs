//! Settlement batches: a part is durable before its processor hears of it, and booked once when the batch is whole.
//!
//! A processor's batches live in the partition of its id, whichever connection they come on. To lay a batch beside our
//! operations takes a look at all sessions, live and archived, so that is done by somebody who has the time
//! ([`Output::BatchWhole`] tells him), and comes back as [`Input::Booked`](super::shard::Input::Booked).

use super::delivery::Delivery;
use super::encoding::encode;
use super::output::{Output, SettlementReply};
use super::partition::Partition;
use crate::billing::reconciliation::register::{Booking, Event, Line, Part, Refusal};
use crate::billing::reconciliation::{LineKind, Trailer};
use crate::journal::RecordKind;
use crate::units::{PartitionId, ProcessorId, TimeSpan, Timestamp};
use crate::wire::{Code, SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};

impl Delivery<'_> {
    /// A part came in.
    pub(super) fn settlement(&mut self, partition: &mut Partition, part: Part, reply: SettlementReply) {
        let decided = partition.settlements.receive(&part);
        let refused = match &decided {
            Ok(_) => None,
            Err(refusal) => {
                tracing::warn!(processor = %part.processor, batch = %part.batch, part = part.part, "a part of a settlement batch is refused: {refusal}");
                Some(code_of(*refusal))
            }
        };
        if let Ok(Some(event)) = decided {
            self.settle(partition, &event);
            let key = (part.processor, part.batch);
            if partition.settlements.get(&key).is_some_and(|batch| batch.is_whole() && !batch.is_booked()) {
                self.queue(Output::BatchWhole(partition.id));
            }
        }
        self.queue(match reply {
            SettlementReply::Callback(processor, callback) => Output::Callback { processor, callback, refused },
            SettlementReply::Order(told) => Output::SettlementTold(told, refused),
        });
    }

    /// A part was laid beside our operations.
    pub(super) fn booked(&mut self, partition: &mut Partition, booking: &Booking) {
        if let Some(event) = partition.settlements.book(booking) {
            self.settle(partition, &event);
            self.put_pages_away(partition);
        }
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
        if let Event::Booked(booking) = event {
            for entry in &booking.entries {
                self.books.post(entry);
            }
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
    Line { kind, operation: found.operation, reference: None, gross: found.gross, fee, net: found.net }
}

fn code_of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::DifferentPart | Refusal::DifferentBatch => Code::CallbackDiffers,
        Refusal::Trailer => Code::SettlementDiffers,
        Refusal::TooMany => Code::NotYet,
    }
}
