//! Settlement batches of a shard, and the money that moved at processors.

use super::paging::{First, Page, Part, Rows};
use crate::accounting::settlement;
use crate::billing::reconciliation::Ours;
use crate::billing::reconciliation::older::OlderBatches;
use crate::billing::reconciliation::received::Received;
use crate::billing::reconciliation::register::BatchKey;
use crate::node::partition::Partition;
use crate::node::shard::Shard;
use crate::session::Session;
use crate::units::{PaymentId, ProcessorId};

/// The settlement batches of a shard.
#[derive(Clone, Copy, Debug)]
pub struct SettlementBatches;

/// The batches of one partition: the older ones, and those that are kept line by line, with the name of an earlier one that
/// has the same lines. Lines are shared with the partition and not copied.
#[derive(Debug)]
pub struct KeptBatches {
    /// Those of which only the totals are kept.
    pub older: OlderBatches,
    /// Those that are kept line by line.
    pub kept: Vec<(BatchKey, Received, Option<Box<str>>)>,
}

impl SettlementBatches {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<KeptBatches> {
        let registers = shard.partitions().iter().map(|partition| &partition.settlements);
        let some = registers.filter(|register| !register.is_empty());
        some.map(|register| {
            let kept = register.batches().map(|(key, batch)| {
                let same_as = batch.content().and_then(|content| register.same_content(key, content));
                (key.clone(), batch.clone(), same_as)
            });
            KeptBatches { older: register.older().clone(), kept: kept.collect() }
        })
        .collect()
    }
}

/// Batches that are to be booked, or taken back.
#[derive(Clone, Copy, Debug)]
pub struct DueBatches;

/// The work to do about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The batch.
    pub key: BatchKey,
    /// Its parts that are to be booked the other way round; none: it is to be booked.
    pub unreverted: Vec<u32>,
}

impl DueBatches {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<Due> {
        let all = shard.partitions().iter().flat_map(|partition| partition.settlements.batches());
        let due = all.filter(|(_, batch)| batch.is_due());
        due.map(|(key, batch)| Due { key: key.clone(), unreverted: batch.unreverted().collect() }).collect()
    }
}

/// The name of another batch of the same processor with the same lines.
#[derive(Clone, Debug)]
pub struct BatchWithSameContent {
    /// The batch.
    pub key: BatchKey,
    /// The hash of its lines.
    pub content: [u8; 16],
}

impl BatchWithSameContent {
    pub(super) fn ask(&self, shard: &Shard) -> Option<Box<str>> {
        let mut registers = shard.partitions().iter().map(|partition| &partition.settlements);
        registers.find_map(|register| register.same_content(&self.key, self.content))
    }
}

/// A page of the sessions and top-ups of which money moved at outside processors, in the order of their ids.
#[derive(Clone, Debug)]
pub struct MovedMoney {
    /// The page.
    pub part: Part<PaymentId>,
}

/// What was captured, given back and disputed of one session or top-up at outside processors.
#[derive(Clone, Debug)]
pub struct Moved {
    /// What it was priced at, in minor units.
    pub payable_minor: i64,
    /// Taken and not given back, in minor units.
    pub net_minor: i64,
    /// Refunded by us of what a session cost, in minor units.
    pub refunded_minor: i64,
    /// In the order of their ids; at least one.
    pub operations: Vec<(ProcessorId, Ours)>,
}

impl Moved {
    /// Of a session; none: nothing moved.
    pub fn of(session: &Session) -> Option<Moved> {
        let mut operations = settlement::of_session(session);
        operations.sort_by_key(|(_, ours)| ours.operation);
        let payable_minor = session.ended().map_or(0, |ended| ended.payable.minor);
        let (net_minor, refunded_minor) = (settlement::kept(&session.payment), session.payment.refunded().minor);
        (!operations.is_empty()).then_some(Moved { payable_minor, net_minor, refunded_minor, operations })
    }

    /// Whether what was taken is what it cost.
    pub fn cover(&self) -> &'static str {
        match self.payable_minor.checked_sub(self.net_minor) {
            Some(0) => "matched",
            Some(lacking) if lacking == self.refunded_minor => "refunded",
            _ => "not covered",
        }
    }
}

impl MovedMoney {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<PaymentId, Moved> {
        self.part.of(shard, moved)
    }
}

fn moved(partitions: &[Partition], page: &Page<PaymentId>) -> Vec<(PaymentId, Moved)> {
    let mut first = First::behind(page.after, page.limit);
    for partition in partitions {
        for (_, hosted) in partition.sessions.iter() {
            let session = hosted.state();
            if first.wants(&session.id.payment())
                && let Some(moved) = Moved::of(session)
            {
                first.offer(session.id.payment(), moved);
            }
        }
        for top_up in partition.top_ups.known.values() {
            let operations = settlement::moved(&top_up.payment, top_up.opened_at);
            if !operations.is_empty() {
                let (payable_minor, net_minor) = (top_up.payable_minor(), settlement::kept(&top_up.payment));
                // The refunded amount of a top-up is not credited.
                first.offer(top_up.id, Moved { payable_minor, net_minor, refunded_minor: 0, operations });
            }
        }
    }
    first.into_sorted()
}
