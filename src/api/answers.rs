//! What orders answer.

use super::MeterKeyRow;
use crate::journal::backup::Manifest;
use crate::units::AccountId;
use crate::units::shape::described;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The schema of an order's answer.
pub(super) const ORDER: &str = "wattstile.order/1";

described! {
/// An order on an account: what was done, or, of a dry run, what would be. Money in major units of its currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOrdered {
    /// `wattstile.order/1`
    pub schema: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The account.
    pub account: String,
    /// The order's idempotency key: the same order with it is carried out once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Whether the account is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// The currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The credit limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_limit: Option<Decimal>,
    /// The credit limit afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_limit_after: Option<Decimal>,
    /// The amount of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Decimal>,
    /// Paid money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Decimal>,
    /// Paid money afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_after: Option<Decimal>,
    /// Promotional money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotional: Option<Decimal>,
    /// Promotional money afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotional_after: Option<Decimal>,
    /// Reserved by sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Decimal>,
    /// What can still be reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Decimal>,
    /// Whether the credential is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked: Option<bool>,
    /// How many credentials are linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<usize>,
    /// The printable form of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Paid money that is paid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_out: Option<Decimal>,
    /// Promotional money that is forfeited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forfeited: Option<Decimal>,
    /// Holds that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_holds: Option<u32>,
    /// The payment of a top-up by a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<String>,
    /// Its hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}
}

impl AccountOrdered {
    /// Of a dry run.
    pub(super) fn dry(account: &AccountId) -> AccountOrdered {
        AccountOrdered { dry_run: true, ..AccountOrdered::done(account) }
    }

    /// Of an order that was carried out.
    pub(super) fn done(account: &AccountId) -> AccountOrdered {
        AccountOrdered { schema: ORDER.to_owned(), account: account.to_string(), ..AccountOrdered::default() }
    }
}

described! {
/// An order to a charger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerOrdered {
    /// `wattstile.order/1`
    pub schema: String,
    /// The charger.
    pub charger: String,
    /// True: a charger that refuses is a refusal.
    pub accepted: bool,
}
}

described! {
/// The key of a charger's meter is registered, or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterKeyRegistered {
    /// `wattstile.order/1`
    pub schema: String,
    /// The charger.
    pub charger: String,
    /// The key; null: it has none any more.
    pub meter_key: Option<MeterKeyRow>,
}
}

described! {
/// What is decided on energy that is kept for review.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineOrdered {
    /// `wattstile.order/1`
    pub schema: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The session.
    pub session: String,
    /// The currency.
    pub currency: String,
    /// Energy that was kept, in kWh.
    pub quarantined_kwh: Option<Decimal>,
    /// Energy that is billed, in kWh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_kwh: Option<Decimal>,
    /// What is to be paid for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payable: Option<Decimal>,
    /// `released`, `dropped` or `adopted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruling: Option<String>,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled_at: Option<String>,
}
}

described! {
/// A session is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStopped {
    /// `wattstile.order/1`
    pub schema: String,
    /// The session.
    pub session: String,
    /// Its state before.
    pub state: String,
    /// Whether the order was given: a session that is over needs none.
    pub ordered: bool,
}
}

described! {
/// An order on the money of a session or a top-up. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoneyOrdered {
    /// `wattstile.order/1`
    pub schema: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The session, or the top-up.
    pub session: String,
    /// The currency.
    pub currency: String,
    /// What is requested of processors.
    pub operations: Vec<RequestedRow>,
    /// Taken.
    pub captured: Decimal,
    /// Given back.
    pub refunded: Decimal,
    /// Being given back.
    pub refunding: Decimal,
    /// Reserved.
    pub held: Decimal,
    /// The total that is given back, earlier refunds included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Decimal>,
    /// The hold that is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}
}

described! {
/// An operation that follows from an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedRow {
    /// Its id.
    pub operation: String,
    /// The kind of request.
    pub kind: String,
    /// The processor.
    pub processor: String,
    /// The amount, where it has one.
    pub amount: Option<Decimal>,
}
}

described! {
/// A processor gets no new holds, or gets them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorOrdered {
    /// `wattstile.order/1`
    pub schema: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The processor.
    pub processor: String,
    /// Whether it got none before.
    pub draining: bool,
    /// Whether it gets none now.
    pub draining_after: bool,
    /// Operations that wait for an answer.
    pub in_flight: usize,
}
}

described! {
/// The answer of a processor to a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorTested {
    /// `wattstile.processor-test/1`
    pub schema: String,
    /// The processor.
    pub processor: String,
    /// `answered`, `silent` or `not sent`.
    pub outcome: String,
    /// How long the answer took, in milliseconds.
    pub took_ms: Option<i64>,
}
}

described! {
/// Keys of tokens are loaded again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysLoaded {
    /// `wattstile.order/1`
    pub schema: String,
    /// Their numbers.
    pub keys: Vec<u32>,
}
}

described! {
/// A backup was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// `wattstile.backup/1`
    pub schema: String,
    /// Its contents.
    #[serde(flatten)]
    pub manifest: Manifest,
}
}

described! {
/// A part of a settlement batch is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBrought {
    /// `wattstile.order/1`
    pub schema: String,
    /// The processor.
    pub processor: String,
    /// The batch.
    pub batch: String,
    /// Its revision.
    pub revision: u32,
    /// The part.
    pub part: u32,
}
}
