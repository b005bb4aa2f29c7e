//! Address of a message on a connection: a site controller carries many chargers on one.

use std::fmt;

/// Sender or receiver of a frame on its connection. Channel 0 is a charger, a processor, or a site controller itself;
/// the chargers of a site have channels from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u32);

impl Channel {
    /// The connection's own channel.
    pub const ZERO: Channel = Channel(0);
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message with its address on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<Message> {
    /// The sender.
    pub channel: Channel,
    /// The message.
    pub message: Message,
}
