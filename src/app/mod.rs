//! Composition: the parts of a running gate, and how they find each other.
//!
//! ```text
//!   edge (handshakes) ──Peer──▶ connection ──Turn──▶ shard ──Append──▶ writer ──▶ disk
//!                                   ▲                  │
//!                                   └──── outside ◀────┘ released by the gate
//! ```

mod charger_connection;
mod clock;
mod gate;
mod places;
mod processor_connection;
mod view;

pub use clock::SystemClock;
pub use gate::{Data, Door, Gate, Settings, StartError};
pub use places::{Assigned, NoTariffs};
pub use view::{Figures, Money, ask_all};
