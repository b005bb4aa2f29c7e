//! Where on a connection a message belongs: a site controller speaks for many chargers on one.

use std::fmt;

/// Whose words a frame carries on its connection. Channel 0 is a charger's, a processor's, or the connection itself
/// where a site controller speaks; a site's chargers have the channels from 1.
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
    /// Whose words these are.
    pub channel: Channel,
    /// The message.
    pub message: Message,
}
