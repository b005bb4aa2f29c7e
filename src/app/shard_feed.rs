//! What a charger's connection of any protocol does with messages for shards: each batch goes to its shard, and nothing is read
//! until all of them are taken.

use super::connection::deliver;
use crate::actors::directory::{CachedShardTable, Directory};
use crate::actors::turn::{Attach, ChargerOutlet, Detach};
use crate::message::{Channel, ChargerHello, Code, FromCharger, Received};
use crate::node::ConnectionId;
use crate::node::connection::ShardsOfChannels;
use crate::node::driver::ReadBatch;
use crate::transport::Outgoing;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The shards of one connection.
pub(super) struct ShardFeed {
    id: ConnectionId,
    directory: Arc<Directory>,
    places: CachedShardTable,
    shards: ShardsOfChannels,
    attached: SmallVec<[u16; 4]>,
}

/// Batches that shards have not taken yet.
#[derive(Default)]
pub(super) struct Turns(AtomicUsize);

/// The way back to a connection that counts its batches.
pub(super) trait CountedOutlet: ChargerOutlet + 'static {
    /// Its batches that no shard has taken yet.
    fn turns(&self) -> &Turns;
}

impl ShardFeed {
    pub fn new(id: ConnectionId, directory: Arc<Directory>) -> ShardFeed {
        let places = directory.cached_table();
        ShardFeed { id, directory, places, shards: ShardsOfChannels::default(), attached: SmallVec::new() }
    }

    /// Hands what was received to its shards. A hello that `admits` refuses is dropped.
    pub fn hand_over<O: CountedOutlet>(
        &mut self,
        received: &mut Vec<Received<FromCharger>>,
        outlet: &Arc<O>,
        admits: impl FnMut(Channel, &ChargerHello) -> bool,
    ) {
        let batches = self.shards.split(self.directory.node_config(), received, admits);
        outlet.turns().0.fetch_add(batches.len(), Ordering::AcqRel);
        let places = self.places.load();
        for (shard, messages) in batches {
            let Some(address) = places.shard(shard) else {
                send_away(outlet.as_ref(), messages);
                continue;
            };
            if !self.attached.contains(&shard) {
                self.attached.push(shard);
                deliver(address, Attach { connection: self.id, outlet: outlet.clone() });
            }
            deliver(
                address,
                ReadBatch { connection: self.id, arrived: Instant::now(), messages: messages.into_iter() },
            );
        }
    }

    /// Notifies the shards that the connection is over.
    pub fn detach(&mut self) {
        let places = self.places.load();
        for shard in &self.attached {
            if let Some(address) = places.actor(*shard) {
                deliver(address, Detach(self.id));
            }
        }
    }
}

impl Turns {
    /// Whether a batch waits for its shard.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// A batch is taken: with the last one the connection reads on.
    pub fn taken(&self, outgoing: &Outgoing) {
        if self.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            outgoing.resume();
        }
    }
}

/// The shard of these messages is not open here: their chargers come back later, and repeat unacknowledged messages.
fn send_away(outlet: &impl ChargerOutlet, messages: Vec<Received<FromCharger>>) {
    let mut channels: Vec<Channel> = messages.into_iter().map(|received| received.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    channels.into_iter().for_each(|channel| outlet.close(channel, Code::Overloaded));
    outlet.resume();
}
