//! CDRs: reading the OCPI object, and pricing its charging periods on the same volumes and totals as a live session.
//!
//! A CDR states volumes per period, and its maker has begun a new period wherever a price changes. So each period is
//! priced whole, by what is active at its beginning, and only the dimensions that it states are billed.

use super::fields::{Fields, Reader, scaled};
use super::finding::{Finding, Severity};
use super::json::{self, Node, Value};
use super::model::{Dimension, Tariff, TariffError, TariffFault};
use super::rating::{Rating, RatingError};
use super::read::date_time;
use super::segments::Segments;
use super::select::{self, Flow, Local, Moment, NONE, Phase};
use super::zones;
use crate::limits::CDR_BYTES_MAX;
use crate::units::{Energy, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// A CDR as far as its price is concerned.
#[derive(Clone, Debug)]
pub struct Cdr {
    /// Start of the session, or of its reservation.
    pub start: Timestamp,
    /// End of the session.
    pub end: Timestamp,
    /// ISO 4217 code, as written.
    pub currency: Option<String>,
    /// It takes back an earlier CDR: its total is that one's, negated.
    pub credit: bool,
    /// Where the charger stands, as far as it says.
    pub zone: Option<TimeZone>,
    /// The periods, in the order of their beginnings.
    pub periods: Vec<Period>,
    /// Source texts of the tariffs it contains.
    pub tariffs: Vec<String>,
    /// The tariff that the first period names.
    pub tariff_id: Option<String>,
    /// What was found while reading.
    pub findings: Vec<Finding>,
}

/// A charging period: what it states, in the units of volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Its beginning.
    pub start: Timestamp,
    /// `ENERGY`, in µWh.
    pub energy: Option<i64>,
    /// `TIME`, in ms.
    pub time: Option<i64>,
    /// `PARKING_TIME`, in ms.
    pub parking: Option<i64>,
    /// `RESERVATION_TIME`, in ms.
    pub reservation: Option<i64>,
    /// `MIN_POWER`, in mW.
    pub min_power: Option<i64>,
    /// `MAX_POWER`, in mW.
    pub max_power: Option<i64>,
    /// `MIN_CURRENT`, in mA.
    pub min_current: Option<i64>,
    /// `MAX_CURRENT`, in mA.
    pub max_current: Option<i64>,
}

/// A priced CDR.
#[derive(Clone, Debug)]
pub struct PricedCdr {
    /// Volumes and components, as of a live session.
    pub rating: Rating,
    /// Line by line.
    pub segments: Segments,
    /// From the first period to the end.
    pub duration: TimeSpan,
    /// Remarks on the periods: code and text.
    pub remarks: Vec<(&'static str, String)>,
}

impl Cdr {
    /// Reads an OCPI 2.2.1 or 2.3.0 CDR.
    pub fn parse(text: &str) -> Result<Cdr, TariffError> {
        let mut reader = Reader::new(text);
        if text.len() > CDR_BYTES_MAX {
            let what = format!("a text of {} bytes", text.len());
            return Err(reader.fault("$", 0..0, TariffFault::TooLarge { what, max: CDR_BYTES_MAX }));
        }
        let document = json::parse(text)
            .map_err(|error| reader.fault("$", error.offset..error.offset, TariffFault::Json(error.what)))?;
        let root = plain_object("$", &document.root, &reader)?;
        let start = required_time(&mut reader, &root, "start_date_time")?;
        // OCPI 2.1.1 called the end `stop_date_time`.
        let end_name = if root.get("end_date_time").is_some() { "end_date_time" } else { "stop_date_time" };
        let end = required_time(&mut reader, &root, end_name)?;
        let mut periods = Vec::new();
        let mut tariff_id = None;
        for (index, node) in reader.list(&root, "charging_periods")?.iter().enumerate() {
            let path = format!("$.charging_periods[{index}]");
            let fields = plain_object(&path, node, &reader)?;
            if tariff_id.is_none() {
                tariff_id = reader.opt_text(&fields, "tariff_id")?;
            }
            periods.push(period(&mut reader, &fields)?);
        }
        periods.sort_by_key(|period| period.start);
        let tariffs = match root.get("tariffs").map(|node| &node.value) {
            Some(Value::List(items)) => items.iter().map(|item| text[item.span.clone()].to_owned()).collect(),
            _ => Vec::new(),
        };
        let credit = matches!(root.get("credit").map(|node| &node.value), Some(Value::Bool(true)));
        let zone = zone(&mut reader, &root)?;
        let currency = reader.opt_text(&root, "currency")?;
        Ok(Cdr { start, end, currency, credit, zone, periods, tariffs, tariff_id, findings: reader.findings })
    }

    /// The tariff inside the CDR: the one its first period names, else the first that is valid at its start, else the
    /// first. `None` when it contains none; an error when that one cannot be used.
    pub fn own_tariff(&self) -> Option<Result<Tariff, TariffError>> {
        let read: Vec<_> = self.tariffs.iter().map(|text| Tariff::parse(text).map(|parsed| parsed.tariff)).collect();
        let named = |tariff: &Tariff| self.tariff_id.as_deref().is_some_and(|id| tariff.id().as_str() == id);
        let valid = |tariff: &Tariff| tariff.valid_at(self.start);
        let place = read.iter().position(|tariff| tariff.as_ref().is_ok_and(named));
        let place = place.or_else(|| read.iter().position(|tariff| tariff.as_ref().is_ok_and(valid))).unwrap_or(0);
        read.into_iter().nth(place)
    }

    /// Prices the periods.
    pub fn price(&self, tariff: &Tariff, zone: &TimeZone) -> Result<PricedCdr, RatingError> {
        let origin = self.periods.first().map_or(self.start, |period| period.start);
        let session_start =
            self.periods.iter().find(|period| !period.is_reservation()).map_or(origin, |first| first.start);
        let mut rating = Rating::open(tariff, zone, session_start, Energy::ZERO)?;
        rating.flat = NONE;
        let mut priced =
            PricedCdr { rating, segments: Segments::default(), duration: self.end.since(origin), remarks: Vec::new() };
        let used = self.periods.iter().any(|period| !period.is_reservation());
        for (index, period) in self.periods.iter().enumerate() {
            let to = self.periods.get(index + 1).map_or(self.end, |next| next.start);
            priced.add(tariff, zone, period, to, if used { Phase::Reserved } else { Phase::Expired })?;
        }
        self.remark(tariff, &mut priced);
        Ok(priced)
    }

    fn remark(&self, tariff: &Tariff, priced: &mut PricedCdr) {
        let outside = |period: &Period| period.start < self.start || period.start > self.end;
        if self.periods.iter().any(outside) {
            let text = "a charging period begins before the CDR's start or after its end".to_owned();
            priced.remarks.push(("periods_outside_start_end_date_time", text));
        }
        let timed = |dimension| matches!(dimension, Dimension::Time | Dimension::ParkingTime);
        let prices_time = tariff.components().iter().any(|component| timed(component.dimension));
        let states_time = self
            .periods
            .iter()
            .any(|period| period.time.is_some() || period.parking.is_some() || period.reservation.is_some());
        if prices_time && !states_time {
            let text = "the tariff prices time, and no charging period states any: none is billed".to_owned();
            priced.remarks.push(("periods_state_no_time", text));
        }
        if !tariff.valid_at(self.start) {
            priced.remarks.push(("tariff_not_valid", "the tariff is not valid at the CDR's start".to_owned()));
        }
        if self.currency.as_deref().is_some_and(|code| !code.eq_ignore_ascii_case(tariff.currency().code())) {
            let text = "the CDR and the tariff have different currencies; the price is in the tariff's".to_owned();
            priced.remarks.push(("currency_differs", text));
        }
    }
}

impl Period {
    fn is_reservation(&self) -> bool {
        self.reservation.is_some() && self.energy.is_none() && self.time.is_none() && self.parking.is_none()
    }

    /// Stated bounds; where none is stated, the mean power of the period's energy over its time.
    fn power(&self, to: Timestamp) -> Flow {
        if self.min_power.is_some() || self.max_power.is_some() {
            return Flow { low: self.min_power, high: self.max_power };
        }
        let time = self.time.unwrap_or_else(|| to.since(self.start).ms());
        match (self.energy, self.parking) {
            (Some(energy), None) if energy > 0 => Flow::exactly(super::rating::average_power(energy, time)),
            (None | Some(0), Some(_)) => Flow::exactly(Some(0)),
            _ => Flow::default(),
        }
    }

    fn current(&self) -> Flow {
        match (self.min_current, self.max_current, self.energy, self.parking) {
            (None, None, None | Some(0), Some(_)) => Flow::exactly(Some(0)),
            (low, high, ..) => Flow { low, high },
        }
    }
}

impl PricedCdr {
    fn add(
        &mut self,
        tariff: &Tariff,
        zone: &TimeZone,
        period: &Period,
        to: Timestamp,
        reserved: Phase,
    ) -> Result<(), RatingError> {
        let to = to.max(period.start);
        let local = if tariff.cuts.civil() { Local::at(zone, period.start) } else { Local::default() };
        let mut moment = Moment {
            phase: Phase::Charging,
            local,
            elapsed_ms: period.start.since(self.rating.start).ms().max(0),
            energy: self.rating.energy().ok_or(RatingError::Range)?.microwatt_hours(),
            power: period.power(to),
            current: period.current(),
        };
        if let Some(reserved_ms) = period.reservation {
            moment.phase = reserved;
            let active = select::active(tariff, &moment);
            self.fee(active.flat, period.start, reserved);
            self.bill(Line::Reserved(reserved), active.time, period.start, to, reserved_ms);
            self.rating.reserved = longer(self.rating.reserved, reserved_ms)?;
        }
        if period.is_reservation() {
            return Ok(());
        }
        let parked_only = period.parking.is_some() && period.time.is_none();
        moment.phase = if parked_only { Phase::Parked } else { Phase::Charging };
        let active = select::active(tariff, &moment);
        self.fee(active.flat, period.start, moment.phase);
        if let Some(energy) = period.energy {
            self.bill(Line::Energy, active.energy, period.start, to, energy);
            let sum = self.rating.register.checked_add(Energy::from_microwatt_hours(energy));
            self.rating.register = sum.ok_or(RatingError::Range)?;
        }
        if let Some(time) = period.time {
            self.bill(Line::Time, active.time, period.start, to, time);
            self.rating.charging = longer(self.rating.charging, time)?;
        }
        if let Some(parking) = period.parking {
            moment.phase = Phase::Parked;
            let active = select::active(tariff, &moment);
            self.bill(Line::Parking, active.time, period.start, to, parking);
            self.rating.parked = longer(self.rating.parked, parking)?;
        }
        self.rating.at = to;
        Ok(())
    }

    fn fee(&mut self, component: u16, at: Timestamp, phase: Phase) {
        let due = if phase.is_reservation() { &mut self.rating.reservation_flat } else { &mut self.rating.flat };
        if *due == NONE && component != NONE {
            *due = component;
            self.segments.stated(component, at, at, 1, phase);
        }
    }

    fn bill(&mut self, line: Line, component: u16, from: Timestamp, to: Timestamp, volume: i64) {
        if component == NONE {
            return;
        }
        self.rating.add(component, volume);
        let (last, phase) = match line {
            Line::Energy => (&mut self.rating.last_energy, Phase::Charging),
            Line::Time => (&mut self.rating.last_time, Phase::Charging),
            Line::Parking => (&mut self.rating.last_parking, Phase::Parked),
            Line::Reserved(phase) => (&mut self.rating.last_reserved, phase),
        };
        *last = component;
        self.segments.stated(component, from, to, volume, phase);
    }
}

/// What a stated volume is billed as.
#[derive(Clone, Copy)]
enum Line {
    Energy,
    Time,
    Parking,
    Reserved(Phase),
}

fn longer(sum: TimeSpan, ms: i64) -> Result<TimeSpan, RatingError> {
    sum.ms().checked_add(ms).map(TimeSpan::from_ms).ok_or(RatingError::Range)
}

fn period(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<Period, TariffError> {
    let start = required_time(reader, fields, "start_date_time")?;
    let mut period = Period { start, ..Period::default() };
    for (index, node) in reader.list(fields, "dimensions")?.iter().enumerate() {
        let path = format!("{}.dimensions[{index}]", fields.path);
        let dimension = plain_object(&path, node, reader)?;
        let Some(kind) = reader.opt_text(&dimension, "type")? else {
            return Err(reader.fault(&path, node.span.clone(), TariffFault::Missing("type")));
        };
        let Some(volume) = reader.opt_number(&dimension, "volume")? else {
            return Err(reader.fault(&path, node.span.clone(), TariffFault::Missing("volume")));
        };
        let hours = || volume.checked_mul(Decimal::from(3_600));
        let (slot, value) = match kind.to_ascii_uppercase().as_str() {
            "ENERGY" => (&mut period.energy, scaled(volume, 9)),
            "TIME" => (&mut period.time, hours().and_then(|seconds| scaled(seconds, 3))),
            "PARKING_TIME" => (&mut period.parking, hours().and_then(|seconds| scaled(seconds, 3))),
            "RESERVATION_TIME" => (&mut period.reservation, hours().and_then(|seconds| scaled(seconds, 3))),
            "MIN_POWER" => (&mut period.min_power, scaled(volume, 6)),
            "MAX_POWER" => (&mut period.max_power, scaled(volume, 6)),
            "MIN_CURRENT" => (&mut period.min_current, scaled(volume, 3)),
            "MAX_CURRENT" => (&mut period.max_current, scaled(volume, 3)),
            // Session-only dimensions and unknown ones price nothing.
            _ => {
                let message = format!("`{kind}` has no price and is passed over");
                reader.say(
                    Severity::Note,
                    "invalid_value",
                    &dimension.path_of("type"),
                    node.span.clone(),
                    message,
                    None,
                );
                continue;
            }
        };
        let Some(value) = value else {
            return Err(reader.value(&dimension, "volume", &volume.to_string(), "a volume that can be kept"));
        };
        // A dimension that is stated twice counts twice, as its maker's sum.
        *slot = Some(
            slot.unwrap_or(0)
                .checked_add(value)
                .ok_or_else(|| reader.value(&dimension, "volume", &volume.to_string(), "a volume that can be kept"))?,
        );
    }
    Ok(period)
}

/// `cdr_location.time_zone` where somebody wrote it, else the country's, else the offset of the start, else UTC.
fn zone(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<TimeZone>, TariffError> {
    for holder in ["cdr_location", "location"] {
        let Some(node) = root.get(holder) else { continue };
        let location = plain_object(&root.path_of(holder), node, reader)?;
        if let Some(name) = reader.opt_text(&location, "time_zone")?
            && let Ok(zone) = TimeZone::get(&name)
        {
            return Ok(Some(zone));
        }
        if let Some(country) = reader.opt_text(&location, "country")?
            && let Some((zone, only)) = zones::of_country(&country)
        {
            if !only {
                let name = zone.iana_name().unwrap_or("UTC").to_owned();
                let message = format!("`{country}` has several time zones; {name} is used");
                let (path, span) = (location.path_of("country"), location.span_of("country"));
                reader.say(Severity::Warning, "time_zone_guessed", &path, span, message, None);
            }
            return Ok(Some(zone));
        }
    }
    let text = reader.opt_text(root, "start_date_time")?.unwrap_or_default();
    Ok(fixed_offset(&text))
}

/// The zone of an offset in a date and time, unless it is UTC, which OCPI writes whatever the place.
fn fixed_offset(text: &str) -> Option<TimeZone> {
    let offset = text.get(text.len().checked_sub(6)?..)?;
    let sign = match offset.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (offset.get(1..3)?.parse::<i32>().ok()?, offset.get(4..6)?.parse::<i32>().ok()?);
    let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()?;
    (offset != jiff::tz::Offset::UTC).then(|| TimeZone::fixed(offset))
}

/// The members of an object without remarks on unknown ones: a CDR has many fields that price nothing.
fn plain_object<'n, 'a>(path: &str, node: &'n Node<'a>, reader: &Reader<'_>) -> Result<Fields<'n, 'a>, TariffError> {
    match &node.value {
        Value::Object(members) => Ok(Fields { path: path.to_owned(), span: node.span.clone(), members }),
        other => {
            let reason = TariffFault::Type { expected: "an object", found: other.kind() };
            Err(reader.fault(path, node.span.clone(), reason))
        }
    }
}

fn required_time(
    reader: &mut Reader<'_>,
    fields: &Fields<'_, '_>,
    name: &'static str,
) -> Result<Timestamp, TariffError> {
    match reader.opt_text(fields, name)? {
        Some(text) => date_time(&text).ok_or_else(|| reader.value(fields, name, &text, "a date and time (RFC 3339)")),
        None => Err(reader.fault(&fields.path, fields.span.clone(), TariffFault::Missing(name))),
    }
}
