//! Composition: the parts of a running gate, and how they find each other.
//!
//! ```text
//!   edge (handshakes) ──Peer──▶ connection ──ReadBatch──▶ shard ──Append──▶ writer ──▶ disk
//!                                   ▲                  │
//!                                   └──── outside ◀────┘ released by the gate
//! ```

mod charger_connection;
pub mod configured;
mod connection;
mod data;
pub mod demo;
mod expiry_watch;
mod gate;
mod introduced;
pub mod keys;
mod machine;
mod ocpp_admission;
mod ocpp_connection;
mod ocpp_forwarding;
pub mod passwords;
pub mod preflight;
mod processor_connection;
mod reading;
mod receipts;
mod receiver;
mod reconciler;
mod scrape;
mod settings;
mod shard_feed;
mod tariff_resolver;
mod threads;
mod unknown;
mod upgrade;

pub use crate::node::snapshot_policy::SnapshotPolicy;
pub use data::Data;
pub use gate::{Gate, StartError};
pub use ocpp_admission::{Access, AccessOf, OcppAdmission};
pub use reading::read;
pub use receipts::Receipts;
pub use settings::{ListenerSettings, OcppListener, Settings, shards_of};
pub use tariff_resolver::{Assigned, NoTariffs};
pub use upgrade::{BookBalance, Figures as UpgradedFigures, UpgradeError, Upgraded, upgrade};

/// What is going on, gathered from the shards.
pub use crate::api::{Figures, Money, ask_all};

/// How the process ends when the disk fails: `EX_TEMPFAIL` of sysexits.h, one of the documented exit codes.
pub const DISK_FAILED: i32 = 75;

/// Ends the process when the disk fails: memory is ahead of the disk, so nothing more may be sent. The next start
/// continues from durable facts.
pub fn end_process(failure: &crate::journal::Failure) {
    use std::io::Write as _;
    tracing::error!("the journal failed, the process ends: {failure}");
    // On a full disk this message may be lost; the exit code remains.
    let _ = writeln!(std::io::stderr(), "error: the journal failed, the process ends: {failure}");
    std::process::exit(DISK_FAILED);
}
