//! What a charger's connection and its shard say to each other.

use crate::message::{Channel, Code, FromCharger, Received, ToCharger};
use crate::node::charger::ConnectionId;
use actix::Message;
use std::sync::Arc;
use std::time::Instant;

/// The way back to a charger's connection. Never blocks: a peer that does not read is cut off by its connection.
pub trait ChargerOutlet: Send + Sync {
    /// Sends a message on a channel.
    fn send(&self, channel: Channel, message: &ToCharger);

    /// The connection's turn has been taken: it may read on.
    fn resume(&self);

    /// Says why, and closes: one channel of a site's connection, or (channel 0) all of it.
    fn close(&self, channel: Channel, code: Code);
}

/// A connection will have turns for this shard.
pub struct Attach {
    /// Which.
    pub connection: ConnectionId,
    /// The way back.
    pub outlet: Arc<dyn ChargerOutlet>,
}

impl Message for Attach {
    type Result = ();
}

/// A connection is gone.
pub struct Detach(pub ConnectionId);

impl Message for Detach {
    type Result = ();
}

/// What came in one reading of a connection's socket, as far as it is for one shard. The connection reads no further
/// until the shard has taken it: so there is at most one for each connection, whatever a peer sends.
pub struct Turn {
    /// The connection.
    pub connection: ConnectionId,
    /// When they came.
    pub arrived: Instant,
    /// Its messages that are not taken yet, in order.
    pub messages: std::vec::IntoIter<Received<FromCharger>>,
}

impl Message for Turn {
    type Result = ();
}
