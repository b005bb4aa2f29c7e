//! The routing table: where the shards and processors of this process are.
//!
//! Shards send to processors and processors to shards, so neither can be made with the address of the other: both find it
//! here. The table is a value that is replaced as a whole, when a shard is opened or closed or a processor connects for the
//! first time. Whatever else an actor needs is given to it when it is made.

use super::reply_table::{Asker, ReplyTable};
use super::shard_actor::{ShardActor, Take};
use crate::message::Code;
use crate::node::input::{Input, NotTaken, Undelivered};
use crate::node::node_config::NodeConfig;
use crate::node::processor::{Acknowledge, Dispatch, ProcessorActor, Reach};
use crate::node::reply::{Expected, NodeNumber, Reply, ReplyTo};
use crate::payment::breaker::Breakers;
use crate::payment::routing::Listed;
use crate::payment::{CallbackId, Operation};
use crate::units::{Clock, Now, ProcessorId};
use actix::Addr;
use actix::prelude::SendError;
use arc_swap::{ArcSwap, Cache, Guard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a shard is.
#[derive(Clone, Default)]
pub enum Place {
    /// It is open in this process.
    Here(Addr<ShardActor>),
    /// It is not open. What is for it is refused until it is.
    #[default]
    NotOpen,
}

impl Place {
    /// Its address, where it is open.
    pub fn here(&self) -> Option<&Addr<ShardActor>> {
        match self {
            Place::Here(address) => Some(address),
            Place::NotOpen => None,
        }
    }
}

/// Where everything is at one moment.
#[derive(Clone, Default)]
pub struct ShardTable {
    shards: Vec<Place>,
    /// The actors in which the shards are opened, open or not: connections are attached to these.
    actors: Vec<Addr<ShardActor>>,
    processors: BTreeMap<ProcessorId, Addr<ProcessorActor>>,
}

impl ShardTable {
    /// The shards, in their order.
    pub fn shards(&self) -> &[Place] {
        &self.shards
    }

    /// The actor in which a shard is opened, open or not.
    pub fn actor(&self, index: u16) -> Option<&Addr<ShardActor>> {
        self.actors.get(usize::from(index))
    }

    /// The address of an open shard.
    pub fn shard(&self, index: u16) -> Option<&Addr<ShardActor>> {
        self.shards.get(usize::from(index)).and_then(Place::here)
    }
}

/// The routing table, as a connection looks into it at each read: without a lock or a shared counter.
pub type CachedShardTable = Cache<Arc<ArcSwap<ShardTable>>, Arc<ShardTable>>;

/// The routing table of a process, and its askers.
pub struct Directory {
    node_config: Arc<NodeConfig>,
    places: Arc<ArcSwap<ShardTable>>,
    clock: Arc<dyn Clock>,
    replies: Arc<ReplyTable>,
}

/// Why an order was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOrdered {
    /// The shard did not get it.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// Too many requests wait for their replies.
    #[error(transparent)]
    TableFull(#[from] super::reply_table::TableFull),
}

impl Directory {
    /// A table in which no shard is open.
    pub fn new(node_config: Arc<NodeConfig>, clock: Arc<dyn Clock>) -> Directory {
        let shards = vec![Place::NotOpen; usize::from(node_config.shards)];
        let places = Arc::new(ArcSwap::from_pointee(ShardTable { shards, ..ShardTable::default() }));
        Directory { node_config, places, clock, replies: ReplyTable::new(NodeNumber::default()) }
    }

    /// The node's configuration and shared state.
    pub fn node_config(&self) -> &Arc<NodeConfig> {
        &self.node_config
    }

    /// The askers of this node.
    pub fn replies(&self) -> &Arc<ReplyTable> {
        &self.replies
    }

    /// The table as it is now.
    pub fn places(&self) -> Guard<Arc<ShardTable>> {
        self.places.load()
    }

    /// The table for one that looks into it often.
    pub fn cached_table(&self) -> CachedShardTable {
        Cache::new(Arc::clone(&self.places))
    }

    /// Enters the actors in which shards are opened, in the order of the shards.
    pub(super) fn set_actors(&self, actors: &[Addr<ShardActor>]) {
        self.places.rcu(|before| ShardTable { actors: actors.to_vec(), ..ShardTable::clone(before) });
    }

    /// Enters where a shard is from now on.
    pub(super) fn set_place(&self, shard: u16, place: &Place) {
        self.places.rcu(|before| {
            let mut after = ShardTable::clone(before);
            if let Some(entry) = after.shards.get_mut(usize::from(shard)) {
                entry.clone_from(place);
            }
            after
        });
    }

    /// The addresses of the open shards, in the order of the shards.
    pub fn shards(&self) -> Vec<Addr<ShardActor>> {
        self.places().shards.iter().filter_map(Place::here).cloned().collect()
    }

    /// Hands an order to its shard; the asker waits for its reply.
    ///
    /// # Errors
    /// [`NotOrdered`]: nothing was ordered; it can be ordered again.
    pub fn order<T: Expected>(
        &self,
        timeout: Duration,
        input: impl FnOnce(ReplyTo) -> Input,
    ) -> Result<Asker<T>, NotOrdered> {
        let asker = self.replies.asker(timeout)?;
        self.post(input(asker.to())).map_err(|undelivered| undelivered.why)?;
        Ok(asker)
    }

    /// Every processor that was ever connected.
    pub fn processors(&self) -> BTreeMap<ProcessorId, Addr<ProcessorActor>> {
        self.places().processors.clone()
    }

    /// The address of a processor that was ever connected.
    pub fn processor_named(&self, id: &ProcessorId) -> Option<Addr<ProcessorActor>> {
        self.places().processors.get(id).cloned()
    }

    /// The shard that an input is for; `None` when it names a partition that does not exist.
    pub fn shard_of(&self, input: &Input) -> Option<u16> {
        self.node_config.shard_of(input.partition(self.node_config.partitions))
    }

    /// Passes an input to its shard.
    ///
    /// # Errors
    /// [`Undelivered`]: the input, unchanged, and why its shard did not get it.
    pub fn post(&self, input: Input) -> Result<(), Undelivered> {
        let Some(shard) = self.shard_of(&input) else { return Err(Undelivered { input, why: NotTaken::NoShard }) };
        let places = self.places();
        let Some(address) = places.shard(shard) else { return Err(Undelivered { input, why: NotTaken::NotHere }) };
        address.try_send(Take(input)).map_err(|error| match error {
            SendError::Full(Take(input)) => Undelivered { input, why: NotTaken::Busy },
            SendError::Closed(Take(input)) => Undelivered { input, why: NotTaken::NotHere },
        })
    }

    /// Passes an operation to its processor. `false`: no connection can take it, and nothing was sent.
    pub fn dispatch(&self, operation: Operation) -> bool {
        let places = self.places();
        let Some(address) = places.processors.get(&operation.processor) else { return false };
        address.try_send(Dispatch(operation)).is_ok()
    }

    /// Confirms to a processor that its message is processed. When that is lost, the processor repeats the message.
    pub fn acknowledge(&self, processor: &ProcessorId, callback: CallbackId, refused: Option<Code>) {
        if let Some(address) = self.places().processors.get(processor) {
            let _ = address.try_send(Acknowledge { callback, refused });
        }
    }

    /// The actor of a processor, started by `start` when it is not there yet.
    pub fn processor(&self, id: &ProcessorId, start: impl Fn() -> Addr<ProcessorActor>) -> Addr<ProcessorActor> {
        if let Some(address) = self.processor_named(id) {
            return address;
        }
        let started = start();
        self.places.rcu(|before| {
            let mut after = ShardTable::clone(before);
            after.processors.entry(id.clone()).or_insert_with(|| started.clone());
            after
        });
        self.processor_named(id).unwrap_or(started)
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

    fn shard_of(&self, input: &Input) -> Option<u16> {
        Directory::shard_of(self, input)
    }

    fn post(&self, input: Input) -> Result<(), Input> {
        Directory::post(self, input).map_err(|undelivered| undelivered.input)
    }

    fn reply(&self, to: ReplyTo, reply: Reply) {
        self.replies.reply(to, reply);
    }

    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.node_config.routing.list(id, listed);
    }

    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.node_config.routing.judge(id, breakers);
    }
}
