//! TLS, listeners, connections, certificates, shutdown.

mod address;
pub mod certificate;
mod client;
pub mod client_tls;
mod connection;
pub mod descriptors;
mod edge;
mod failures;
pub mod files;
pub mod identity;
mod live;
mod ocpp_end;
mod outgoing;
pub mod pki;
pub mod pki_folder;
mod records;
pub mod refusal;
mod signals;
mod socket;
pub mod tls;
mod upgrade;
pub mod websocket;

pub use address::resolve;
pub use client::{ConnectError, Connector, Trust, tcp_from};
pub use connection::{ConnectionTimeouts, Flow, PeerHandler, drive};
pub use edge::{Bounds, Capacity, Edge, Entry, NoRoom, Peer, RecentRefusal, Reception};
pub use live::{ConnectionLimits, Live, LivePeer};
pub use ocpp_end::{OcppEnd, OcppEnded, OcppRoom};
pub use outgoing::{Ended, Outgoing, SendError};
pub use signals::{Signals, Wish};
pub use socket::{HandshakeError, Socket};
pub use upgrade::{Denial, Grant, Opened, Password, Upgrade, UpgradeError, Upgraded, Wanted, open_websocket};

#[cfg(test)]
mod tests;
