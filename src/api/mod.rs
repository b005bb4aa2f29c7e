//! What operators ask and order: typed queries, answered from shards and archive, and typed commands to the actors.
//!
//! ```text
//!   shards ──Query─┐
//!                  ├─▶ Views ─▶ web: documents and orders ─┬─▶ HTTP
//!   archive ───────┘                                       └─▶ the command line, also without a running gate
//! ```
//!
//! A shard that does not answer in time, and an archive that cannot be read, never count as "there is none": the
//! request is [`Unanswered`].
//!
//! Views are read-only; orders (a top-up, a stop) go
//! to the actors like those of other sources.

mod accounts;
mod answers;
mod batch_orders;
mod batches;
mod charger_orders;
pub mod feed;
mod figures;
mod invoices;
mod kept_counts;
mod ledger;
mod money;
mod money_lists;
mod named;
pub mod object;
pub mod observed;
mod orders;
mod paging;
mod refused;
mod reporting;
mod resources;
mod review;
mod session_history;
mod sessions;
mod settled;
mod system;
mod tariffs;
mod timeline;
mod views;

pub use accounts::{AccountRow, AccountSheet, MovementRow};
pub use answers::{
    AccountOrdered, BackedUp, ChargerOrdered, KeysLoaded, MeterKeyRegistered, MoneyOrdered, PartBrought,
    ProcessorOrdered, ProcessorTested, QuarantineOrdered, RequestedRow, SessionStopped,
};
pub use batch_orders::{BatchLine, BatchPart, RevertBatch, bring_part, preview, revert_batch};
pub use batches::{BatchView, Due, LineRow};
pub use charger_orders::{
    MeterKeyOrder, RemoteStart, Triggering, register_meter_key, start_at_charger, trigger_at_charger,
};
pub use figures::{Figures, Money};
pub use invoices::{InvoiceRow, NewestDocument, SeriesRow};
pub use ledger::{BookKey, BooksSummary, ExportFormat, TrialRow, TrialView};
pub use money::{
    Draining, Refunding, Releasing, drain_processor, hold_id, refund, refund_total, release, test_processor,
};
pub use money_lists::{OperationListRow, ReceiptRow};
pub use named::not_another;
pub use orders::{BACKUP_TIMEOUT, BackUp, Closing, CreditLimit, Linking, Opening, PresentedCredential};
pub use orders::{
    Promotion, TopUp, back_up, close_account, link, open_account, promote, reload_keys, set_credit_limit,
};
pub use orders::{stop_session, top_up, unlink};
pub use paging::{Page, Paged};
pub use refused::{Refused, Why};
pub use reporting::{ReportingDatabase, ReportingStatus};
pub use resources::{
    ChargerRow, Declared, HoldRow, HoldSheet, MeterKeyRow, OperationSheet, ProcessorRow, ProcessorSheet,
};
pub use review::{Billing as QuarantineBilling, Dropping as QuarantineDropping, bill_quarantined, drop_quarantined};
pub use session_history::{EntryRow, LegRow};
pub use sessions::{
    DisputeRow, FLAGS, Filter, Newest, OperationRow, SESSION_STATES, SessionRow, SessionSheet, SignedValueRow,
};
pub use sessions::{hold_state, operations};
pub use settled::{
    BatchPlace, BatchRow, DiffersRow, ExtraRow, GRACE, LinePlace, Report, SettledRow, SettledSummary, SettledView,
};
pub use system::{CertificateRow, LogSheet, Machine, RefusalRow, ShardRow, SystemSheet};
pub use tariffs::{TariffFinding, TariffHour, TariffPrice, TariffPriceLine, TariffRow, TariffSession, TariffSheet};
pub use timeline::TimelineRow;
pub use views::{Gathered, TIMEOUT, Unanswered, Views, ask_all};
