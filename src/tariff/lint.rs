//! Finds statements of a tariff that are probably unintended.
//!
//! Shadowed elements, gaps and overlaps are found by trying: the tariff is priced at every combination of the moments
//! at which its restrictions can change, by the function that rates live sessions.

use super::finding::{Finding, FindingKind, Position, Severity};
use super::model::{Component, Dimension, MS_PER_DAY, Parsed, Restrictions, Tariff, TaxIncluded};
use super::select::{self, Conditions, Flow, Local, NONE, Phase};
use crate::units::Power;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// Rules that a tariff is checked against beyond making sense.
///
/// ```
/// use wattstile::tariff::{Profiles, Tariff, lint};
/// use wattstile::units::Power;
///
/// let by_time = Tariff::parse(r#"{ "country_code": "NL", "party_id": "WST", "id": "SLOW", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "TIME", "price": 12.00, "vat": 21, "step_size": 60 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#)?;
/// let fast = Profiles { afir: Power::from_watts(150_000) };
/// assert!(lint(&by_time, fast).len() > lint(&by_time, Profiles::default()).len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profiles {
    /// Regulation (EU) 2023/1804, article 5, for ad hoc prices at a point of this power.
    pub afir: Option<Power>,
}

/// From this power on the ad hoc price must be per kWh (AFIR, article 5(4)).
const AFIR_PER_KWH_FROM: Power = Power::from_milliwatts(50_000_000);

/// Combinations of moments that are tried; a tariff with more is not searched for gaps.
const MOMENTS_MAX: usize = 400_000;

/// Returns all findings in a tariff, in the order of the text: those of the parser, and those of the linter.
pub fn lint(parsed: &Parsed, profiles: Profiles) -> Vec<Finding> {
    let mut linter = Linter { tariff: &parsed.tariff, findings: parsed.warnings.clone() };
    linter.elements();
    linter.whole();
    linter.coverage();
    if let Some(power) = profiles.afir {
        linter.afir(power);
    }
    let mut findings = linter.findings;
    findings.sort_by_key(|finding| (finding.span.start, finding.code));
    findings
}

struct Linter<'a> {
    tariff: &'a Tariff,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn report(
        &mut self,
        FindingKind { severity, code }: FindingKind,
        (path, span): (String, std::ops::Range<usize>),
        message: impl Into<String>,
        help: &str,
    ) {
        let position = Position::of(self.tariff.source(), span.start);
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.findings.push(Finding { severity, code, path, span, position, message: message.into(), help });
    }

    fn at_component(&mut self, kind: FindingKind, index: usize, message: String, help: &str) {
        let component = &self.tariff.components[index];
        let span = component.span.clone();
        self.report(kind, (path_of(component), span), message, help);
    }

    fn at_element(&mut self, kind: FindingKind, index: usize, message: String, help: &str) {
        let span = self.tariff.elements[index].span.clone();
        self.report(kind, (format!("$.elements[{index}]"), span), message, help);
    }

    fn at_root(&mut self, kind: FindingKind, message: String, help: &str) {
        self.report(kind, ("$".to_owned(), 0..1.min(self.tariff.source().len())), message, help);
    }

    /// Each element and component for itself.
    fn elements(&mut self) {
        let tariff = self.tariff;
        for (index, element) in tariff.elements.iter().enumerate() {
            let restrictions = &element.restrictions;
            if let Some(why) = impossible(restrictions) {
                self.at_element(
                    FindingKind::warning("never_applies"),
                    index,
                    why,
                    "remove the restriction, or the element",
                );
            }
            if let (Some(start), Some(end)) = (restrictions.start_minute, restrictions.end_minute) {
                if start == end {
                    let message = "start_time and end_time are the same; it is read as the whole day".to_owned();
                    self.at_element(FindingKind::warning("whole_day"), index, message, "leave both out");
                } else if start > end && restrictions.by_day() {
                    let message = "the window passes midnight, and the days are those of each moment: after midnight \
                                   the next day counts"
                        .to_owned();
                    self.at_element(FindingKind::note("window_over_midnight"), index, message, "write two elements");
                }
            }
            self.units(index, restrictions);
            if restrictions.min_current.is_some() || restrictions.max_current.is_some() {
                let message =
                    "it depends on current, which not every charger reports; unknown current excludes nothing";
                self.at_element(FindingKind::note("depends_on_current"), index, message.to_owned(), "");
            }
        }
        for (index, component) in tariff.components.iter().enumerate() {
            self.component(index, component);
        }
    }

    /// Figures in a unit that OCPI does not mean.
    fn units(&mut self, index: usize, restrictions: &Restrictions) {
        for (meant, message) in units::of_restrictions(restrictions) {
            self.at_element(FindingKind::warning("unit"), index, message, meant);
        }
        let outside = |day: Option<i32>, at: Option<crate::units::Timestamp>, before: bool| match (day, at) {
            (Some(day), Some(at)) => {
                let at = at.unix_ms().div_euclid(MS_PER_DAY);
                if before { i64::from(day) < at } else { i64::from(day) > at.saturating_add(1) }
            }
            _ => false,
        };
        if outside(restrictions.end_day, self.tariff.valid_from, true)
            || outside(restrictions.start_day, self.tariff.valid_until, false)
        {
            let message = "its dates are outside of the time in which the tariff is valid".to_owned();
            self.at_element(
                FindingKind::warning("never_applies"),
                index,
                message,
                "look at start_date_time and end_date_time",
            );
        }
    }

    fn component(&mut self, index: usize, component: &Component) {
        let element = &self.tariff.elements[usize::from(component.element)];
        let reserved = element.restrictions.reservation.is_some();
        if reserved && !matches!(component.dimension, Dimension::Flat | Dimension::Time) {
            let message = format!("a reservation has no {}; it is never charged", component.dimension);
            self.at_component(FindingKind::warning("reservation_dimension"), index, message, "use FLAT or TIME");
        }
        if component.price_nano < 0 {
            let message = format!("the price is negative ({})", component.price());
            self.at_component(FindingKind::warning("negative_price"), index, message, "");
        }
        for (code, message, help) in units::of_component(self.tariff, component) {
            self.at_component(FindingKind::warning(code), index, message, help);
        }
        let large = match component.dimension {
            Dimension::Energy => component.step_size >= 1_000,
            Dimension::Time | Dimension::ParkingTime => component.step_size > 900,
            Dimension::Flat => false,
        };
        let absurd = units::absurd_step(component);
        if absurd && component.price_nano != 0 {
            let (message, help) = units::step_words(self.tariff, component);
            self.at_component(FindingKind::warning("large_step_size"), index, message, help);
        } else if large && component.price_nano > 0 {
            let unit = if component.dimension == Dimension::Energy { "Wh" } else { "s" };
            let message = format!("it is billed in blocks of {} {unit}", component.step_size);
            self.at_component(FindingKind::note("large_step_size"), index, message, "OCPI recommends small blocks");
        }
    }

    /// Limits, tax and validity.
    fn whole(&mut self) {
        let tariff = self.tariff;
        let (min, max) = (tariff.min_price, tariff.max_price);
        let above = |low: Option<crate::units::Cost>, high: Option<crate::units::Cost>| match (low, high) {
            (Some(low), Some(high)) => low.parts() > high.parts(),
            _ => false,
        };
        let crossing = [(min.excl_vat, max.excl_vat), (min.incl_vat, max.incl_vat)];
        if let Some((Some(low), Some(high))) = crossing.into_iter().find(|(low, high)| above(*low, *high)) {
            let message = format!("min_price ({low}) is above max_price ({high}); the minimum wins");
            self.at_root(FindingKind::warning("limits_cross"), message, "look at both");
        }
        for (name, limit) in [("min_price", min), ("max_price", max)] {
            let side = [limit.excl_vat, limit.incl_vat].into_iter().flatten().min_by_key(|cost| cost.parts());
            if side.is_some_and(|cost| cost.parts() < 0 || cost.parts() == 0 && name == "max_price") {
                let message = format!("{name} is not above zero: {}", limit_meaning(name));
                self.at_root(FindingKind::warning("limit_zero"), message, "remove it, or write the amount");
            }
            if above(limit.excl_vat, limit.incl_vat) {
                let message = format!("{name} is lower after tax than before");
                self.at_root(FindingKind::warning("limit_tax"), message, "");
            } else if limit.excl_vat.is_some() != limit.incl_vat.is_some() {
                let message = format!("{name} states one side of tax only; the other follows in proportion");
                self.at_root(FindingKind::note("limit_one_sided"), message, "state both before_taxes and after_taxes");
            }
        }
        if let (Some(from), Some(until)) = (tariff.valid_from, tariff.valid_until)
            && from >= until
        {
            let message = "end_date_time is not after start_date_time; the tariff is never valid".to_owned();
            self.at_root(FindingKind::warning("never_valid"), message, "");
        }
        let is_of_sessions =
            |component: &Component| tariff.elements[usize::from(component.element)].restrictions.reservation.is_none();
        let energy = |component: &Component| component.dimension == Dimension::Energy && is_of_sessions(component);
        if !tariff.components.iter().any(energy) {
            let message = "it has no component of type ENERGY: energy costs nothing".to_owned();
            let help = "add one, with \"price\": 0 if that is meant";
            self.at_root(FindingKind::warning("energy_free"), message, help);
        }
        let priced = tariff.components.iter().filter(|component| component.price_nano != 0);
        let (with, without): (Vec<_>, Vec<_>) = priced.partition(|component| component.vat.is_some());
        if tariff.tax != TaxIncluded::NotApplicable && !with.is_empty() && !without.is_empty() {
            for component in without {
                let message = "other components state VAT, this one does not: no tax is added".to_owned();
                let (path, span) = (path_of(component), component.span.clone());
                self.report(
                    FindingKind::warning("vat_missing"),
                    (path, span),
                    message,
                    "write \"vat\": 0 if that is meant",
                );
            }
        } else if tariff.tax == TaxIncluded::Yes && with.is_empty() {
            let message = "prices contain tax, but no rate is stated: receipts cannot show it".to_owned();
            self.at_root(FindingKind::note("tax_unknown"), message, "state \"vat\" in the price components");
        }
    }

    /// What is charged at every combination of moments: gaps, overlaps, and components that are never used.
    fn coverage(&mut self) {
        let tariff = self.tariff;
        let Some(moments) = Moments::of(tariff) else {
            let message = "too many restrictions to search them for gaps and shadowed elements".to_owned();
            return self.at_root(FindingKind::note("not_searched"), message, "");
        };
        let mut used: BTreeSet<u16> = BTreeSet::new();
        let mut gaps: BTreeMap<Dimension, Conditions> = BTreeMap::new();
        let mut holding: BTreeMap<usize, u16> = BTreeMap::new();
        let mut overlaps: BTreeSet<(u16, u16)> = BTreeSet::new();
        let reserves = tariff.elements.iter().any(|element| element.restrictions.reservation.is_some());
        moments.each(reserves, |conditions| {
            let active = select::active(tariff, conditions);
            used.extend([active.energy, active.time, active.flat]);
            let session = !conditions.phase.is_reservation();
            let time = if conditions.phase == Phase::Parked { Dimension::ParkingTime } else { Dimension::Time };
            for (dimension, found) in [(Dimension::Energy, active.energy), (time, active.time)] {
                if found == NONE && session {
                    gaps.entry(dimension).or_insert(*conditions);
                }
            }
            self.shadows(conditions, &active, &mut holding, &mut overlaps);
        });
        self.unused(&used, &holding);
        self.gaps(&gaps, &moments);
        for (winner, loser) in overlaps {
            let (first, second) = (&tariff.components[usize::from(winner)], &tariff.components[usize::from(loser)]);
            if used.contains(&loser) && first.price_nano != second.price_nano {
                let message = format!("it overlaps with {}, which stands earlier and wins", path_of(first));
                self.at_component(FindingKind::note("overlap"), usize::from(loser), message, "");
            }
        }
    }

    /// Components whose element applies at this moment but that an earlier one shadows.
    fn shadows(
        &self,
        conditions: &Conditions,
        active: &select::Active,
        holding: &mut BTreeMap<usize, u16>,
        overlaps: &mut BTreeSet<(u16, u16)>,
    ) {
        for (index, component) in self.tariff.components.iter().enumerate() {
            let element = &self.tariff.elements[usize::from(component.element)];
            let winner = match component.dimension {
                Dimension::Energy => active.energy,
                Dimension::Flat => active.flat,
                Dimension::Time | Dimension::ParkingTime => active.time,
            };
            if winner == NONE || usize::from(winner) == index {
                continue;
            }
            let first = &self.tariff.components[usize::from(winner)];
            let same = first.dimension == component.dimension;
            if same && first.element <= component.element && select::holds_at(&element.restrictions, conditions) {
                holding.entry(index).or_insert(winner);
                let restricted = element.restrictions != Restrictions::default();
                if restricted && first.element != component.element {
                    overlaps.insert((winner, u16::try_from(index).unwrap_or(NONE)));
                }
            }
        }
    }

    fn unused(&mut self, used: &BTreeSet<u16>, holding: &BTreeMap<usize, u16>) {
        for index in 0..self.tariff.components.len() {
            if u16::try_from(index).is_ok_and(|index| used.contains(&index)) {
                continue;
            }
            let element = usize::from(self.tariff.components[index].element);
            if let Some(winner) = holding.get(&index) {
                // One of the same element was named when the tariff was read.
                if usize::from(self.tariff.components[usize::from(*winner)].element) == element {
                    continue;
                }
                let first = path_of(&self.tariff.components[usize::from(*winner)]);
                let message = format!("it is never used: {first} applies whenever this does, and stands earlier");
                self.at_component(FindingKind::warning("shadowed"), index, message, "put the special case first");
            } else if impossible(&self.tariff.elements[element].restrictions).is_none() {
                let message = "its restrictions never hold together: it is never used".to_owned();
                self.at_component(FindingKind::warning("never_applies"), index, message, "look at days and dates");
            }
        }
    }

    fn gaps(&mut self, gaps: &BTreeMap<Dimension, Conditions>, moments: &Moments) {
        for (dimension, conditions) in gaps {
            let mut priced = self.tariff.components.iter().enumerate().filter(|(_, component)| {
                let element = &self.tariff.elements[usize::from(component.element)];
                component.dimension == *dimension && element.restrictions.reservation.is_none()
            });
            let Some((last, _)) = priced.next_back() else { continue };
            let costs = self.tariff.components.iter().any(|c| c.dimension == *dimension && c.price_nano != 0);
            let severity = if *dimension == Dimension::Energy && costs { Severity::Warning } else { Severity::Note };
            let message = format!("no {dimension} is charged{}", moments.words(conditions));
            let help = "add an element without restrictions at the end, at price 0 if that is meant";
            self.at_component(FindingKind { severity, code: "gap" }, last, message, help);
        }
    }

    /// Regulation (EU) 2023/1804, article 5(4): from 50 kW per kWh, plus at most an occupancy fee per minute.
    fn afir(&mut self, power: Power) {
        let tariff = self.tariff;
        let by_kwh_only = power >= AFIR_PER_KWH_FROM;
        let mut per_kwh = false;
        for (index, component) in tariff.components.iter().enumerate() {
            let restrictions = &tariff.elements[usize::from(component.element)].restrictions;
            if restrictions.reservation.is_some() {
                continue;
            }
            per_kwh |= component.dimension == Dimension::Energy;
            let charged = component.price_nano > 0;
            match component.dimension {
                Dimension::Flat if by_kwh_only && charged => {
                    let message = "an ad hoc price from 50 kW on has no fee per session".to_owned();
                    self.at_component(
                        FindingKind::error("afir_session_fee"),
                        index,
                        message,
                        "put it into the price per kWh",
                    );
                }
                Dimension::Time if by_kwh_only && charged => {
                    let (severity, message) = match restrictions.min_duration {
                        Some(ms) if ms > 0 => (
                            Severity::Warning,
                            "charging time after a while is priced: allowed only \
                                                                   as an occupancy fee against long stays",
                        ),
                        _ => (Severity::Error, "an ad hoc price from 50 kW on is per kWh, not per time"),
                    };
                    self.at_component(
                        FindingKind { severity, code: "afir_time_price" },
                        index,
                        message.to_owned(),
                        "price ENERGY instead",
                    );
                }
                Dimension::Time | Dimension::ParkingTime if charged && component.step_size > 60 => {
                    let message = format!("a fee per minute is billed in blocks of {} s", component.step_size);
                    self.at_component(
                        FindingKind::warning("afir_minute"),
                        index,
                        message,
                        "use a step_size of at most 60",
                    );
                }
                _ => {}
            }
        }
        if by_kwh_only && !per_kwh {
            let message = "an ad hoc price from 50 kW on must be per kWh".to_owned();
            self.at_root(FindingKind::error("afir_not_per_kwh"), message, "add a component of type ENERGY");
        }
        let order: Vec<u8> = tariff.components.iter().map(|component| display_order(component.dimension)).collect();
        if !by_kwh_only && !order.is_sorted() {
            let message = "below 50 kW prices are shown per kWh, per minute, per session, other, in this order";
            self.at_root(FindingKind::note("afir_order"), message.to_owned(), "the text of `explain` has that order");
        }
    }
}

/// Per kWh, per minute, per session (AFIR, article 5(4)).
pub(super) fn display_order(dimension: Dimension) -> u8 {
    match dimension {
        Dimension::Energy => 0,
        Dimension::Time => 1,
        Dimension::ParkingTime => 2,
        Dimension::Flat => 3,
    }
}

fn limit_meaning(name: &str) -> &'static str {
    if name == "max_price" { "no session costs anything" } else { "it has no effect" }
}

fn path_of(component: &Component) -> String {
    format!("$.elements[{}].price_components[{}]", component.element, component.ordinal)
}

fn impossible(restrictions: &Restrictions) -> Option<String> {
    let empty = |min: Option<i64>, max: Option<i64>| max.is_some_and(|max| max <= min.unwrap_or(0));
    let names = [
        (empty(restrictions.min_energy, restrictions.max_energy), "max_kwh"),
        (empty(restrictions.min_duration, restrictions.max_duration), "max_duration"),
        (empty(restrictions.min_power, restrictions.max_power), "max_power"),
        (empty(restrictions.min_current, restrictions.max_current), "max_current"),
    ];
    if let Some((_, name)) = names.iter().find(|(empty, _)| *empty) {
        return Some(format!("no session can be below its {name}"));
    }
    match (restrictions.start_day, restrictions.end_day) {
        (Some(start), Some(end)) if end <= start => Some("its end_date is not after its start_date".to_owned()),
        _ => None,
    }
}

/// Values at which restrictions change, by quantity.
struct Moments {
    days: Vec<i64>,
    day_ms: Vec<i64>,
    elapsed: Vec<i64>,
    energy: Vec<i64>,
    power: Vec<i64>,
    current: Vec<i64>,
}

impl Moments {
    fn of(tariff: &Tariff) -> Option<Moments> {
        let all = || tariff.elements.iter().map(|element| &element.restrictions);
        let with_zero =
            |cuts: &[i64]| -> Vec<i64> { BTreeSet::from_iter([0].iter().chain(cuts)).into_iter().copied().collect() };
        let flows = |low: fn(&Restrictions) -> Option<i64>, high: fn(&Restrictions) -> Option<i64>| -> Vec<i64> {
            let cuts: Vec<i64> =
                all().flat_map(|restrictions| [low(restrictions), high(restrictions)]).flatten().collect();
            with_zero(&cuts)
        };
        let dates: BTreeSet<i64> = all().flat_map(|r| [r.start_day, r.end_day]).flatten().map(i64::from).collect();
        let by_weekday = all().any(|restrictions| restrictions.weekdays != 0);
        // 20,454 is 2026-01-01; with days of the week a whole week is tried on both sides of every date.
        let reach = if by_weekday { 7 } else { 1 };
        let mut days: BTreeSet<i64> = dates.iter().flat_map(|date| date - reach..date + reach).collect();
        if days.is_empty() {
            days.extend(20_454..20_454 + reach);
        }
        let moments = Moments {
            days: days.into_iter().collect(),
            day_ms: with_zero(&tariff.cuts.day_ms),
            elapsed: with_zero(&tariff.cuts.duration_ms),
            energy: with_zero(&tariff.cuts.energy),
            power: flows(|r| r.min_power, |r| r.max_power),
            current: flows(|r| r.min_current, |r| r.max_current),
        };
        let lists =
            [&moments.days, &moments.day_ms, &moments.elapsed, &moments.energy, &moments.power, &moments.current];
        let count = lists.iter().try_fold(tariff.components.len(), |product, list| product.checked_mul(list.len()))?;
        (count <= MOMENTS_MAX).then_some(moments)
    }

    /// A moment in words, for an example: only what makes a difference to the tariff.
    fn words(&self, conditions: &Conditions) -> String {
        let mut words = Vec::new();
        if self.days.len() > 1 || self.day_ms.len() > 1 {
            let minutes = conditions.local.ms / 60_000;
            let weekday = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
            let day = usize::try_from((conditions.local.day + 3).rem_euclid(7)).unwrap_or(0);
            words.push(format!("on {} at {:02}:{:02}", weekday[day], minutes / 60, minutes % 60));
        }
        match conditions.elapsed_ms / 1_000 {
            _ if self.elapsed.len() < 2 => {}
            0 => words.push("at the start of a session".to_owned()),
            seconds => words.push(format!("{seconds} s after the start")),
        }
        if self.energy.len() > 1 {
            words.push(format!("after {} kWh", Decimal::new(conditions.energy, 9).normalize()));
        }
        let flows = [(&self.power, conditions.power, 6, "kW"), (&self.current, conditions.current, 3, "A")];
        for (_, flow, scale, unit) in flows.into_iter().filter(|(cuts, ..)| cuts.len() > 1) {
            if let Some(flow) = flow.low {
                words.push(format!("at {} {unit}", Decimal::new(flow, scale).normalize()));
            }
        }
        if words.is_empty() { String::new() } else { format!(", for example {}", words.join(", ")) }
    }

    fn each(&self, reservations: bool, mut each: impl FnMut(&Conditions)) {
        let session: &[Phase] = &[Phase::Charging, Phase::Parked];
        let all: &[Phase] = &[Phase::Charging, Phase::Parked, Phase::Reserved, Phase::Expired];
        for (&day, &ms) in self.days.iter().flat_map(|day| self.day_ms.iter().map(move |ms| (day, ms))) {
            for (&elapsed_ms, &energy) in self.elapsed.iter().flat_map(|t| self.energy.iter().map(move |e| (t, e))) {
                for (&power, &current) in self.power.iter().flat_map(|p| self.current.iter().map(move |c| (p, c))) {
                    for &phase in if reservations { all } else { session } {
                        let local = Local { day, ms: ms % MS_PER_DAY, offset_ms: 0 };
                        let (power, current) = (Flow::exactly(Some(power)), Flow::exactly(Some(current)));
                        each(&Conditions { phase, local, elapsed_ms, energy, power, current });
                    }
                }
            }
        }
    }
}

mod units;

#[cfg(test)]
mod tests;
