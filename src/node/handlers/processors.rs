//! The stored facts on the processors of a partition, and the list of processors for routing.
//!
//! A processor belongs to the partition of its id, like its settlement batches. Routing uses the shared list: a
//! stored processor is in it as not connected, until it connects.

use crate::journal::RecordKind;
use crate::node::delivery::Delivery;
use crate::node::node_config::NodeConfig;
use crate::node::partition::Partition;
use crate::node::reply::{Ordered, ReplyTo};
use crate::payment::Capabilities;
use crate::payment::known_processor::Event;
use crate::stored::Stored;
use crate::units::ProcessorId;

/// A processor connected.
pub(super) fn declared(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    processor: &ProcessorId,
    can: &Capabilities,
) {
    if let Some(event) = partition.processors.declared(processor, can, delivery.now.wall) {
        record(delivery, partition, &event);
    }
}

/// An operator stops new holds at a processor, or allows them again.
pub(super) fn drain(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    processor: &ProcessorId,
    on: bool,
    reply: ReplyTo,
) {
    let ordered = match partition.processors.drain(processor, on, delivery.now.wall) {
        Ok(event) => {
            if let Some(event) = event {
                record(delivery, partition, &event);
            }
            Ordered::Noted
        }
        Err(stranger) => Ordered::Declined(format!("{processor}: {stranger}").into()),
    };
    delivery.reply(Some(reply), ordered);
}

fn record(delivery: &mut Delivery<'_>, partition: &mut Partition, event: &Event) {
    delivery.permit.append(partition.id, RecordKind::ProcessorEvent, |bytes| event.store(bytes));
    partition.acquainted(event, delivery.node_config);
}

impl Partition {
    /// Applies a fact about a processor, live and in replay.
    pub(in crate::node) fn acquainted(&mut self, event: &Event, node_config: &NodeConfig) {
        if let Some((processor, known)) = self.processors.apply(event) {
            node_config.routing.remember(processor, known);
        }
    }
}
