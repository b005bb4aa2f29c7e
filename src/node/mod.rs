//! The node: everything of a gate that runs without a runtime.
//!
//! ```text
//!   input ─▶ Shard ── Partition ── Arena ── HostedCharger, HostedSession, HostedAccount
//!              │                              (decide, apply)
//!              ├─▶ records ─▶ log
//!              └─▶ outputs, behind their records ─▶ chargers, processors, other shards, the archive
//! ```
//!
//! Chargers, sessions and accounts are actors hosted in arenas ([`hosted`]): millions of them, a cell each. The actix actors
//! around all this are in [`crate::actors`].

mod absences;
pub mod account;
pub mod archiver;
mod cells;
pub mod certificates;
mod channels;
pub mod charger;
mod codes;
pub mod connection;
pub mod credential_links;
pub mod credentials;
mod delivery;
pub mod driver;
pub mod fact;
pub mod fact_tail;
mod handlers;
pub mod hosted;
pub mod input;
pub mod log_figures;
mod log_lines;
pub mod log_writer;
pub mod node_config;
pub mod numbering;
pub mod offline_authorizations;
pub mod output;
pub mod partition;
#[cfg(test)]
pub(crate) mod planted;
pub mod ports;
pub mod processor;
mod processor_connections;
pub mod query;
pub mod reference;
pub mod replay;
pub mod reply;
pub mod routing;
pub mod session;
pub mod session_record;
pub mod shard;
pub mod snapshot;
pub mod snapshot_policy;
pub mod snapshot_schedule;
pub mod tariff_assignment;
#[cfg(test)]
mod tests;
pub mod timer_wheel;
pub mod topping_up;
pub mod version_4;

pub use charger::{ConnectionId, Link};
