//! Composition: the parts of a running gate, and how they find each other.
//!
//! ```text
//!   edge (handshakes) ──Peer──▶ connection ──Turn──▶ shard ──Append──▶ writer ──▶ disk
//!                                   ▲                  │
//!                                   └──── outside ◀────┘ released by the gate
//! ```

mod charger_connection;
mod clock;
pub mod demo;
mod gate;
mod places;
mod processor_connection;
mod view;

pub use clock::SystemClock;
pub use gate::{Data, Door, Gate, Settings, StartError};
pub use places::{Assigned, NoTariffs};
pub use view::{Figures, Money, ask_all};

/// What happens when the disk fails: memory is ahead of it, so nobody may be told anything any more. The process ends
/// and starts again from what is durable.
pub fn end_process(failure: &crate::journal::Failure) {
    tracing::error!("the journal failed, the process ends: {failure}");
    eprintln!("error: the journal failed, the process ends: {failure}");
    std::process::exit(i32::from(crate::cli::Exit::Temporary.code()));
}
