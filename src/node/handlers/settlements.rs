//! Settlement batches: a part is durable before it is acknowledged, and booked once when the batch is complete.
//!
//! A processor's batches belong to the partition of its id, whichever connection they come on. Matching a batch with
//! our operations reads all sessions, live and archived, so the reconciler does that on a thread of its own:
//! [`Output::BatchDue`] starts it, and its result arrives as [`Input::Booked`](crate::node::input::Input::Booked). It also
//! books the parts of a reverted batch with exchanged sides, one input each.

use crate::billing::reconciliation::register::{BatchKey, Booking, Event, Part, Refusal};
use crate::journal::RecordKind;
use crate::message::Code;
use crate::node::delivery::Delivery;
use crate::node::input::SettlementReply;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::stored::Stored;

/// A part came in.
pub(super) fn receive(delivery: &mut Delivery<'_>, partition: &mut Partition, part: Part, reply: SettlementReply) {
    let decided = partition.settlements.receive(&part, delivery.now.wall);
    let mut refused = decided.as_ref().err().copied();
    if refused == Some(Refusal::TooMany) && forget_overdue(delivery, partition) {
        return receive(delivery, partition, part, reply);
    }
    if let Some(refusal) = refused {
        tracing::warn!(processor = %part.processor, batch = %part.batch, part = part.part, "a part of a settlement batch is refused: {refusal}");
    }
    match decided {
        Ok(Some(event)) => {
            record(delivery, partition, &event);
            wake_reconciler(delivery, partition, &(part.processor, part.batch));
        }
        Ok(None) => {}
        Err(refusal) => refused = Some(refusal),
    }
    answer(delivery, reply, refused);
}

/// A part was laid beside our operations.
pub(super) fn booked(delivery: &mut Delivery<'_>, partition: &mut Partition, booking: &Booking) {
    if let Some(event) = partition.settlements.book(booking) {
        record(delivery, partition, &event);
        delivery.archive_pages(partition);
    }
}

/// An operator has a batch taken back.
pub(super) fn revert(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    key: &BatchKey,
    reason: &str,
    reply: SettlementReply,
) {
    let decided = partition.settlements.revert(key, reason, delivery.now.wall);
    let refused = decided.as_ref().err().copied();
    if let Ok(Some(event)) = decided {
        tracing::warn!(processor = %key.0, batch = %key.1, reason, "a settlement batch is taken back");
        record(delivery, partition, &event);
    }
    wake_reconciler(delivery, partition, key);
    answer(delivery, reply, refused);
}

/// A part of a batch that is taken back is booked the other way round.
pub(super) fn unbook(delivery: &mut Delivery<'_>, partition: &mut Partition, key: &BatchKey, part: u32) {
    if let Some(event) = partition.settlements.unbook(key, part, delivery.now.wall) {
        record(delivery, partition, &event);
        delivery.archive_pages(partition);
    }
}

/// Discards one batch whose next part did not come in time. Returns whether there was one.
pub(in crate::node) fn forget_overdue(delivery: &mut Delivery<'_>, partition: &mut Partition) -> bool {
    let Some(event) = partition.settlements.overdue(delivery.now.wall) else { return false };
    if let Event::Expired((processor, batch)) = &event {
        tracing::warn!(
            %processor, %batch,
            "a settlement batch never became whole and is forgotten; sent again from its first part, it is taken"
        );
    }
    record(delivery, partition, &event);
    true
}

fn wake_reconciler(delivery: &mut Delivery<'_>, partition: &Partition, key: &BatchKey) {
    if partition.settlements.get(key).is_some_and(|batch| batch.is_due()) {
        delivery.queue(Output::BatchDue(partition.id));
    }
}

fn answer(delivery: &mut Delivery<'_>, reply: SettlementReply, refused: Option<Refusal>) {
    delivery.queue(match reply {
        SettlementReply::Callback(processor, callback) => {
            Output::Callback { processor, callback, refused: refused.map(code_of) }
        }
        SettlementReply::Order(reply) => Output::SettlementAnswer(reply, refused),
    });
}

fn record(delivery: &mut Delivery<'_>, partition: &mut Partition, event: &Event) {
    delivery.permit.append(partition.id, RecordKind::SettlementEvent, |bytes| event.store(bytes));
    partition.settled(event);
}

impl Partition {
    /// Applies a fact of settlement, live and in replay.
    pub(in crate::node) fn settled(&mut self, event: &Event) {
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

fn code_of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::DifferentPart | Refusal::DifferentBatch | Refusal::NoBatch | Refusal::TooOld => Code::CallbackDiffers,
        Refusal::Trailer => Code::SettlementDiffers,
        Refusal::TooMany => Code::NotYet,
    }
}
