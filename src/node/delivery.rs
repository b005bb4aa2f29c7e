//! The delivery of one input to the actors of a partition: their events are journaled under one permit, and their effects
//! are queued until these are durable. The handlers of inputs are in [`super::handlers`].

use super::fact;
use super::hosted::Slot;
use super::node_config::NodeConfig;
use super::output::Output;
use super::partition::Partition;
use super::reference::{ChargerRef, TimerTarget};
use super::reply::{Ordered, ReplyTo};
use super::timer_wheel::TimerWheel;
use crate::journal::{OutputBuffer, Permit, RecordKind};
use crate::message::ToCharger;
use crate::tariff::Tariff;
use crate::units::Now;
use std::sync::Arc;

/// The delivery of one input. The order is: decide, apply, append, queue, arm.
pub(super) struct Delivery<'a> {
    pub permit: Permit<'a>,
    pub gate: &'a mut OutputBuffer<Output>,
    pub timers: &'a mut TimerWheel<TimerTarget>,
    pub node_config: &'a NodeConfig,
    /// Index of the partition in its shard.
    pub local: u16,
    pub now: Now,
}

impl Delivery<'_> {
    /// Queues the result of an order, when its receiver waits for it.
    pub(super) fn reply(&mut self, reply: Option<ReplyTo>, ordered: Ordered) {
        if let Some(reply) = reply {
            self.queue(Output::Ordered(Box::new((reply, ordered))));
        }
    }

    /// Writes a tariff down before the first session of a partition that has it.
    pub(super) fn pin(&mut self, partition: &mut Partition, tariff: &Arc<Tariff>) {
        if partition.pinned(&tariff.hash()).is_none() {
            let (hash, text) = (tariff.hash(), tariff.source());
            self.permit.append(partition.id, RecordKind::TariffPinned, |bytes| fact::write_pinned(hash, text, bytes));
            partition.pin(tariff.clone());
        }
    }

    /// Queues a message for a charger.
    pub(super) fn send(&mut self, slot: Slot, message: ToCharger) {
        self.queue(Output::Charger(self.charger_ref(slot), Box::new(message)));
    }

    /// The reference to a charger of this partition.
    pub(super) fn charger_ref(&self, slot: Slot) -> ChargerRef {
        ChargerRef { partition: self.local, slot }
    }

    /// Full pages of the books are for the archive. The facts that filled them are appended before: a page leaves when they are
    /// durable.
    pub fn archive_pages(&mut self, partition: &mut Partition) {
        while let Some(number) = partition.books.pages.hand_over() {
            self.queue(Output::ArchivePage(partition.id, number));
        }
    }

    /// Everything leaves through the gate, refusals included: they are computed from the state.
    pub(super) fn queue(&mut self, output: Output) {
        self.gate.push(self.permit.position(), output);
    }
}
