//! Quantities and identifiers that all other modules use.
//!
//! Floor 0: this module depends on no tariff, session, disk or socket. Bytes and text are parsed into these types
//! once, at the boundary; inner code relies on them.
//!
//! | quantity | type | stored as |
//! |---|---|---|
//! | instant | [`Timestamp`] | milliseconds since 1970-01-01T00:00:00Z |
//! | span of time | [`TimeSpan`] | milliseconds |
//! | energy, meter register | [`Energy`] | microwatt hours |
//! | power | [`Power`] | milliwatts |
//! | current | [`Current`] | milliamperes |
//! | what something costs, exact | [`Cost`] | 1/(9·10²⁴) of the currency's major unit |
//! | what can be paid | [`Amount`] | minor units of the currency |

mod common;
mod currencies;
mod energy;
mod figure;
mod ids;
mod likely;
mod meter;
mod money;
mod phrase;
mod protocol;
pub mod rng;
pub mod screen;
pub mod shape;
mod shown;
mod time;

pub(crate) use common::few;
pub use common::{Common, Few, Known};
pub use energy::{Current, Energy, Power, quotient};
pub use figure::{DecimalMark, FigureError, Typed, typed_amount, typed_money};
pub use ids::{
    AccountId, ChargerId, ConnectorId, Fingerprint, HoldId, IdError, OpId, OperatorId, PartitionId, PaymentId,
    ProcessorId, SessionId, SessionKey, SiteId, TariffHash, TariffId,
};
pub use likely::did_you_mean;
pub use meter::MeterReading;
pub use money::{Amount, Cost, Currency, MoneyError, Rounding};
pub use phrase::{by_count, counted, with_article};
pub use protocol::Protocol;
pub use shown::{is_hidden, visible, visible_json};
pub use time::{Clock, Mono, Now, TimeError, TimeSpan, Timestamp};
