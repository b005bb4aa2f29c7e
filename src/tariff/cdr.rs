//! CDRs: reading the OCPI object, and pricing its charging periods on the same volumes and totals as a live session.
//!
//! A CDR states volumes per period, and its maker has begun a new period wherever a price changes. So each period is
//! priced whole, by the active element at its beginning, and only the dimensions that it states are billed.

use super::fields::{Fields, Reader, scaled};
use super::finding::{Finding, FindingKind, Position, Severity};
use super::json::{self, Node, Value};
use super::model::{Dimension, Tariff, TariffError, TariffFault};
use super::names::{CDR_FIELDS, CDR_OTHER_FIELDS, DIMENSION_FIELDS, PERIOD_FIELDS};
use super::rating::{Rating, RatingError};
use super::read::{date_time, known_id};
use super::segments::{Segments, Stated};
use super::select::{self, Conditions, Flow, Local, NONE, Phase};
use super::zones;
use crate::limits::CDR_BYTES_MAX;
use crate::units::{Currency, Energy, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// A CDR as far as its price is concerned.
///
/// ```
/// use wattstile::tariff::Cdr;
///
/// let cdr = Cdr::parse(r#"{ "id": "1", "start_date_time": "2026-03-29T01:30:00Z", "end_date_time": "2026-03-29T02:00:00Z",
///     "currency": "EUR", "charging_periods": [{ "start_date_time": "2026-03-29T01:30:00Z",
///     "dimensions": [{ "type": "ENERGY", "volume": 10.0 }] }] }"#)?;
/// assert_eq!(cdr.periods[0].energy, Some(10_000_000_000), "in microwatt hours");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// The time zone of the charger's location, if the CDR has one.
    pub zone: Option<TimeZone>,
    /// The periods, in the order of their beginnings.
    pub periods: Vec<Period>,
    /// Source texts of the tariffs it contains.
    pub tariffs: Vec<String>,
    /// The tariff that the first period names.
    pub tariff_id: Option<String>,
    /// The tariffs that periods name: index of the period in the text, and the id.
    pub tariff_ids: Vec<(u32, String)>,
    /// What was found while reading.
    pub findings: Vec<Finding>,
    pub(super) text: String,
}

/// A charging period: what it states, in the units of volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Its place in the text's list, counted from 0.
    pub index: u32,
    /// Where it stands in the text: the offset of its first byte.
    pub offset: u32,
    /// Finest step of the times that it states, in ms: more of them than the period has may be rounding.
    pub time_step: i64,
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
    /// Remarks on the periods.
    pub remarks: Vec<Finding>,
    /// The kind of its reserved time.
    reserved: Phase,
}

impl Cdr {
    /// Reads an OCPI 2.2.1 or 2.3.0 CDR.
    ///
    /// # Errors
    ///
    /// All faults that make its price unsure: missing, misspelled and repeated fields, times below zero, no charging
    /// period, an end before the start, a reference to a corrected CDR without the flag of a credit.
    pub fn parse(text: &str) -> Result<Cdr, TariffError> {
        let mut reader = Reader::new(text);
        let read = read(&mut reader);
        let read = reader.keep(read.map(Some));
        match (TariffError::of(reader.faults()), read) {
            (Some(error), _) => Err(error),
            (None, Some(cdr)) => Ok(Cdr { findings: reader.findings(), ..cdr }),
            (None, None) => Err(reader.fault("$", 0..0, TariffFault::Missing("charging_periods"))),
        }
    }

    /// The tariff inside the CDR: the one its periods name, else the first that is valid at its start, else the first. `None`
    /// when it contains none; an error when that one cannot be used, or when the periods name several.
    ///
    /// # Errors
    /// The tariff is faulty, or the periods name several.
    pub fn own_tariff(&self) -> Option<Result<Tariff, TariffError>> {
        let read: Vec<_> = self.tariffs.iter().map(|text| Tariff::parse(text).map(|parsed| parsed.tariff)).collect();
        if read.is_empty() {
            return None;
        }
        if let Some(other) =
            self.tariff_ids.iter().find(|(_, id)| !self.tariff_ids.first().is_some_and(|(_, first)| same_id(first, id)))
        {
            let (first, (index, other)) = (self.tariff_id.as_deref().unwrap_or_default(), other);
            let reason = TariffFault::Contradiction(format!(
                "periods name several tariffs (`{first}`, `{other}`), and one prices all of the CDR: name it with --tariff"
            ));
            let path = format!("$.charging_periods[{index}].tariff_id");
            let offset =
                self.periods.iter().find(|period| period.index == *index).map_or(0, |period| period.offset as usize);
            return Some(Err(Reader::new(&self.text).fault(&path, offset..offset, reason)));
        }
        let named =
            |tariff: &Tariff| self.tariff_id.as_deref().is_some_and(|id| same_id(tariff.id().as_str(), &known_id(id)));
        let valid = |tariff: &Tariff| tariff.valid_at(self.start);
        let place = read.iter().position(|tariff| tariff.as_ref().is_ok_and(named));
        let place = place.or_else(|| read.iter().position(|tariff| tariff.as_ref().is_ok_and(valid))).unwrap_or(0);
        read.into_iter().nth(place)
    }

    /// Prices the periods.
    ///
    /// # Errors
    /// [`RatingError`]: a period that does not follow the one before, or volumes beyond all figures.
    pub fn price(&self, tariff: &Tariff, zone: &TimeZone) -> Result<PricedCdr, RatingError> {
        let mut priced = self.begin(tariff, zone)?;
        for (index, period) in self.periods.iter().enumerate() {
            priced.add(tariff, zone, period, self.end_of(index))?;
        }
        self.remark(tariff, &mut priced);
        Ok(priced)
    }

    pub(super) fn begin(&self, tariff: &Tariff, zone: &TimeZone) -> Result<PricedCdr, RatingError> {
        let origin = self.periods.first().map_or(self.start, |period| period.start);
        let mut rating = Rating::open(tariff, zone, self.session_start(), Energy::ZERO)?;
        rating.flat = NONE;
        let duration = self.end.since(origin);
        let (segments, remarks, reserved) = (Segments::default(), Vec::new(), self.reserved());
        Ok(PricedCdr { rating, segments, duration, remarks, reserved })
    }

    /// Where durations count from: the first period that is no reservation.
    pub(super) fn session_start(&self) -> Timestamp {
        let origin = self.periods.first().map_or(self.start, |period| period.start);
        self.periods.iter().find(|period| !period.is_reservation()).map_or(origin, |first| first.start)
    }

    /// The kind of its reserved time: used, or expired without a session.
    fn reserved(&self) -> Phase {
        if self.periods.iter().any(|period| !period.is_reservation()) { Phase::Reserved } else { Phase::Expired }
    }

    /// The end of a period: where the next one begins.
    pub(super) fn end_of(&self, index: usize) -> Timestamp {
        index.checked_add(1).and_then(|next| self.periods.get(next)).map_or(self.end, |next| next.start)
    }

    pub(super) fn warning(&self, code: &'static str, path: &str, offset: u32, message: String) -> Finding {
        let offset = offset as usize;
        let position = Position::of(&self.text, offset);
        let (severity, path) = (Severity::Warning, path.to_owned());
        Finding { severity, code, path, span: offset..offset, position, message, help: None }
    }

    fn remark(&self, tariff: &Tariff, priced: &mut PricedCdr) {
        let outside = |period: &&Period| period.start < self.start || period.start > self.end;
        if let Some(period) = self.periods.iter().find(outside) {
            let text = "a charging period begins before the CDR's start or after its end".to_owned();
            let path = format!("$.charging_periods[{}]", period.index);
            priced.remarks.push(self.warning("periods_outside_start_end_date_time", &path, period.offset, text));
        }
        let timed = |dimension| matches!(dimension, Dimension::Time | Dimension::ParkingTime);
        let prices_time = tariff.components().iter().any(|component| timed(component.dimension));
        let states_time = self
            .periods
            .iter()
            .any(|period| period.time.is_some() || period.parking.is_some() || period.reservation.is_some());
        if prices_time && !states_time {
            let text = "the tariff prices time, and no charging period states any: none is billed".to_owned();
            let offset = self.periods.first().map_or(0, |period| period.offset);
            priced.remarks.push(self.warning("periods_state_no_time", "$.charging_periods", offset, text));
        }
        if !tariff.valid_at(self.start) {
            let text = "the tariff is not valid at the CDR's start".to_owned();
            priced.remarks.push(self.warning("tariff_not_valid", "$.start_date_time", 0, text));
        }
        if let Some(code) = self.currency.as_deref()
            && !code.trim().eq_ignore_ascii_case(tariff.currency().code())
        {
            let own = tariff.currency();
            let text = format!("the CDR is in {code}, the tariff in {own}: the price is in {own}");
            priced.remarks.push(self.warning("currency_differs", "$.currency", 0, text));
        }
    }
}

impl Period {
    pub(super) fn is_reservation(&self) -> bool {
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

/// The components that price what a period states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used([u16; 4]);

impl PricedCdr {
    pub(super) fn add(
        &mut self,
        tariff: &Tariff,
        zone: &TimeZone,
        period: &Period,
        to: Timestamp,
    ) -> Result<Used, RatingError> {
        let mut used = Used([NONE; 4]);
        let to = to.max(period.start);
        let stated = |component, volume, phase| Stated { component, from: period.start, to, volume, phase };
        let local = if tariff.cuts.civil() { Local::at(zone, period.start) } else { Local::default() };
        let mut conditions = Conditions {
            phase: Phase::Charging,
            local,
            elapsed_ms: period.start.since(self.rating.start).ms().max(0),
            energy: self.rating.energy().ok_or(RatingError::Range)?.microwatt_hours(),
            power: period.power(to),
            current: period.current(),
        };
        if let Some(reserved_ms) = period.reservation {
            conditions.phase = self.reserved;
            let active = select::active(tariff, &conditions);
            self.fee(active.flat, period.start, conditions.phase);
            self.bill(Line::Reserved, stated(active.time, reserved_ms, conditions.phase))?;
            used.0[3] = active.time;
            self.rating.reserved = longer(self.rating.reserved, reserved_ms)?;
        }
        if period.is_reservation() {
            return Ok(used);
        }
        let parked_only = period.parking.is_some() && period.time.is_none();
        conditions.phase = if parked_only { Phase::Parked } else { Phase::Charging };
        let active = select::active(tariff, &conditions);
        self.fee(active.flat, period.start, conditions.phase);
        if let Some(energy) = period.energy {
            self.bill(Line::Energy, stated(active.energy, energy, Phase::Charging))?;
            used.0[0] = active.energy;
            let sum = self.rating.register.checked_add(Energy::from_microwatt_hours(energy));
            self.rating.register = sum.ok_or(RatingError::Range)?;
        }
        if let Some(time) = period.time {
            self.bill(Line::Time, stated(active.time, time, Phase::Charging))?;
            used.0[1] = active.time;
            self.rating.charging = longer(self.rating.charging, time)?;
        }
        if let Some(parking) = period.parking {
            conditions.phase = Phase::Parked;
            let active = select::active(tariff, &conditions);
            self.bill(Line::Parking, stated(active.time, parking, Phase::Parked))?;
            used.0[2] = active.time;
            self.rating.parked = longer(self.rating.parked, parking)?;
        }
        self.rating.at = to;
        Ok(used)
    }

    fn fee(&mut self, component: u16, at: Timestamp, phase: Phase) {
        let due = if phase.is_reservation() { &mut self.rating.reservation_flat } else { &mut self.rating.flat };
        if *due == NONE && component != NONE {
            *due = component;
            self.segments.stated(Stated { component, from: at, to: at, volume: 1, phase });
        }
    }

    fn bill(&mut self, line: Line, stated: Stated) -> Result<(), RatingError> {
        let Stated { component, volume, .. } = stated;
        if component == NONE {
            return Ok(());
        }
        let before = self.rating.volumes.iter().find(|known| known.component == component);
        before.map_or(0, |known| known.amount).checked_add(volume).ok_or(RatingError::Range)?;
        self.rating.add(component, volume);
        let last = match line {
            Line::Energy => &mut self.rating.last_energy,
            Line::Time => &mut self.rating.last_time,
            Line::Parking => &mut self.rating.last_parking,
            Line::Reserved => &mut self.rating.last_reserved,
        };
        *last = component;
        self.segments.stated(stated);
        Ok(())
    }
}

/// What a stated volume is billed as.
#[derive(Clone, Copy)]
enum Line {
    Energy,
    Time,
    Parking,
    Reserved,
}

fn longer(sum: TimeSpan, ms: i64) -> Result<TimeSpan, RatingError> {
    sum.ms().checked_add(ms).map(TimeSpan::from_ms).ok_or(RatingError::Range)
}

fn read(reader: &mut Reader<'_>) -> Result<Cdr, TariffError> {
    let text = reader.text;
    if text.len() > CDR_BYTES_MAX {
        let what = format!("a text of {} bytes", text.len());
        return Err(reader.fault("$", 0..0, TariffFault::TooLarge { what, max: CDR_BYTES_MAX }));
    }
    let document = json::parse(text).map_err(|error| reader.fault("$", error.offset..error.offset, error.into()))?;
    let root = enveloped(reader, &document.root)?;
    reader.doubled(&root.path, &document.root);
    reader.misspelled(&root, CDR_FIELDS, CDR_OTHER_FIELDS);
    let start = required_time(reader, &root, "start_date_time");
    let start = reader.keep(start);
    // OCPI 2.1.1 called the end `stop_date_time`.
    let end_name = if root.get("end_date_time").is_some() { "end_date_time" } else { "stop_date_time" };
    let end_name = if root.get(end_name).is_some() { end_name } else { "end_date_time" };
    let end = required_time(reader, &root, end_name);
    let end = reader.keep(end);
    if end < start && !reader.has_faults() {
        let reason = TariffFault::Contradiction(format!("it ends at {end}, before it starts at {start}"));
        let fault = reader.fault(&root.path_of(end_name), root.span_of(end_name), reason);
        reader.note(fault);
    }
    let mut periods = Vec::new();
    let mut tariff_ids = Vec::new();
    let nodes = reader.list(&root, "charging_periods")?;
    if nodes.is_empty() {
        let reason = TariffFault::Contradiction("there is no charging period: nothing can be billed".to_owned());
        let fault = reader.fault(&root.path_of("charging_periods"), root.span_of("charging_periods"), reason);
        reader.note(fault);
    }
    for (index, node) in nodes.iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let period = period(reader, &root, index, node, &mut tariff_ids);
        periods.extend(reader.keep(period.map(Some)));
    }
    periods.sort_by_key(|period: &Period| period.start);
    let tariffs = match root.get("tariffs").map(|node| &node.value) {
        Some(Value::List(items)) => {
            items.iter().filter_map(|item| text.get(item.span.clone())).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let credit = credit(reader, &root);
    let credit = reader.keep(credit);
    let zone = zone(reader, &root);
    let zone = reader.keep(zone);
    let currency = currency(reader, &root);
    let currency = reader.keep(currency);
    let tariff_id = tariff_ids.first().map(|(_, id): &(u32, String)| id.clone());
    let findings = Vec::new();
    let text = text.to_owned();
    Ok(Cdr { start, end, currency, credit, zone, periods, tariffs, tariff_id, tariff_ids, findings, text })
}

/// The CDR itself, also where it is the data of an interface's answer or the one of a list.
fn enveloped<'n, 'a>(reader: &Reader<'_>, root: &'n Node<'a>) -> Result<Fields<'n, 'a>, TariffError> {
    let (mut path, mut node) = ("$".to_owned(), root);
    for _ in 0..2 {
        match &node.value {
            Value::Object(members) if members.iter().all(|member| member.name != "charging_periods") => {
                match members.iter().find(|member| member.name == "data") {
                    Some(data) => (path, node) = (format!("{path}.data"), &data.node),
                    None => break,
                }
            }
            Value::List(items) => match items.as_slice() {
                [one] => (path, node) = (format!("{path}[0]"), one),
                items => {
                    let reason = TariffFault::Contradiction(format!(
                        "the file is a list of {} CDRs, and one is priced at a time: write each into a file",
                        items.len()
                    ));
                    return Err(reader.fault(&path, node.span.clone(), reason));
                }
            },
            _ => break,
        }
    }
    plain_object(&path, node, reader)
}

/// `credit`: a boolean; one that is written as text or number is read where it is plain.
fn credit(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<bool, TariffError> {
    let credit = match root.get("credit").map(|node| &node.value) {
        None => false,
        Some(Value::Bool(credit)) => *credit,
        Some(Value::Text(text)) if text.trim().eq_ignore_ascii_case("true") => lenient_credit(reader, root, true),
        Some(Value::Text(text)) if text.trim().eq_ignore_ascii_case("false") => lenient_credit(reader, root, false),
        Some(Value::Text(text)) => return Err(reader.value(root, "credit", text, "true or false")),
        Some(other) => return Err(reader.wrong_type(root, "credit", "true or false", other)),
    };
    let reference = reader.opt_text(root, "credit_reference_id")?.filter(|id| !id.trim().is_empty());
    match (credit, reference) {
        (true, None) => {
            let message = "it takes back a CDR, and credit_reference_id does not say which".to_owned();
            let (path, span) = (root.path_of("credit"), root.span_of("credit"));
            reader.report(FindingKind::warning("credit_reference_missing"), (&path, span), message, None);
        }
        (false, Some(id)) => {
            let reason = TariffFault::Contradiction(format!(
                "it refers to CDR `{id}` as one that it takes back, but `credit` is not true"
            ));
            return Err(reader.fault(
                &root.path_of("credit_reference_id"),
                root.span_of("credit_reference_id"),
                reason,
            ));
        }
        (true, Some(_)) | (false, None) => {}
    }
    Ok(credit)
}

fn lenient_credit(reader: &mut Reader<'_>, root: &Fields<'_, '_>, read_as: bool) -> bool {
    let message = format!("a text stands where OCPI has true or false; {read_as} was read");
    let (path, span) = (root.path_of("credit"), root.span_of("credit"));
    reader.report(FindingKind::warning("invalid_type"), (&path, span), message, None);
    read_as
}

fn currency(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<String>, TariffError> {
    let Some(code) = reader.opt_text(root, "currency")? else { return Ok(None) };
    reader.upper(root, "currency", &code);
    if code.trim().parse::<Currency>().is_err() {
        let message = format!("`{code}` is no currency of ISO 4217");
        let (path, span) = (root.path_of("currency"), root.span_of("currency"));
        reader.report(FindingKind::warning("unknown_currency"), (&path, span), message, None);
    }
    Ok(Some(code))
}

fn period(
    reader: &mut Reader<'_>,
    root: &Fields<'_, '_>,
    index: u32,
    node: &Node<'_>,
    tariff_ids: &mut Vec<(u32, String)>,
) -> Result<Period, TariffError> {
    let path = format!("{}.charging_periods[{index}]", root.path);
    let fields = plain_object(&path, node, reader)?;
    reader.misspelled(&fields, PERIOD_FIELDS, &[]);
    if let Some(id) = reader.opt_text(&fields, "tariff_id")? {
        tariff_ids.push((index, id));
    }
    let offset = u32::try_from(node.span.start).unwrap_or(u32::MAX);
    let start = required_time(reader, &fields, "start_date_time")?;
    let mut period = Period { index, offset, start, ..Period::default() };
    let dimensions = reader.list(&fields, "dimensions")?;
    if dimensions.is_empty() {
        let message = "the period states nothing: nothing is billed for it".to_owned();
        let span = fields.span_of("dimensions");
        reader.report(
            FindingKind::warning("period_states_nothing"),
            (&fields.path_of("dimensions"), span),
            message,
            None,
        );
    }
    for (index, node) in dimensions.iter().enumerate() {
        let stated = dimension(reader, &format!("{path}.dimensions[{index}]"), node, &mut period);
        reader.keep(stated);
    }
    Ok(period)
}

/// Dimensions of OCPI that have no price.
const UNPRICED: [&str; 6] = ["CURRENT", "ENERGY_EXPORT", "ENERGY_IMPORT", "POWER", "STATE_OF_CHARGE", "FLAT"];
/// Dimensions that a price depends on.
const PRICED: [&str; 8] =
    ["ENERGY", "TIME", "PARKING_TIME", "RESERVATION_TIME", "MIN_POWER", "MAX_POWER", "MIN_CURRENT", "MAX_CURRENT"];

fn dimension(reader: &mut Reader<'_>, path: &str, node: &Node<'_>, period: &mut Period) -> Result<(), TariffError> {
    let dimension = plain_object(path, node, reader)?;
    reader.misspelled(&dimension, DIMENSION_FIELDS, &[]);
    let Some(kind) = reader.opt_text(&dimension, "type")? else {
        return Err(reader.fault(path, node.span.clone(), TariffFault::Missing("type")));
    };
    let Some(volume) = reader.opt_number(&dimension, "volume")? else {
        return Err(reader.fault(path, node.span.clone(), TariffFault::Missing("volume")));
    };
    let kind = kind.trim().to_ascii_uppercase();
    let hours = || volume.checked_mul(Decimal::from(3_600)).and_then(|seconds| scaled(seconds, 3));
    let (slot, value, fold): (_, _, fn(i64, i64) -> Option<i64>) = match kind.as_str() {
        "ENERGY" => (&mut period.energy, scaled(volume, 9), i64::checked_add),
        "TIME" => (&mut period.time, hours(), i64::checked_add),
        "PARKING_TIME" => (&mut period.parking, hours(), i64::checked_add),
        "RESERVATION_TIME" => (&mut period.reservation, hours(), i64::checked_add),
        "MIN_POWER" => (&mut period.min_power, scaled(volume, 6), |a, b| Some(a.min(b))),
        "MAX_POWER" => (&mut period.max_power, scaled(volume, 6), |a, b| Some(a.max(b))),
        "MIN_CURRENT" => (&mut period.min_current, scaled(volume, 3), |a, b| Some(a.min(b))),
        "MAX_CURRENT" => (&mut period.max_current, scaled(volume, 3), |a, b| Some(a.max(b))),
        _ => return unpriced(reader, &dimension, &kind),
    };
    let Some(value) = value else {
        return Err(reader.value(&dimension, "volume", &volume.to_string(), "a volume of less than 9,223,372,036"));
    };
    let timed = kind.ends_with("TIME");
    if timed {
        if value < 0 || volume < Decimal::ZERO {
            return Err(reader.value(&dimension, "volume", &volume.to_string(), "a time (hours, not below zero)"));
        }
        let step = 3_600_000 / 10_i64.checked_pow(volume.scale()).unwrap_or(i64::MAX);
        period.time_step = period.time_step.max(step.clamp(0, 36_000));
    } else if kind == "ENERGY" && value < 0 {
        let message = format!("{volume} kWh are less than nothing: their price is taken off");
        let (path, span) = (dimension.path_of("volume"), dimension.span_of("volume"));
        reader.report(FindingKind::warning("negative_energy"), (&path, span), message, None);
    }
    let sum = match *slot {
        None => Some(value),
        Some(earlier) => {
            let message = format!("{kind} is stated before in this period; the volumes are taken together");
            reader.report(FindingKind::warning("dimension_twice"), (path, node.span.clone()), message, None);
            fold(earlier, value)
        }
    };
    match sum {
        Some(sum) => *slot = Some(sum),
        None => return Err(reader.value(&dimension, "volume", &volume.to_string(), "a volume that can be added")),
    }
    Ok(())
}

/// A dimension that prices nothing; one that probably stands for another is a fault.
fn unpriced(reader: &mut Reader<'_>, dimension: &Fields<'_, '_>, kind: &str) -> Result<(), TariffError> {
    let (path, span) = (dimension.path_of("type"), dimension.span_of("type"));
    if UNPRICED.contains(&kind) {
        let message = format!("`{kind}` has no price and is passed over");
        reader.report(FindingKind::note("invalid_value"), (&path, span), message, None);
        return Ok(());
    }
    if super::names::nearest(kind, &PRICED).is_some() {
        let expected = "a dimension of OCPI (ENERGY, TIME, PARKING_TIME, RESERVATION_TIME)";
        return Err(reader.value(dimension, "type", kind, expected));
    }
    let message = format!("`{kind}` is no dimension of OCPI and is passed over: nothing is billed for it");
    reader.report(FindingKind::warning("invalid_value"), (&path, span), message, None);
    Ok(())
}

/// Ids are compared without regard to case (OCPI, CiString).
pub(super) fn same_id(left: &str, right: &str) -> bool {
    left.trim().eq_ignore_ascii_case(right.trim())
}

/// `cdr_location.time_zone` where it is present, else the country's, else the offset of the start, else UTC.
fn zone(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<TimeZone>, TariffError> {
    for holder in ["cdr_location", "location"] {
        let Some(node) = root.get(holder) else { continue };
        let location = plain_object(&root.path_of(holder), node, reader)?;
        for spelling in ["time_zone", "timezone", "timeZone"] {
            let Some(name) = reader.opt_text(&location, spelling)? else { continue };
            let zone = TimeZone::get(name.trim());
            return zone.map(Some).map_err(|_| reader.value(&location, spelling, &name, "a time zone (IANA)"));
        }
        if let Some(country) = reader.opt_text(&location, "country")?
            && let Some((zone, only)) = zones::of_country(&country)
        {
            if !only {
                let name = zone.iana_name().unwrap_or("UTC").to_owned();
                let message = format!("`{country}` has several time zones; {name} is used");
                let (path, span) = (location.path_of("country"), location.span_of("country"));
                reader.report(FindingKind::warning("time_zone_guessed"), (&path, span), message, None);
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
