//! The charge detail record of OCPI (module CDRs), in the JSON shape of 2.2.1 or 2.3.0.
//!
//! Numbers are JSON numbers, written digit by digit from exact decimals. The credential appears as a fingerprint only.

use super::{BillingError, ClosedSession, Dimension, Issue, Line, PresentedKind, Quantity};
use crate::units::{Amount, Cost, Energy, TimeSpan, Timestamp, quotient};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// Versions of OCPI that differ in how a price is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcpiVersion {
    /// `{"excl_vat": …, "incl_vat": …}`
    V2_2_1,
    /// `{"before_taxes": …, "taxes": […]}`
    V2_3_0,
}

/// The sender of a record: OCPI's country code and party id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// ISO 3166-1 alpha-2.
    pub country_code: String,
    /// Three characters, by ISO 15118.
    pub party_id: String,
}

/// A charge detail record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cdr(Map<String, Value>);

impl Cdr {
    /// The record of a session.
    ///
    /// # Errors
    /// [`BillingError::Tariff`]; [`BillingError::Money`] for figures that cannot be written as numbers.
    pub fn new(session: &ClosedSession, issue: &Issue, version: OcpiVersion) -> Result<Cdr, BillingError> {
        let price = |net: Cost, gross: Cost| price(version, net, gross);
        let of = |dimension: Dimension| -> Result<Option<(Cost, Cost)>, BillingError> {
            let mut sum = None;
            for line in session.lines.iter().filter(|line| line.dimension == dimension) {
                let zero = Cost::zero(session.currency());
                let (net, gross) = sum.unwrap_or((zero, zero));
                sum = Some((net.checked_add(line.net)?, gross.checked_add(line.gross)?));
            }
            Ok(sum)
        };
        let tariff: Value =
            serde_json::from_str(&session.tariff.text).map_err(|error| BillingError::Tariff(error.to_string()))?;

        let mut record = Map::new();
        let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
        put("country_code", text(&issue.party.country_code));
        put("party_id", text(&issue.party.party_id));
        put("id", text(session.id));
        put("start_date_time", text(session.started_at));
        put("end_date_time", text(session.ended_at));
        put("session_id", text(session.id));
        put("cdr_token", token(session, issue));
        put("auth_method", text("AUTH_REQUEST"));
        if let Some(reference) = session.payment.references.first() {
            put("authorization_reference", text(limited(reference, 36)));
        }
        put("cdr_location", location(session));
        put("currency", text(session.currency()));
        put("tariffs", Value::Array(vec![tariff]));
        put("charging_periods", Value::Array(periods(session)));
        put("total_cost", price(session.net, session.gross)?);
        if let Some((net, gross)) = of(Dimension::Flat)? {
            put("total_fixed_cost", price(net, gross)?);
        }
        put("total_energy", number(session.energy.kwh())?);
        if let Some((net, gross)) = of(Dimension::Energy)? {
            put("total_energy_cost", price(net, gross)?);
        }
        put("total_time", number(hours(session.ended_at.since(session.started_at)))?);
        if let Some((net, gross)) = of(Dimension::Time)? {
            put("total_time_cost", price(net, gross)?);
        }
        put("total_parking_time", number(hours(session.parking))?);
        if let Some((net, gross)) = of(Dimension::ParkingTime)? {
            put("total_parking_cost", price(net, gross)?);
        }
        if let Some((net, gross)) = of(Dimension::Reservation)? {
            put("total_reservation_cost", price(net, gross)?);
        }
        if let Some(number) = &issue.number {
            put("invoice_reference_id", text(limited(number, 39)));
        }
        put("last_updated", text(issue.at));
        Ok(Cdr(record))
    }

    /// The credit record that takes this one back, in whole or in part (OCPI: `credit`, `credit_reference_id`): the same,
    /// with another id, and as total cost the refunded amount, below zero.
    ///
    /// # Errors
    /// [`BillingError::Money`] for amounts that cannot be written as numbers.
    pub fn credit(
        &self,
        id: &str,
        at: Timestamp,
        (net, gross): (Amount, Amount),
        version: OcpiVersion,
    ) -> Result<Cdr, BillingError> {
        let mut record = self.0.clone();
        let reference = record.insert("id".to_owned(), text(limited(id, 39)));
        record.insert("credit".to_owned(), Value::Bool(true));
        record.insert("credit_reference_id".to_owned(), reference.unwrap_or(Value::Null));
        record.insert("total_cost".to_owned(), price(version, net.to_cost(), gross.to_cost())?);
        record.insert("last_updated".to_owned(), text(at));
        Ok(Cdr(record))
    }

    /// A field of the record.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }
}

fn token(session: &ClosedSession, issue: &Issue) -> Value {
    let kind = match session.presented.kind {
        PresentedKind::Rfid => "RFID",
        PresentedKind::EvAccount => "APP_USER",
        PresentedKind::Card | PresentedKind::Wallet => "AD_HOC_USER",
    };
    let uid = limited(&session.presented.fingerprint, 36);
    object([
        ("country_code", text(&issue.party.country_code)),
        ("party_id", text(&issue.party.party_id)),
        ("uid", text(uid)),
        ("type", text(kind)),
        ("contract_id", text(uid)),
    ])
}

/// Required OCPI fields without a value are `#NA`, as the specification demands for locations without a connector.
fn location(session: &ClosedSession) -> Value {
    let place = &session.place;
    let or_na = |field: &str| if field.is_empty() { "#NA".to_owned() } else { field.to_owned() };
    let (latitude, longitude) = place.coordinates.clone().unwrap_or_else(|| ("0.00000".into(), "0.00000".into()));
    let mut location = Map::new();
    let mut put = |key: &str, value: Value| location.insert(key.to_owned(), value);
    put("id", text(limited(&or_na(&place.location_id), 36)));
    if let Some(name) = &place.name {
        put("name", text(name));
    }
    put("address", text(or_na(&place.address)));
    put("city", text(or_na(&place.city)));
    if let Some(code) = &place.postal_code {
        put("postal_code", text(code));
    }
    put("country", text(or_na(&place.country)));
    put("coordinates", object([("latitude", text(latitude)), ("longitude", text(longitude))]));
    put("evse_uid", text(limited(session.charger.as_str(), 36)));
    put("evse_id", text(session.evse_id()));
    put("connector_id", text(session.connector));
    put("connector_standard", text(&place.plug.standard));
    put("connector_format", text(&place.plug.format));
    put("connector_power_type", text(&place.plug.power_type));
    Value::Object(location)
}

/// One charging period from each moment at which a line begins to the next: prices change there. A line that goes on over
/// such a moment is divided by time, so no period states more than there was in it, and all of them state the whole.
fn periods(session: &ClosedSession) -> Vec<Value> {
    let mut starts: Vec<Timestamp> = session.lines.iter().map(|line| line.from).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut periods: Vec<(Timestamp, Vec<Value>)> = starts.iter().map(|start| (*start, Vec::new())).collect();
    for line in &session.lines {
        let first = starts.partition_point(|start| *start < line.from);
        let ends = starts.iter().skip(first.saturating_add(1)).copied().chain([session.ended_at.max(line.to)]);
        for ((from, stated), until) in periods.iter_mut().skip(first).zip(ends) {
            if *from >= line.to && *from != line.from {
                break;
            }
            stated.extend(volume(line.dimension, part(line, *from, until)));
        }
    }
    let stated = periods.into_iter().filter(|(_, dimensions)| !dimensions.is_empty());
    let period = |(from, dimensions)| {
        object([
            ("start_date_time", text(from)),
            ("dimensions", Value::Array(dimensions)),
            ("tariff_id", text(&session.tariff.id)),
        ])
    };
    stated.map(period).collect()
}

/// What a line measured within a period.
fn part(line: &Line, from: Timestamp, until: Timestamp) -> Quantity {
    let length = line.to.since(line.from).ms();
    if length <= 0 {
        return line.measured;
    }
    // Differences of sums up to a moment: parts add up to the whole, to the last digit.
    let upto = |whole: i64, moment: Timestamp| {
        let passed = moment.min(line.to).since(line.from).ms().max(0);
        i64::try_from(quotient(i128::from(whole).saturating_mul(i128::from(passed)), length)).unwrap_or(whole)
    };
    let share = |whole: i64| upto(whole, until).saturating_sub(upto(whole, from));
    match line.measured {
        Quantity::Energy(energy) => Quantity::Energy(Energy::from_microwatt_hours(share(energy.microwatt_hours()))),
        Quantity::Time(span) => Quantity::Time(TimeSpan::from_ms(share(span.ms()))),
        Quantity::Once => Quantity::Once,
    }
}

fn volume(dimension: Dimension, measured: Quantity) -> Option<Value> {
    let (kind, volume) = match (dimension, measured) {
        (Dimension::Energy, Quantity::Energy(energy)) => ("ENERGY", energy.kwh()),
        (Dimension::Time, Quantity::Time(span)) => ("TIME", hours(span)),
        (Dimension::ParkingTime, Quantity::Time(span)) => ("PARKING_TIME", hours(span)),
        (Dimension::Reservation, Quantity::Time(span)) => ("RESERVATION_TIME", hours(span)),
        // A fee has no volume in OCPI, and neither has a limit.
        (
            Dimension::Energy
            | Dimension::Time
            | Dimension::ParkingTime
            | Dimension::Reservation
            | Dimension::Flat
            | Dimension::PriceLimit,
            Quantity::Energy(_) | Quantity::Time(_) | Quantity::Once,
        ) => return None,
    };
    let volume = number(volume).ok()?;
    Some(object([("type", text(kind)), ("volume", volume)]))
}

fn price(version: OcpiVersion, net: Cost, gross: Cost) -> Result<Value, BillingError> {
    Ok(match version {
        OcpiVersion::V2_2_1 => object([("excl_vat", number(net.major())?), ("incl_vat", number(gross.major())?)]),
        OcpiVersion::V2_3_0 => {
            let vat = object([("name", text("VAT")), ("amount", number(gross.checked_sub(net)?.major())?)]);
            object([("before_taxes", number(net.major())?), ("taxes", Value::Array(vec![vat]))])
        }
    })
}

/// Hours with at most eight decimals (a thirtieth of a millisecond).
fn hours(span: TimeSpan) -> Decimal {
    let hours = Decimal::from(span.ms()).checked_div(Decimal::from(3_600_000)).unwrap_or_default();
    hours.round_dp(8).normalize()
}

/// A decimal as a JSON number with exactly its digits.
fn number(decimal: Decimal) -> Result<Value, BillingError> {
    let digits = decimal.normalize().to_string();
    digits.parse::<Number>().map(Value::Number).map_err(|_| BillingError::Money(crate::units::MoneyError::Overflow))
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// At most so many characters: OCPI bounds every text.
fn limited(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}
