//! Sessions from files: lists of meter readings, and runs that state only power, energy and times.
//!
//! Both become ordinary meter readings and are priced by the engine that prices live sessions.

use super::fields::{Fields, Reader, rounded, scaled};
use super::json::{self, Node, Value};
use super::model::{Tariff, TariffError, TariffFault};
use super::names::{READING_FIELDS, READINGS_FIELDS, RUN_FIELDS};
use super::rating::{Rating, RatingError};
use super::read::date_time;
use super::segments::Segments;
use super::zones::zone_named;
use crate::limits::CDR_BYTES_MAX;
use crate::units::{Current, Energy, MeterReading, Power, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// A session that can be priced: where it was, when it began, and what the meter showed.
///
/// ```
/// use jiff::tz::TimeZone;
/// use wattstile::tariff::{PriceReport, RecordedSession, Tariff};
///
/// let tariff = Tariff::parse(r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#)?
/// .tariff;
/// let session = RecordedSession::parse_readings(r#"{ "timezone": "UTC", "start": "2026-11-22T10:00:00Z",
///     "end": "2026-11-22T11:00:00Z", "readings": [{ "at": "2026-11-22T10:00:00Z", "register_wh": 0 },
///     { "at": "2026-11-22T11:00:00Z", "register_wh": 10000 }] }"#)?;
/// let report = PriceReport::of_session(&session.price(&tariff, &TimeZone::UTC)?, &tariff)?;
/// assert_eq!(report.total_cost.map(|cost| (cost.excl_vat, cost.incl_vat)), Some(("3".into(), "3.63".into())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RecordedSession {
    /// Time zone of the charger; `None` when the file names none.
    pub zone: Option<TimeZone>,
    /// Its beginning.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// The register at the beginning.
    pub first_register: Energy,
    /// What the meter showed, in order; the last one is at the end.
    pub readings: Vec<MeterReading>,
    /// A reservation before it.
    pub reservation: Option<ReservedTime>,
}

/// Time for which the place was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedTime {
    /// When the reservation was made.
    pub from: Timestamp,
    /// When charging began, or when it expired.
    pub to: Timestamp,
    /// No session followed.
    pub expired: bool,
}

/// A priced session.
#[derive(Clone, Debug)]
pub struct PricedSession {
    /// Volumes and components.
    pub rating: Rating,
    /// Line by line.
    pub segments: Segments,
}

impl RecordedSession {
    /// Reads `{timezone, start, end, readings: [{at, register_wh, power_w?, current_a?}], reservation?}`.
    ///
    /// The session's energy counts from the first reading's register, unless `start_register_wh` is given.
    ///
    /// # Errors
    /// [`TariffError`] with all faults: missing and misspelled fields, falling registers, times out of order.
    pub fn parse_readings(text: &str) -> Result<RecordedSession, TariffError> {
        read_root(text, |reader, root| {
            let root = object("$", root, reader)?;
            reader.misspelled(&root, READINGS_FIELDS, &[]);
            let (start, end) = frame(reader, &root, &["start", "start_date_time"], &["end", "end_date_time"]);
            let zone = zone(reader, &root);
            let zone = reader.keep(zone);
            let reservation = reservation(reader, &root);
            let reservation = reader.keep(reservation);
            let nodes = reader.list(&root, "readings")?;
            let mut readings: Vec<MeterReading> = Vec::with_capacity(nodes.len());
            for (index, node) in nodes.iter().enumerate() {
                let next = next_reading(reader, node, index, readings.last());
                readings.extend(reader.keep(next.map(Some)));
            }
            let first_register = match number(reader, &root, "start_register_wh", 6)? {
                Some(register) => Energy::from_microwatt_hours(register),
                None => {
                    // What flowed before the session is not its energy; without a reading at the start the first one counts.
                    let before = readings.iter().rfind(|reading| reading.at <= start);
                    before.or(readings.first()).map_or(Energy::ZERO, |reading| reading.register)
                }
            };
            let mut session = RecordedSession { zone, start, end, first_register, readings, reservation };
            session.close();
            if let Some(lower) = session.readings.first().filter(|first| first.register < first_register) {
                let reason = TariffFault::Contradiction(format!(
                    "the session begins at {}, and its reading of {} shows {}: a register never falls",
                    wh(first_register),
                    lower.at,
                    wh(lower.register)
                ));
                return Err(reader.fault(
                    &root.path_of("start_register_wh"),
                    root.span_of("start_register_wh"),
                    reason,
                ));
            }
            Ok(session)
        })
    }

    /// Reads a run: `{timezone, start_date_time, end_date_time, max_power_supply_kw, requested_kwh,
    /// max_current_supply_amp}`, also below `input`. The car takes the requested energy at full power, then idles.
    ///
    /// # Errors
    /// [`TariffError`] with all faults: missing and misspelled fields, times out of order.
    pub fn parse_run(text: &str) -> Result<RecordedSession, TariffError> {
        read_root(text, |reader, root| {
            let outer = object("$", root, reader)?;
            let root = match outer.get("input") {
                Some(node) => object("$.input", node, reader)?,
                None => outer,
            };
            reader.misspelled(&root, RUN_FIELDS, &["expect"]);
            let (start, end) = frame(reader, &root, &["start_date_time", "start"], &["end_date_time", "end"]);
            let power_mw = positive(reader, &root, "max_power_supply_kw", 6);
            let power_mw = reader.keep(power_mw);
            let requested = positive(reader, &root, "requested_kwh", 9);
            let requested = reader.keep(requested);
            let current = number(reader, &root, "max_current_supply_amp", 3)?.map(Current::from_milliamperes);
            let (full_at, energy) = charge(start, end, power_mw, requested);
            let register = Energy::from_microwatt_hours(energy);
            let mut session = RecordedSession {
                zone: zone(reader, &root)?,
                start,
                end,
                first_register: Energy::ZERO,
                readings: vec![MeterReading { sequence: 0, at: full_at, register, power: None, current }],
                reservation: reservation(reader, &root)?,
            };
            session.close();
            Ok(session)
        })
    }

    /// A session of which only the totals are known: constant power until nothing flows any more. `None` when its end is
    /// before its start.
    pub fn of_total(start: Timestamp, end: Timestamp, energy: Energy, inactive: TimeSpan) -> Option<RecordedSession> {
        if end < start {
            return None;
        }
        let full_at = end.saturating_add(TimeSpan::from_ms(inactive.ms().saturating_neg())).max(start);
        let reading = MeterReading { sequence: 1, at: full_at, register: energy, power: None, current: None };
        let first_register = Energy::ZERO;
        let mut session =
            RecordedSession { zone: None, start, end, first_register, readings: vec![reading], reservation: None };
        session.close();
        Some(session)
    }

    /// Adds a last reading without power at the end, and removes later ones.
    fn close(&mut self) {
        self.readings.retain(|reading| reading.at >= self.start && reading.at <= self.end);
        let register = self.readings.last().map_or(self.first_register, |last| last.register);
        if self.readings.last().is_none_or(|last| last.at < self.end) && self.end > self.start {
            // No energy flows after it; its power of zero states that.
            let power = Some(Power::default());
            self.readings.push(MeterReading { sequence: 0, at: self.end, register, power, current: None });
        }
        for (index, reading) in self.readings.iter_mut().enumerate() {
            reading.sequence = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        }
    }

    /// Prices it, reading by reading.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or figures beyond all ranges.
    pub fn price(&self, tariff: &Tariff, zone: &TimeZone) -> Result<PricedSession, RatingError> {
        let mut rating = Rating::open(tariff, zone, self.start, self.first_register)?;
        let expired = self.reservation.is_some_and(|reservation| reservation.expired);
        if expired {
            rating.forget_fee();
        }
        let mut segments = Segments::open(&rating);
        if let Some(reserved) = self.reservation {
            let slices = rating.reserve(tariff, zone, reserved)?;
            rating.apply(&slices);
            segments.add(&slices);
        }
        // No session followed the reservation.
        let count = if expired { 0 } else { self.readings.len() };
        for (index, reading) in self.readings.iter().take(count).enumerate() {
            let slices = if index + 1 == count {
                rating.price_last(tariff, zone, reading)?
            } else {
                rating.price(tariff, zone, reading)?
            };
            rating.apply(&slices);
            segments.add(&slices);
        }
        Ok(PricedSession { rating, segments })
    }
}

/// When the car is full, or unplugged, and what it took until then (µWh). The moment is rounded down to the
/// millisecond, so that its mean power is never below the power that was stated.
fn charge(start: Timestamp, end: Timestamp, power_mw: i64, requested: i64) -> (Timestamp, i64) {
    let span = end.since(start).ms().max(0);
    let available = i128::from(power_mw) * i128::from(span) / 3_600;
    let available = i64::try_from(available).unwrap_or(i64::MAX);
    if available <= requested {
        return (end, available);
    }
    let needed = i128::from(requested) * 3_600 / i128::from(power_mw.max(1));
    (start.saturating_add(TimeSpan::from_ms(i64::try_from(needed).unwrap_or(span))), requested)
}

/// Reads a document; all that is wrong with it is one error.
fn read_root(
    text: &str,
    read: impl FnOnce(&mut Reader<'_>, &Node<'_>) -> Result<RecordedSession, TariffError>,
) -> Result<RecordedSession, TariffError> {
    let (mut reader, root) = open(text)?;
    reader.doubled("$", &root);
    let session = read(&mut reader, &root).map(Some);
    let session = reader.keep(session);
    match (TariffError::of(reader.faults()), session) {
        (Some(error), _) => Err(error),
        (None, Some(session)) => Ok(session),
        (None, None) => Err(reader.fault("$", 0..0, TariffFault::Missing("readings"))),
    }
}

/// Beginning and end, in this order.
fn frame(
    reader: &mut Reader<'_>,
    root: &Fields<'_, '_>,
    starts: &[&'static str],
    ends: &[&'static str],
) -> (Timestamp, Timestamp) {
    let start = required_time(reader, root, starts).map(Some);
    let end = required_time(reader, root, ends).map(Some);
    let (start, end) = (reader.keep(start), reader.keep(end));
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        let name = ends.iter().find(|name| root.get(name).is_some()).copied().unwrap_or("end");
        let reason = TariffFault::Contradiction(format!("it ends at {end}, before it starts at {start}"));
        let fault = reader.fault(&root.path_of(name), root.span_of(name), reason);
        reader.note(fault);
    }
    (start.unwrap_or_default(), end.unwrap_or_default())
}

fn positive(
    reader: &mut Reader<'_>,
    root: &Fields<'_, '_>,
    name: &'static str,
    scale: u32,
) -> Result<i64, TariffError> {
    match number(reader, root, name, scale)? {
        Some(value) if value >= 0 => Ok(value),
        Some(value) => Err(reader.value(root, name, &value.to_string(), "zero or more")),
        None => Err(reader.fault(&root.path, root.span.clone(), TariffFault::Missing(name))),
    }
}

/// A reading that follows another one: not earlier, and its register not lower.
fn next_reading(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    index: usize,
    last: Option<&MeterReading>,
) -> Result<MeterReading, TariffError> {
    let fields = object(&format!("$.readings[{index}]"), node, reader)?;
    reader.misspelled(&fields, READING_FIELDS, &[]);
    let reading = reading(reader, &fields, index)?;
    if reading.register < Energy::ZERO {
        let reason = TariffFault::Contradiction(format!(
            "the reading of {} shows {}, and a register is never below zero: leave out a reading that is not known",
            reading.at,
            wh(reading.register)
        ));
        return Err(reader.fault(&fields.path_of("register_wh"), fields.span_of("register_wh"), reason));
    }
    let Some(last) = last else { return Ok(reading) };
    if last.at > reading.at {
        let reason = TariffFault::Contradiction(format!(
            "the reading of {} stands behind the one of {}: readings stand in the order of their times",
            reading.at, last.at
        ));
        return Err(reader.fault(&fields.path_of("at"), fields.span_of("at"), reason));
    }
    if reading.register < last.register {
        let reason = TariffFault::Contradiction(format!(
            "the register falls from {} ({}) to {} ({}): where a meter was reset or changed, price the readings before and \
             after it as two sessions",
            wh(last.register),
            last.at,
            wh(reading.register),
            reading.at
        ));
        let fault = reader.fault(&fields.path_of("register_wh"), fields.span_of("register_wh"), reason);
        // The readings behind it are compared with it: one fall is one fault.
        reader.note(fault);
    }
    Ok(reading)
}

/// A register as the file has it, in Wh.
fn wh(register: Energy) -> String {
    format!("{} Wh", Decimal::new(register.microwatt_hours(), 6).normalize())
}

fn open(text: &str) -> Result<(Reader<'_>, Node<'_>), TariffError> {
    let reader = Reader::new(text);
    if text.len() > CDR_BYTES_MAX {
        let what = format!("a text of {} bytes", text.len());
        return Err(reader.fault("$", 0..0, TariffFault::TooLarge { what, max: CDR_BYTES_MAX }));
    }
    let document = json::parse(text).map_err(|error| reader.fault("$", error.offset..error.offset, error.into()))?;
    Ok((reader, document.root))
}

fn object<'n, 'a>(path: &str, node: &'n Node<'a>, reader: &Reader<'_>) -> Result<Fields<'n, 'a>, TariffError> {
    match &node.value {
        Value::Object(members) => Ok(Fields { path: path.to_owned(), span: node.span.clone(), members }),
        other => {
            let reason = TariffFault::Type { expected: "an object", found: other.kind() };
            Err(reader.fault(path, node.span.clone(), reason))
        }
    }
}

fn reading(reader: &mut Reader<'_>, fields: &Fields<'_, '_>, index: usize) -> Result<MeterReading, TariffError> {
    let Some(register) = number(reader, fields, "register_wh", 6)? else {
        return Err(reader.fault(&fields.path, fields.span.clone(), TariffFault::Missing("register_wh")));
    };
    Ok(MeterReading {
        sequence: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
        at: required_time(reader, fields, &["at"])?,
        register: Energy::from_microwatt_hours(register),
        power: number(reader, fields, "power_w", 3)?.map(Power::from_milliwatts),
        current: number(reader, fields, "current_a", 3)?.map(Current::from_milliamperes),
    })
}

fn number(
    reader: &mut Reader<'_>,
    fields: &Fields<'_, '_>,
    name: &'static str,
    scale: u32,
) -> Result<Option<i64>, TariffError> {
    let Some(number) = reader.opt_number(fields, name)? else { return Ok(None) };
    match scaled(rounded(number, scale), scale) {
        Some(value) => Ok(Some(value)),
        None => {
            Err(reader.value(fields, name, &Decimal::to_string(&number), "a number of less than 9,223,372,036,854"))
        }
    }
}

fn zone(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<TimeZone>, TariffError> {
    for name in ["timezone", "time_zone"] {
        let Some(text) = reader.opt_text(root, name)? else { continue };
        return zone_named(&text)
            .map(Some)
            .map_err(|error| reader.fault(&root.path_of(name), root.span_of(name), TariffFault::Contradiction(error)));
    }
    Ok(None)
}

fn reservation(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<ReservedTime>, TariffError> {
    let Some(node) = root.get("reservation") else { return Ok(None) };
    let fields = object("$.reservation", node, reader)?;
    let from = required_time(reader, &fields, &["from", "start"])?;
    let to = required_time(reader, &fields, &["to", "end"])?;
    let expired = matches!(fields.get("expired").map(|node| &node.value), Some(Value::Bool(true)));
    Ok(Some(ReservedTime { from, to, expired }))
}

/// The first of some fields that is there, as an instant; without an offset it is UTC, as in OCPI.
fn required_time(
    reader: &mut Reader<'_>,
    fields: &Fields<'_, '_>,
    names: &[&'static str],
) -> Result<Timestamp, TariffError> {
    for name in names {
        let Some(text) = reader.opt_text(fields, name)? else { continue };
        return date_time(&text).ok_or_else(|| reader.value(fields, name, &text, "a date and time (RFC 3339)"));
    }
    Err(reader.fault(&fields.path, fields.span.clone(), TariffFault::Missing(names.first().copied().unwrap_or("at"))))
}
