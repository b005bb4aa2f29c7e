//! Messages between a charger's connection and its shard.

use crate::message::{Channel, Code, ToCharger};
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use actix::Message;
use std::sync::Arc;

/// The way back to a charger's connection. Never blocks: a peer that does not read is cut off by its connection.
pub trait ChargerOutlet: Send + Sync {
    /// Sends a message on a channel.
    fn send(&self, channel: Channel, message: &ToCharger);

    /// A batch of the connection is taken: it may read on.
    fn resume(&self);

    /// Closes with a reason: one channel of a site's connection, or (channel 0) all of it.
    fn close(&self, channel: Channel, code: Code);
}

/// A connection will have batches for this shard.
pub struct Attach {
    /// Which.
    pub connection: ConnectionId,
    /// The way back.
    pub outlet: Arc<dyn ChargerOutlet>,
}

impl Message for Attach {
    type Result = ();
}

/// A connection has ended.
pub struct Detach(pub ConnectionId);

impl Message for Detach {
    type Result = ();
}

impl Message for ReadBatch {
    type Result = ();
}
