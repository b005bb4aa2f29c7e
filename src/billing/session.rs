//! The figures of a session that is over, as billing takes them in.

use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Currency, Energy, MoneyError, ProcessorId, Rounding, SessionId, SessionKey,
    TariffHash, TariffId, TimeSpan, Timestamp,
};
use rust_decimal::Decimal;

/// All data of a session that billing needs. Checked by [`ClosedSession::check`] before a document is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSession {
    /// The gate's id.
    pub id: SessionId,
    /// The charger's own number for it.
    pub key: SessionKey,
    /// The charger.
    pub charger: ChargerId,
    /// The connector.
    pub connector: ConnectorId,
    /// Where the charger stands.
    pub place: ChargerLocation,
    /// When it began, by the charger's clock.
    pub started_at: Timestamp,
    /// When it ended, by the charger's clock.
    pub ended_at: Timestamp,
    /// The charger's time zone, as an IANA name.
    pub zone: Box<str>,
    /// The reason of its end, as text.
    pub end_reason: Box<str>,
    /// What is to be known of it, in one word each.
    pub flags: Vec<&'static str>,
    /// The register at the start.
    pub first_register: Energy,
    /// The register at the end.
    pub last_register: Energy,
    /// Energy that was billed: last less first register, per stretch between two jumps of the register.
    pub energy: Energy,
    /// Time at the connector in which no energy flowed.
    pub parking: TimeSpan,
    /// Readings that were recorded.
    pub readings: u32,
    /// The tariff.
    pub tariff: PinnedTariff,
    /// The priced positions, in order of time.
    pub lines: Vec<Line>,
    /// Sums per VAT rate.
    pub vat: Vec<VatTotal>,
    /// The exact cost without VAT.
    pub net: Cost,
    /// The exact cost with VAT.
    pub gross: Cost,
    /// The rule by which `payable` came from `gross`.
    pub rounding: Rounding,
    /// What the driver pays: `gross`, rounded once.
    pub payable: Amount,
    /// The payment.
    pub payment: PaymentSummary,
    /// The driver's credential.
    pub presented: Presented,
}

/// Where a charger stands: OCPI's location, as far as a receipt needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargerLocation {
    /// Id of the location; the charger's id where there is none.
    pub location_id: Box<str>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Street and number.
    pub address: Box<str>,
    /// City.
    pub city: Box<str>,
    /// Postal code.
    pub postal_code: Option<Box<str>>,
    /// ISO 3166-1 alpha-3, as OCPI requires.
    pub country: Box<str>,
    /// Latitude and longitude in decimal degrees, as text.
    pub coordinates: Option<(Box<str>, Box<str>)>,
    /// The EVSE's id by eMI3 or ISO 15118; charger and connector where there is none.
    pub evse_id: Option<Box<str>>,
    /// The connector.
    pub plug: Plug,
}

/// A connector, in OCPI's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// `ConnectorType`, such as `IEC_62196_T2`.
    pub standard: Box<str>,
    /// `SOCKET` or `CABLE`.
    pub format: Box<str>,
    /// `PowerType`, such as `AC_3_PHASE`.
    pub power_type: Box<str>,
}

/// What public alternating-current chargers in Europe have to have.
impl Default for Plug {
    fn default() -> Plug {
        Plug { standard: "IEC_62196_T2".into(), format: "SOCKET".into(), power_type: "AC_3_PHASE".into() }
    }
}

/// The version of a tariff that priced the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedTariff {
    /// The tariff's id.
    pub id: TariffId,
    /// SHA-256 of its text.
    pub hash: TariffHash,
    /// Its text: an OCPI tariff in JSON.
    pub text: Box<str>,
    /// Whether its prices contain VAT.
    pub prices_include_vat: bool,
}

/// What a line prices. The same as in OCPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Energy, per kWh.
    Energy,
    /// Once per session.
    Flat,
    /// Time in which energy flows, per hour.
    Time,
    /// Time in which no energy flows, per hour.
    ParkingTime,
    /// Time for which a place was reserved, per hour.
    Reservation,
    /// What the tariff's lowest price adds, or its highest price takes away.
    PriceLimit,
}

/// One priced stretch of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The tariff's element, counted from 1.
    pub element: u16,
    /// The restrictions of this element (`day 07-19`); empty when it has none.
    pub reason: Box<str>,
    /// The priced quantity.
    pub dimension: Dimension,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// The measured quantity.
    pub measured: Quantity,
    /// The billed quantity: `measured`, rounded up to the tariff's step where it has one.
    pub billed: Quantity,
    /// Price per kWh, per hour or once, in major units, as the tariff states it.
    pub price: Decimal,
    /// VAT in percent; `None`: no VAT applies or it is not known.
    pub vat_percent: Option<Decimal>,
    /// The exact cost without VAT.
    pub net: Cost,
    /// The exact cost with VAT.
    pub gross: Cost,
}

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Energy.
    Energy(Energy),
    /// Time.
    Time(TimeSpan),
    /// Once.
    Once,
}

/// The sums of one VAT rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VatTotal {
    /// The rate in percent; `None`: no VAT applies or it is not known.
    pub percent: Option<Decimal>,
    /// The exact cost without VAT.
    pub net: Cost,
    /// The exact VAT.
    pub vat: Cost,
}

/// How a session was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentSummary {
    /// The processor; `None` when none got a request or none approved.
    pub processor: Option<ProcessorId>,
    /// The most that was authorized.
    pub authorized: Amount,
    /// The captured amount.
    pub captured: Amount,
    /// The released amount.
    pub released: Amount,
    /// What was consumed and could not be taken.
    pub shortfall: Amount,
    /// The processor's references, in order.
    pub references: Vec<Box<str>>,
    /// When the money was taken.
    pub captured_at: Option<Timestamp>,
}

/// The driver's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its kind.
    pub kind: PresentedKind,
    /// Its printable form. Never the credential.
    pub fingerprint: Box<str>,
}

/// Kinds of credentials, as documents name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentedKind {
    /// A payment card, by its token.
    Card,
    /// A device wallet.
    Wallet,
    /// An e-mobility account.
    EvAccount,
    /// An RFID card.
    Rfid,
}

impl PresentedKind {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            PresentedKind::Card => "payment card",
            PresentedKind::Wallet => "wallet",
            PresentedKind::EvAccount => "e-mobility account",
            PresentedKind::Rfid => "RFID card",
        }
    }
}

/// Why nothing is issued for a session: its figures contradict each other, which is a defect and no fault of the driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BillingError {
    /// The lines do not add up to the total.
    #[error("the lines add up to {lines} and the total is {total}")]
    Lines {
        /// Sum of the lines.
        lines: Cost,
        /// The total.
        total: Cost,
    },
    /// The sums per VAT rate do not add up to the total.
    #[error("the sums per VAT rate add up to {rates} and the total is {total}")]
    Rates {
        /// Sum over the rates.
        rates: Cost,
        /// The total.
        total: Cost,
    },
    /// The payable amount is not the rounded total.
    #[error("{payable} is payable, but {total} rounds to {rounded}")]
    Payable {
        /// The amount that is stated as payable.
        payable: Amount,
        /// The total.
        total: Cost,
        /// The total, rounded by the session's rule.
        rounded: Amount,
    },
    /// Captured and shortfall do not come to the payable amount.
    #[error("{captured} captured and {shortfall} short are not the {payable} that are payable")]
    Paid {
        /// Captured.
        captured: Amount,
        /// Shortfall.
        shortfall: Amount,
        /// Payable.
        payable: Amount,
    },
    /// A time that no calendar has, or an unknown time zone.
    #[error("{0}")]
    Time(String),
    /// Money of two currencies, or a sum that does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The tariff's engine does not agree with what it rated.
    #[error("the session could not be priced: {0}")]
    Rating(String),
    /// The tariff's text is not JSON.
    #[error("the tariff's text is not JSON: {0}")]
    Tariff(String),
    /// A template that does not render: a defect of the program.
    #[error("the receipt's page could not be made: {0}")]
    Template(String),
}

impl ChargerLocation {
    /// Name, street and city in one line, as far as they are known.
    pub fn one_line(&self) -> String {
        let town = [self.postal_code.as_deref().unwrap_or(""), &self.city].join(" ");
        let parts = [self.name.as_deref().unwrap_or(""), &self.address, town.trim()];
        let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        known.join(", ")
    }
}

impl ClosedSession {
    /// The EVSE's id, or charger and connector where it has none.
    pub fn evse_id(&self) -> String {
        match &self.place.evse_id {
            Some(id) => id.to_string(),
            None => format!("{}*{}", self.charger, self.connector),
        }
    }

    /// The currency of all its money.
    pub fn currency(&self) -> Currency {
        self.payable.currency
    }

    /// What was taken beyond the payable amount, if anything was.
    ///
    /// # Errors
    /// [`MoneyError`]: amounts of several currencies, or an overflow.
    pub fn overpaid(&self) -> Result<Option<Amount>, MoneyError> {
        let beyond = self.payment.captured.checked_sub(self.payable)?;
        Ok((beyond.minor > 0).then_some(beyond))
    }

    /// What rounding added to the exact cost; negative when it took something away. Shown on the receipt.
    ///
    /// # Errors
    /// [`MoneyError`]: amounts of several currencies, or an overflow.
    pub fn rounding_difference(&self) -> Result<Cost, MoneyError> {
        self.payable.to_cost().checked_sub(self.gross)
    }

    fn sum(&self, costs: impl Iterator<Item = Cost>) -> Result<Cost, MoneyError> {
        let mut costs = costs;
        costs.try_fold(Cost::zero(self.currency()), |sum, cost| sum.checked_add(cost))
    }

    /// Whether the figures agree with each other.
    ///
    /// # Errors
    /// [`BillingError::Lines`], [`BillingError::Rates`], [`BillingError::Payable`], [`BillingError::Paid`], in this
    /// order; [`BillingError::Money`].
    pub fn check(&self) -> Result<(), BillingError> {
        for (lines, total) in [
            (self.sum(self.lines.iter().map(|line| line.net))?, self.net),
            (self.sum(self.lines.iter().map(|line| line.gross))?, self.gross),
        ] {
            if lines != total {
                return Err(BillingError::Lines { lines, total });
            }
        }
        let net = self.sum(self.vat.iter().map(|rate| rate.net))?;
        if net != self.net {
            return Err(BillingError::Rates { rates: net, total: self.net });
        }
        let gross = self.sum(self.vat.iter().map(|rate| rate.vat))?.checked_add(net)?;
        if gross != self.gross {
            return Err(BillingError::Rates { rates: gross, total: self.gross });
        }
        let rounded = self.gross.round(self.rounding)?;
        if rounded != self.payable {
            return Err(BillingError::Payable { payable: self.payable, total: self.gross, rounded });
        }
        let PaymentSummary { captured, shortfall, .. } = self.payment;
        // More than is payable can have been taken: by a capture that was given up and came late. It is given back as a
        // fact of its own; but then nothing is short.
        let sum = captured.checked_add(shortfall)?;
        let beyond = sum.checked_sub(self.payable)?.minor;
        if beyond < 0 || (beyond > 0 && shortfall.minor > 0) {
            return Err(BillingError::Paid { captured, shortfall, payable: self.payable });
        }
        Ok(())
    }
}
