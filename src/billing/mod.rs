//! The documents of a session that is over: the record for other systems, the receipt for the driver, the invoice for
//! the books of both, and the comparison with what the processor paid out.
//!
//! Everything starts from a [`ClosedSession`]: plain figures that were decided before. Nothing is priced here, and
//! nothing is rounded: the one rounding has happened, and the difference it made is a line of its own.
//!
//! ```text
//!                      ┌─▶ Cdr      OCPI JSON, for roaming partners
//!   ClosedSession ─────┼─▶ Receipt  JSON, text, HTML; signed with Ed25519
//!                      └─▶ Invoice  number in a series without gaps (its own machine)
//!   captures + settlement lines ─▶ reconciliation: matched, missing, extra, amount differs
//! ```

mod cdr;
pub mod invoice;
pub mod meter_signature;
mod page;
mod pricing;
mod receipt;
pub mod reconciliation;
mod session;
mod signature;
mod split;
#[cfg(test)]
mod tests;
mod text;

pub use cdr::{Cdr, OcpiVersion, Party};
pub use pricing::Pricing;
pub use receipt::{
    Issue, Issuer, Receipt, ReceiptCredential, ReceiptLine, ReceiptPayment, ReceiptVat, TariffRef, receipt_lines,
};
pub use session::{
    BillingError, ChargerLocation, ClosedSession, Dimension, Line, PaymentSummary, PinnedTariff, Plug, Presented,
    PresentedKind, Quantity, VatTotal,
};
pub use signature::{PublicKey, SignatureError, SignedReceipt, SigningKey, canonical_json, verify_receipt};
pub use split::PayableSplit;
pub use text::duration;
