//! Addresses of actors: shards by partition, processors by id.

use super::archiver_actor::ArchiverActor;
use super::reply_table::{Asker, ReplyTable};
use super::shard_actor::{ShardActor, Take};
use super::snapshot_scheduler::SnapshotScheduler;
use crate::message::Code;
use crate::node::input::Input;
use crate::node::node_config::NodeConfig;
use crate::node::processor::{Acknowledge, Dispatch, ProcessorActor, Reach};
use crate::node::reply::{Expected, NodeNumber, Reply, ReplyTo};
use crate::node::shard::Shard;
use crate::payment::breaker::Breakers;
use crate::payment::routing::Listed;
use crate::payment::{CallbackId, Operation};
use crate::units::{Clock, Now, PartitionId, ProcessorId};
use actix::Addr;
use actix::prelude::SendError;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Called when a settlement batch is complete.
pub type OnBatch = Box<dyn Fn() + Send + Sync>;

/// The addresses of a gate. Made first, filled while the gate starts.
pub struct Directory {
    node_config: Arc<NodeConfig>,
    shards: OnceLock<Vec<Addr<ShardActor>>>,
    processors: ArcSwap<BTreeMap<ProcessorId, Addr<ProcessorActor>>>,
    archiver: OnceLock<Addr<ArchiverActor>>,
    on_batch: OnceLock<OnBatch>,
    snapshot_scheduler: OnceLock<Addr<SnapshotScheduler>>,
    clock: Arc<dyn Clock>,
    replies: Arc<ReplyTable>,
}

/// An order was not handed over: a mailbox or the table of askers is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Directory {
    /// A directory without addresses.
    pub fn new(node_config: Arc<NodeConfig>, clock: Arc<dyn Clock>) -> Directory {
        Directory {
            node_config,
            shards: OnceLock::new(),
            processors: ArcSwap::default(),
            archiver: OnceLock::new(),
            on_batch: OnceLock::new(),
            snapshot_scheduler: OnceLock::new(),
            clock,
            replies: ReplyTable::new(NodeNumber::default()),
        }
    }

    /// The node's configuration and shared state.
    pub fn node_config(&self) -> &Arc<NodeConfig> {
        &self.node_config
    }

    /// The askers of this node.
    pub fn replies(&self) -> &Arc<ReplyTable> {
        &self.replies
    }

    /// Hands an order to its shard; the asker waits for its reply.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was ordered.
    pub fn order<T: Expected>(
        &self,
        timeout: Duration,
        input: impl FnOnce(ReplyTo) -> Input,
    ) -> Result<Asker<T>, NotTaken> {
        let asker = self.replies.asker(timeout).map_err(|_| NotTaken)?;
        self.post(input(asker.to())).map_err(|_| NotTaken)?;
        Ok(asker)
    }

    /// Sets the addresses of the shards, in their order.
    ///
    /// # Panics
    /// On a second call.
    pub fn set_shards(&self, shards: Vec<Addr<ShardActor>>) {
        assert!(self.shards.set(shards).is_ok(), "shards are started once");
    }

    /// The shards, in their order; empty while the gate starts.
    pub fn shards(&self) -> &[Addr<ShardActor>] {
        self.shards.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets the actor that archives closed sessions; once, before the shards.
    pub fn set_archiver(&self, archiver: Addr<ArchiverActor>) {
        let _ = self.archiver.set(archiver);
    }

    /// The actor that archives closed sessions; without one they stay in memory.
    pub fn archiver(&self) -> Option<&Addr<ArchiverActor>> {
        self.archiver.get()
    }

    /// Sets the snapshot scheduler; once, after the shards.
    pub fn set_snapshot_scheduler(&self, snapshot_scheduler: Addr<SnapshotScheduler>) {
        let _ = self.snapshot_scheduler.set(snapshot_scheduler);
    }

    /// The snapshot scheduler, which also takes backups.
    pub fn snapshot_scheduler(&self) -> Option<&Addr<SnapshotScheduler>> {
        self.snapshot_scheduler.get()
    }

    /// Sets the callback for complete settlement batches; once.
    pub fn set_on_batch(&self, on_batch: OnBatch) {
        let _ = self.on_batch.set(on_batch);
    }

    /// A settlement batch is whole.
    pub fn batch_whole(&self) {
        if let Some(on_batch) = self.on_batch.get() {
            on_batch();
        }
    }

    /// Every processor that was ever connected.
    pub fn processors(&self) -> Arc<BTreeMap<ProcessorId, Addr<ProcessorActor>>> {
        self.processors.load_full()
    }

    /// The shard of a text id.
    pub fn shard_of_id(&self, id: &str) -> Option<&Addr<ShardActor>> {
        let partition = PartitionId::of(id, self.node_config.partitions);
        self.shards().get(usize::from(Shard::of(partition, self.node_config.shards)))
    }

    /// The shard that an input is for; `None` when it names a partition that does not exist.
    pub fn shard_of(&self, input: &Input) -> Option<u16> {
        self.node_config.shard_of(input.partition(self.node_config.partitions))
    }

    /// Passes an input to its shard; returns it when the mailbox is full, or when no shard has that partition.
    pub fn post(&self, input: Input) -> Result<(), Input> {
        let Some(address) = self.shard_of(&input).and_then(|shard| self.shards().get(usize::from(shard))) else {
            return Err(input);
        };
        address.try_send(Take(input)).map_err(|error| match error {
            SendError::Full(Take(input)) | SendError::Closed(Take(input)) => input,
        })
    }

    /// Passes an operation to its processor. `false`: no connection can take it, and nothing was sent.
    pub fn dispatch(&self, operation: Operation) -> bool {
        let processors = self.processors.load();
        let Some(address) = processors.get(&operation.processor) else { return false };
        address.try_send(Dispatch(operation)).is_ok()
    }

    /// Confirms to a processor that its message is processed. When that is lost, the processor repeats the message.
    pub fn acknowledge(&self, processor: &ProcessorId, callback: CallbackId, refused: Option<Code>) {
        if let Some(address) = self.processors.load().get(processor) {
            let _ = address.try_send(Acknowledge { callback, refused });
        }
    }

    /// The actor of a processor, started by `start` when it is not there yet.
    pub fn processor(&self, id: &ProcessorId, start: impl Fn() -> Addr<ProcessorActor>) -> Addr<ProcessorActor> {
        if let Some(address) = self.processors.load().get(id) {
            return address.clone();
        }
        let started = start();
        self.processors.rcu(|before| {
            let mut after = BTreeMap::clone(before);
            after.entry(id.clone()).or_insert_with(|| started.clone());
            after
        });
        self.processors.load().get(id).cloned().unwrap_or(started)
    }
}

/// The shared state as the processors' actors use it.
impl Reach for Directory {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn random(&self) -> u64 {
        (self.node_config.random)()
    }

    fn reaches(&self, input: &Input) -> bool {
        self.shard_of(input).is_some()
    }

    fn post(&self, input: Input) -> Result<(), Input> {
        Directory::post(self, input)
    }

    fn reply(&self, to: ReplyTo, reply: Reply) {
        self.replies.reply(to, reply);
    }

    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.node_config.list(id, listed);
    }

    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.node_config.judge(id, breakers);
    }
}
