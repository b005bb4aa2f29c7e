//! Settlement batches: a part is durable before it is acknowledged, and booked once when the batch is complete.
//!
//! A processor's batches belong to the partition of its id, whichever connection they come on. Matching a batch with
//! our operations reads all sessions, live and archived, so the reconciler does that on a thread of its own:
//! [`Output::BatchDue`] starts it, and its result arrives as [`Input::Booked`](super::input::Input::Booked). It also
//! books the parts of a reverted batch with exchanged sides, one input each.

use crate::billing::reconciliation::register::{BatchKey, Booking, Event, Part, Refusal};
use crate::journal::RecordKind;
use crate::message::Code;
use crate::node::delivery::Delivery;
use crate::node::input::SettlementReply;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::stored::Stored;

impl Delivery<'_> {
    /// A part came in.
    pub(in crate::node) fn settlement(&mut self, partition: &mut Partition, part: Part, reply: SettlementReply) {
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
    pub(in crate::node) fn booked(&mut self, partition: &mut Partition, booking: &Booking) {
        if let Some(event) = partition.settlements.book(booking) {
            self.settle(partition, &event);
            self.archive_pages(partition);
        }
    }

    /// An operator has a batch taken back.
    pub(in crate::node) fn revert_batch(
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
    pub(in crate::node) fn unbook_part(&mut self, partition: &mut Partition, key: &BatchKey, part: u32) {
        if let Some(event) = partition.settlements.unbook(key, part, self.now.wall) {
            self.settle(partition, &event);
            self.archive_pages(partition);
        }
    }

    /// Discards one batch whose next part did not come in time. Returns whether there was one.
    pub(in crate::node) fn forget_overdue_batch(&mut self, partition: &mut Partition) -> bool {
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

    pub(in crate::node) fn wake_reconciler(&mut self, partition: &Partition, key: &BatchKey) {
        if partition.settlements.get(key).is_some_and(|batch| batch.is_due()) {
            self.queue(Output::BatchDue(partition.id));
        }
    }

    pub(in crate::node) fn reply_settlement(&mut self, reply: SettlementReply, refused: Option<Refusal>) {
        self.queue(match reply {
            SettlementReply::Callback(processor, callback) => {
                Output::Callback { processor, callback, refused: refused.map(code_of) }
            }
            SettlementReply::Order(told) => Output::SettlementAnswer(told, refused),
        });
    }

    pub(in crate::node) fn settle(&mut self, partition: &mut Partition, event: &Event) {
        self.permit.append(partition.id, RecordKind::SettlementEvent, |bytes| event.store(bytes));
        partition.settled(event);
    }
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
