//! The books: double entry, in whole minor units, each currency apart.
//!
//! An [`Entry`] is a balanced fact: for each currency, and for each of the two ledgers, its debits equal its credits. It is
//! derived from a machine's event by a pure function and posted where the event is applied, so that the books of a
//! partition are a fold of its log and the books of a node are the sum of those of its partitions ([`Books::merge`]).
//!
//! The main ledger has our assets and liabilities. The memorandum ledger has reserved money: the money of a card hold
//! is not ours, but the sum of the open holds must be known, and must return to zero.
//!
//! | code | account | kind | bound |
//! |---|---|---|---|
//! | 1010 | [`Name::Bank`] | asset | |
//! | 1110 | [`Name::ProcessorReceivable`]: captured, not settled | asset | ≥ 0 |
//! | 1120 | [`Name::ProcessorReserve`] | asset | ≥ 0 |
//! | 1130 | [`Name::Shortfall`]: owed by a driver | asset | ≥ 0 |
//! | 1140 | [`Name::DisputeReceivable`] | asset | ≥ 0 |
//! | 1150 | [`Name::PrepaidClearing`]: taken from a prepaid account, not yet booked as a sale | asset | 0 at rest |
//! | 2010 | [`Name::Prepaid`]: paid money of an account | liability | ≥ −credit limit |
//! | 2011 | [`Name::Promotional`]: granted money of an account | liability | ≥ 0 |
//! | 2020 | [`Name::OperatorPayable`] | liability | |
//! | 2030 | [`Name::Tax`] | liability | |
//! | 2040 | [`Name::RefundInFlight`] | liability | ≥ 0 |
//! | 2050 | [`Name::Suspense`]: settled, not yet matched | liability | |
//! | 4010 | [`Name::FeeRevenue`] | income | |
//! | 4020 | [`Name::Breakage`]: lapsed promotional money | income | |
//! | 5010 | [`Name::ProcessorFee`] | expense | |
//! | 5020 | [`Name::Chargeback`] | expense | |
//! | 5030 | [`Name::WriteOff`] | expense | |
//! | 5040 | [`Name::Rounding`] | expense | |
//! | 5050 | [`Name::Promotion`]: granted to drivers | expense | |
//! | M010 | [`Name::Held`] | memorandum | ≥ 0 |
//! | M020 | [`Name::HeldContra`] | memorandum | |

mod books;
mod chart;
mod entry;

mod export;
mod posting;
#[cfg(test)]
mod tests;

pub use books::{Balance, Books, BoundBroken, TrialBalance, TrialBalanceRow, imbalance};
pub use chart::{Debtor, Kind, Ledger, Name, Tax, TaxRate};
pub use entry::{Entry, EntryError, EntryId, EntryKind, Leg, Side};

pub use export::{Exporter, Format};
pub use posting::{Funding, Sale, Share};
