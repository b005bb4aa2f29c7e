//! What people see of a gate: views gathered from shards and archive, and the HTTP API that shows them.
//!
//! ```text
//!   shards ──Look──┐
//!                  ├─▶ Views ─▶ api (path ─▶ JSON document) ─┬─▶ server (HTTP, loopback, token)
//!   archive ───────┘                                         └─▶ the command line, also without a running gate
//! ```
//!
//! A shard that does not answer in time, and an archive that cannot be read, are never taken for "there is none": what
//! was asked is [`Unanswered`].
//!
//! Every document names its shape in its first member, `schema`. Views look and never change anything; orders (a top-up,
//! a stop) go to the actors like everybody else's.

mod accounts;
mod api;
mod batch_orders;
mod batches;
mod connections;
mod figures;
mod hosts;
mod invoices;
mod ledger;
mod money;
mod orders;
mod paging;
mod path;
mod prometheus;
mod server;
mod sessions;
mod settled;
mod things;
mod timeline;
mod views;

pub use accounts::{AccountRow, AccountSheet, MovementRow};
pub use api::{Answer, Refused, Request, get};
pub use batch_orders::{BatchLine, BatchPart, RevertBatch, preview};
pub use batches::{BatchView, Due, LineRow};
pub use figures::{Figures, Money};
pub use invoices::{InvoiceRow, NewestDocument, SeriesRow};
pub use ledger::{BookKey, BooksSummary, ExportFormat, TrialRow, TrialView};
pub use money::{Draining, Refunding, Releasing};
pub use orders::{BACKUP_PATIENCE, BackUp, Closing, CreditLimit, Linking, Opening, PresentedCredential};
pub use orders::{Promotion, TopUp, post};
pub use paging::{Page, Paged};
pub use path::segment;
pub use server::{Console, ConsoleError, Listening, PLACE_FILE, Place, Starting};
pub use sessions::{Filter, Newest, OperationRow, SESSION_STATES, SessionRow, SessionSheet};
pub use settled::{
    BatchPlace, BatchRow, DiffersRow, ExtraRow, GRACE, LinePlace, Report, SettledRow, SettledSummary, SettledView,
};
pub use things::{ChargerRow, Declared, HoldRow, HoldSheet, OperationSheet, ProcessorRow, ProcessorSheet};
pub use timeline::TimelineRow;
pub use views::{Heard, PATIENCE, Unanswered, Views, ask_all};
