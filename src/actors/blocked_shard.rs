//! A fault for tests: a shard whose thread is blocked, as by a disk that does not answer.

use super::shard_actor::ShardActor;
use super::turn::{Attach, ChargerOutlet};
use crate::message::{Channel, Code, ToCharger};
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use actix::Addr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

/// Blocks a shard until it is dropped.
#[derive(Debug)]
pub struct BlockedShard {
    _release: mpsc::Sender<()>,
}

impl BlockedShard {
    /// Blocks the shard's thread, from its next message on.
    ///
    /// # Panics
    /// The shard's mailbox is full or closed.
    pub fn block(shard: &Addr<ShardActor>) -> BlockedShard {
        let (release, blocked) = mpsc::channel();
        let (connection, outlet) = (ConnectionId(u64::MAX), Arc::new(Blocking(Mutex::new(blocked))));
        assert!(shard.try_send(Attach { connection, outlet }).is_ok(), "the shard takes a connection");
        let nothing = ReadBatch { connection, arrived: Instant::now(), messages: Vec::new().into_iter() };
        assert!(shard.try_send(nothing).is_ok(), "the shard takes a message");
        BlockedShard { _release: release }
    }
}

/// A connection that blocks the shard that lets it read on.
struct Blocking(Mutex<mpsc::Receiver<()>>);

impl ChargerOutlet for Blocking {
    fn send(&self, _: Channel, _: &ToCharger) {}

    fn resume(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }

    fn close(&self, _: Channel, _: Code) {}
}
