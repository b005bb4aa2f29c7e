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

impl Delivery<'_> {
    /// A processor connected.
    pub(in crate::node) fn declared(&mut self, partition: &mut Partition, processor: &ProcessorId, can: &Capabilities) {
        if let Some(event) = partition.processors.declared(processor, can, self.now.wall) {
            self.acquaint(partition, &event);
        }
    }

    /// An operator stops new holds at a processor, or allows them again.
    pub(in crate::node) fn drain(
        &mut self,
        partition: &mut Partition,
        processor: &ProcessorId,
        on: bool,
        reply: ReplyTo,
    ) {
        let ordered = match partition.processors.drain(processor, on, self.now.wall) {
            Ok(event) => {
                if let Some(event) = event {
                    self.acquaint(partition, &event);
                }
                Ordered::Noted
            }
            Err(stranger) => Ordered::Declined(format!("{processor}: {stranger}").into()),
        };
        self.reply(Some(reply), ordered);
    }

    pub(in crate::node) fn acquaint(&mut self, partition: &mut Partition, event: &Event) {
        self.permit.append(partition.id, RecordKind::ProcessorEvent, |bytes| event.store(bytes));
        partition.acquainted(event, self.node_config);
    }
}

impl Partition {
    /// Applies a fact about a processor, live and in replay.
    pub(in crate::node) fn acquainted(&mut self, event: &Event, node_config: &NodeConfig) {
        if let Some((processor, known)) = self.processors.apply(event) {
            node_config.routing.remember(processor, known);
        }
    }
}
