//! The stored facts on the processors of a partition, and the list of processors for routing.
//!
//! A processor belongs to the partition of its id, like its settlement batches. Routing uses the shared list: a
//! stored processor is in it as not connected, until it connects.

use crate::journal::RecordKind;
use crate::limits::PROCESSORS_KNOWN;
use crate::node::delivery::Delivery;
use crate::node::input::Drains;
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
    note(delivery, partition, processor);
}

/// A processor's connections changed: whether it has one, and whether it wishes no new holds.
pub(super) fn stands(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    processor: &ProcessorId,
    stands: Option<Drains>,
) {
    match stands {
        Some(Drains(wishes_drain)) => {
            partition.missing.processors.back(processor);
            if partition.missing.present.len() < PROCESSORS_KNOWN || partition.missing.present.contains_key(processor) {
                partition.missing.present.insert(processor.clone(), wishes_drain);
            }
            note(delivery, partition, processor);
        }
        None => {
            partition.missing.present.remove(processor);
            partition.missing.processors.gone(processor.clone());
        }
    }
}

/// Records how a connected processor stands, as far as it is known.
fn note(delivery: &mut Delivery<'_>, partition: &mut Partition, processor: &ProcessorId) {
    if let Some(wishes_drain) = partition.missing.present.get(processor).copied() {
        let events = partition.processors.stands(processor, (true, wishes_drain), delivery.now.wall);
        events.iter().for_each(|event| record(delivery, partition, event));
    }
}

/// A processor has been without a connection for too long.
pub(in crate::node) fn absent(delivery: &mut Delivery<'_>, partition: &mut Partition, processor: &ProcessorId) {
    if !partition.missing.present.contains_key(processor) {
        let events = partition.processors.stands(processor, (false, false), delivery.now.wall);
        events.iter().for_each(|event| record(delivery, partition, event));
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
