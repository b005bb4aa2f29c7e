//! Checks of a CDR against itself and its tariff: impossible statements, and costs that differ from the stated ones.
//!
//! A CDR is priced as it is. Where that is probably not intended, the difference is a finding with its position.

use super::cases::differing_totals;
use super::cdr::{Cdr, Period, PricedCdr, same_id};
use super::finding::{Finding, Position, Severity};
use super::model::Tariff;
use super::rating::RatingError;
use super::read::known_id;
use super::report::PriceReport;
use super::select::{self, Local};
use crate::limits::SLICES_PER_READING_MAX;
use crate::units::{Power, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// More time than a period has, in ms, that is rounding.
const TIME_TOLERANCE_MS: i64 = 1_000;
/// No vehicle takes more (MCS: 3.75 MW).
const POWER_PLAUSIBLE: Power = Power::from_milliwatts(4_000_000_000);

impl Cdr {
    /// Checks the periods against each other and against the tariff that they are priced by.
    ///
    /// # Errors
    /// [`RatingError`]: volumes beyond all figures.
    pub fn check(&self, tariff: &Tariff, zone: &TimeZone, priced: &PricedCdr) -> Result<Vec<Finding>, RatingError> {
        let mut findings = Vec::new();
        if let Some(first) = self.periods.first()
            && first.start.since(self.start).ms() > TIME_TOLERANCE_MS
        {
            let message = format!(
                "the first charging period begins at {}, the CDR at {}: the time between is not billed",
                first.start, self.start
            );
            findings.push(self.warning("time_not_covered", &path_of(first), first.offset, message));
        }
        for (index, period) in self.periods.iter().enumerate() {
            self.check_period(period, self.end_of(index), &mut findings);
        }
        for (index, id) in &self.tariff_ids {
            if !same_id(tariff.id().as_str(), &known_id(id)) {
                let message = format!("the period is of tariff `{id}`, and is priced by `{}`", tariff.id());
                let offset =
                    self.periods.iter().find(|period| period.index == *index).map_or(0, |period| period.offset);
                let path = format!("$.charging_periods[{index}].tariff_id");
                findings.push(self.warning("other_tariff", &path, offset, message));
            }
        }
        self.check_boundaries(tariff, zone, priced, &mut findings)?;
        findings.sort_by_key(|finding| finding.span.start);
        Ok(findings)
    }

    fn check_period(&self, period: &Period, to: Timestamp, findings: &mut Vec<Finding>) {
        let length = to.since(period.start).ms().max(0);
        let tolerance = period.time_step.max(TIME_TOLERANCE_MS);
        let connected = period.time.unwrap_or(0).saturating_add(period.parking.unwrap_or(0));
        let stated = connected.max(period.reservation.unwrap_or(0));
        if stated.saturating_sub(length) > tolerance {
            let message = format!(
                "it states {} h, and lasts {} h (from {} to {to}): more time is billed than there was",
                hours(stated),
                hours(length),
                period.start
            );
            findings.push(self.warning("time_exceeds_period", &path_of(period), period.offset, message));
        }
        let time = length.max(connected);
        let mean = super::rating::average_power(period.energy.unwrap_or(0), time);
        if mean.is_some_and(|mean| mean > POWER_PLAUSIBLE.milliwatts()) {
            let kwh = Decimal::new(period.energy.unwrap_or(0), 9).normalize();
            let message = format!("{kwh} kWh in {} h are more than any vehicle takes: is it Wh?", hours(time));
            findings.push(self.warning("implausible_power", &path_of(period), period.offset, message));
        }
    }

    /// Reports periods with a change of price inside: their cost in parts, at constant power.
    fn check_boundaries(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        priced: &PricedCdr,
        findings: &mut Vec<Finding>,
    ) -> Result<(), RatingError> {
        if tariff.cuts.is_never() {
            return Ok(());
        }
        let mut parts = self.begin(tariff, zone)?;
        let mut crossed: Vec<(usize, Timestamp)> = Vec::new();
        let mut pieces = 0_usize;
        for (index, period) in self.periods.iter().enumerate() {
            let to = self.end_of(index).max(period.start);
            let energy_before = parts.rating.energy().ok_or(RatingError::Range)?.microwatt_hours();
            let placed = Placed { period, to, energy_before };
            let mut first = None;
            let mut from = period.start;
            loop {
                let end = if period.is_reservation() { to } else { self.next_change(tariff, zone, &placed, from) };
                let piece = period.part(to, from, end);
                let used = parts.add(tariff, zone, &piece, end)?;
                if used != *first.get_or_insert(used) && crossed.last().is_none_or(|(last, _)| *last != index) {
                    crossed.push((index, from));
                }
                pieces = pieces.saturating_add(1);
                if end >= to {
                    break;
                }
                if pieces > SLICES_PER_READING_MAX {
                    let text =
                        "prices can change too often on the way to look for boundaries that periods cross".to_owned();
                    findings.push(self.warning("not_searched", "$.charging_periods", period.offset, text));
                    return Ok(());
                }
                from = end;
            }
        }
        if crossed.is_empty() {
            return Ok(());
        }
        let (whole, parts) = (priced.rating.total(tariff)?, parts.rating.total(tariff)?);
        for (index, at) in crossed {
            let Some(period) = self.periods.get(index) else { continue };
            let message = format!(
                "the price changes at {at}, within the period of {} to {}: a CDR begins a new period there. As it stands it \
                 costs {} before and {} after tax; cut at every change, at constant power, {} and {}",
                period.start,
                self.end_of(index),
                whole.excl_vat.major(),
                whole.incl_vat.major(),
                parts.excl_vat.major(),
                parts.incl_vat.major()
            );
            findings.push(self.warning("period_crosses_boundary", &path_of(period), period.offset, message));
        }
        Ok(())
    }

    /// The next moment after `from` at which a price can change, or the end of the period.
    fn next_change(&self, tariff: &Tariff, zone: &TimeZone, placed: &Placed<'_>, from: Timestamp) -> Timestamp {
        let Placed { period, to, energy_before } = *placed;
        let local = if tariff.cuts.civil() { Local::at(zone, from) } else { Local::default() };
        let mut next = select::next_civil_cut(tariff, zone, from, local, to);
        let start = self.session_start();
        if let Some(duration) = select::next_cut(&tariff.cuts.duration_ms, from.since(start).ms().max(0)) {
            next = next.min(start.saturating_add(TimeSpan::from_ms(duration)));
        }
        let energy = period.energy.unwrap_or(0);
        let length = to.since(period.start).ms();
        if energy > 0 && length > 0 {
            let so_far = energy_before.saturating_add(share(energy, from.since(period.start).ms(), length));
            if let Some(threshold) = select::next_cut(&tariff.cuts.energy, so_far) {
                // The first millisecond at which so much has flowed.
                let wanted = i128::from(threshold.saturating_sub(energy_before));
                let part = wanted.saturating_mul(i128::from(length)).div_ceil_by(i128::from(energy));
                let reached = period.start.saturating_add(TimeSpan::from_ms(i64::try_from(part).unwrap_or(i64::MAX)));
                next = next.min(reached);
            }
        }
        next.max(Timestamp::from_unix_ms(from.unix_ms().saturating_add(1))).min(to)
    }

    /// Reports stated totals that differ from the computed ones. One of another sign is an error: a credit would be
    /// charged, or the other way round.
    pub fn check_totals(&self, report: &PriceReport) -> Vec<Finding> {
        let differing = differing_totals(&self.text, report);
        let found = differing.into_iter().map(|(mismatch, span)| {
            let sign = |text: &str| text.trim().parse::<Decimal>().map_or(0, |number| number.cmp(&Decimal::ZERO) as i8);
            let opposite = mismatch.field.starts_with("total_cost")
                && matches!((sign(&mismatch.expected), sign(&mismatch.got)), (-1, 1) | (1, -1));
            let message = format!("stated as {}, computed {}", mismatch.expected, mismatch.got);
            let (severity, help) = if opposite {
                (Severity::Error, Some("a CDR that takes back another one has `credit`: true".to_owned()))
            } else {
                (Severity::Warning, None)
            };
            let (path, position) = (format!("$.{}", mismatch.field), Position::of(&self.text, span.start));
            Finding { severity, code: "total_differs", path, span, position, message, help }
        });
        found.collect()
    }
}

/// A period in its CDR.
struct Placed<'p> {
    period: &'p Period,
    /// Its end: where the next one begins.
    to: Timestamp,
    /// µWh that flowed before it.
    energy_before: i64,
}

impl Period {
    /// Its part from one moment to another, at constant power until `to`; parts add up to the whole.
    fn part(&self, to: Timestamp, from: Timestamp, end: Timestamp) -> Period {
        let length = to.since(self.start).ms();
        if from <= self.start && end >= to {
            return *self;
        }
        let (begun, done) = (from.since(self.start).ms(), end.since(self.start).ms());
        let part = |volume: i64| share(volume, done, length).saturating_sub(share(volume, begun, length));
        Period {
            start: from,
            energy: self.energy.map(part),
            time: self.time.map(part),
            parking: self.parking.map(part),
            reservation: self.reservation.map(part),
            ..*self
        }
    }
}

trait DivCeilBy {
    fn div_ceil_by(self, divisor: i128) -> i128;
}

impl DivCeilBy for i128 {
    fn div_ceil_by(self, divisor: i128) -> i128 {
        let rest = i128::from(self.checked_rem_euclid(divisor).is_some_and(|rest| rest > 0));
        self.checked_div_euclid(divisor).unwrap_or(i128::MAX).saturating_add(rest)
    }
}

/// `volume × part / whole`, rounded down.
fn share(volume: i64, part: i64, whole: i64) -> i64 {
    if part >= whole || whole <= 0 {
        return volume;
    }
    let product = i128::from(volume).saturating_mul(i128::from(part));
    i64::try_from(product.div_euclid(i128::from(whole))).unwrap_or(volume)
}

fn path_of(period: &Period) -> String {
    format!("$.charging_periods[{}]", period.index)
}

/// Hours to four decimals.
fn hours(ms: i64) -> Decimal {
    Decimal::from(ms).checked_div(Decimal::from(3_600_000)).unwrap_or_default().round_dp(4).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENERGY: &str = r#"{"id": "T1", "currency": "EUR", "elements": [{"price_components": [
        {"type": "ENERGY", "price": 0.3, "step_size": 1}]}]}"#;

    fn cdr(fields: &str, periods: &str) -> String {
        format!(
            "{{\"id\": \"C1\", \"start_date_time\": \"2026-02-03T12:00:00Z\", \"end_date_time\": \"2026-02-03T13:00:00Z\",\n\
             \"currency\": \"EUR\", \"cdr_location\": {{\"country\": \"NLD\"}}, {fields}\n\"charging_periods\": [{periods}]}}"
        )
    }

    fn period(at: &str, dimensions: &str) -> String {
        let dimensions: Vec<String> = dimensions
            .split_whitespace()
            .map(|stated| {
                let (kind, volume) = stated.split_once('=').unwrap();
                format!("{{\"type\": \"{kind}\", \"volume\": {volume}}}")
            })
            .collect();
        let dimensions = dimensions.join(", ");
        format!("{{\"start_date_time\": \"2026-02-03T{at}:00Z\", \"dimensions\": [{dimensions}]}}")
    }

    /// The report, and codes with paths of all that was found.
    fn priced(tariff: &str, text: &str) -> (PriceReport, Vec<(String, String)>) {
        let tariff = Tariff::parse(tariff).unwrap().tariff;
        let cdr = Cdr::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let zone = cdr.zone.clone().unwrap();
        let priced = cdr.price(&tariff, &zone).unwrap();
        let mut report = PriceReport::of_cdr(&cdr, &priced, &tariff).unwrap();
        report.found("CDR", &cdr.findings);
        report.found("CDR", &cdr.check(&tariff, &zone, &priced).unwrap());
        let totals = cdr.check_totals(&report);
        report.found("CDR", &totals);
        let found =
            report.warnings.iter().map(|warning| (warning.code.clone(), warning.path.clone().unwrap_or_default()));
        let found = found.collect();
        (report, found)
    }

    fn refused(text: &str) -> String {
        Cdr::parse(text).unwrap_err().to_string()
    }

    fn total(report: &PriceReport) -> &str {
        report.total_cost.as_ref().map_or("none", |total| &total.excl_vat)
    }

    #[test]
    fn a_sound_cdr_has_no_findings() {
        let text = cdr(
            "\"total_cost\": {\"excl_vat\": 3.00}, \"total_energy\": 10, \"total_time\": 1,",
            &period("12:00", "ENERGY=10 TIME=1"),
        );
        let (report, found) = priced(ENERGY, &text);
        assert_eq!((total(&report), found), ("3", vec![]));
    }

    /// After a public report: a first period with TIME below zero took half an hour back, 4.00 instead of 5.00.
    #[test]
    fn time_below_zero_is_refused_at_its_place() {
        for stated in ["TIME=-0.5", "PARKING_TIME=-1", "RESERVATION_TIME=-0.1", "TIME=-0.00015333333333333334"] {
            let error = refused(&cdr("", &period("12:00", &format!("ENERGY=0 {stated}"))));
            let place = "line 3, column ";
            assert!(
                error.starts_with(place) && error.contains("dimensions[1].volume: ") && error.contains("is not a time"),
                "{error}"
            );
        }
        let (report, found) = priced(ENERGY, &cdr("", &period("12:00", "ENERGY=-10")));
        assert_eq!(report.total_energy_cost.unwrap().excl_vat, "-3");
        assert_eq!(found[1], ("negative_energy".to_owned(), "$.charging_periods[0].dimensions[0].volume".to_owned()));
    }

    /// After a public report: 15.342 kWh and 4 h in one period, with a price of TIME from the third hour on. As it stands
    /// 4.3355, and 2.00 of TIME more where the period is cut.
    #[test]
    fn a_period_over_a_price_boundary_is_told_with_the_difference() {
        let tariff = r#"{"id": "T1", "currency": "EUR", "elements": [
            {"price_components": [{"type": "TIME", "price": 2, "step_size": 900, "vat": 20}], "restrictions": {"min_duration": 10800}},
            {"price_components": [{"type": "FLAT", "price": 0.5, "vat": 20, "step_size": 1},
                                  {"type": "ENERGY", "price": 0.25, "vat": 10, "step_size": 1}]}]}"#;
        let text = cdr("", &period("12:00", "ENERGY=15.342 TIME=4")).replace("T13:00:00Z", "T16:00:00Z");
        let (report, found) = priced(tariff, &text);
        assert_eq!((total(&report), report.payable.as_deref()), ("4.3355", Some("4.82")));
        assert_eq!(found, [("period_crosses_boundary".to_owned(), "$.charging_periods[0]".to_owned())]);
        let message = &report.warnings[0].message;
        assert!(message.contains("at 2026-02-03T15:00:00Z") && message.contains("6.3355 and 7.21905"), "{message}");
    }

    #[test]
    fn a_boundary_of_energy_or_of_the_clock_is_found_as_well() {
        let tariff = |restriction: &str| {
            format!(
                r#"{{"id": "T1", "currency": "EUR", "elements": [
                {{"price_components": [{{"type": "ENERGY", "price": 1, "step_size": 1}}], "restrictions": {{{restriction}}}}},
                {{"price_components": [{{"type": "ENERGY", "price": 2, "step_size": 1}}]}}]}}"#
            )
        };
        for (restriction, cut) in [
            ("\"max_kwh\": 4", "16 and 16"),
            ("\"end_time\": \"13:30\"", "15 and 15"),
            ("\"day_of_week\": [\"TUESDAY\"], \"max_duration\": 1800", "15 and 15"),
        ] {
            let (report, found) = priced(&tariff(restriction), &cdr("", &period("12:00", "ENERGY=10")));
            assert_eq!(found.len(), 1, "{restriction} {found:?}");
            assert!(report.warnings[0].message.contains(cut), "{}", report.warnings[0].message);
            // With a period of its own at every change there is nothing to report.
            let halves =
                [period("12:00", "ENERGY=4"), period("12:24", "ENERGY=1"), period("12:30", "ENERGY=5")].join(", ");
            assert_eq!(priced(&tariff(restriction), &cdr("", &halves)).1, []);
        }
        assert_eq!(
            priced(
                &tariff("\"start_time\": \"13:00\", \"end_time\": \"14:00\""),
                &cdr("", &period("12:00", "ENERGY=10"))
            )
            .1,
            []
        );
    }

    #[test]
    fn more_time_than_there_was_is_told() {
        let tariff = ENERGY.replace("ENERGY", "TIME").replace("0.3", "1");
        let (report, found) = priced(&tariff, &cdr("", &period("12:00", "TIME=24.0 ENERGY=10")));
        assert_eq!(total(&report), "24");
        assert_eq!(found, [("time_exceeds_period".to_owned(), "$.charging_periods[0]".to_owned())]);
        assert!(report.warnings[0].message.contains("it states 24 h, and lasts 1 h"), "{:?}", report.warnings);
        // Half an hour each is not more; what a written decimal rounds up is not either.
        assert_eq!(priced(&tariff, &cdr("", &period("12:00", "TIME=0.5 PARKING_TIME=0.5"))).1, []);
        assert_eq!(priced(&tariff, &cdr("", &period("12:00", "TIME=1.0002"))).1, []);
        let two = [period("12:00", "TIME=0.5"), period("12:10", "TIME=0.5")].join(", ");
        assert_eq!(
            priced(&tariff, &cdr("", &two)).1,
            [("time_exceeds_period".to_owned(), "$.charging_periods[0]".to_owned())]
        );
    }

    #[test]
    fn a_cdr_without_periods_or_with_an_impossible_frame_is_refused() {
        assert!(refused(&cdr("", "")).contains("$.charging_periods: there is no charging period"));
        let none = "{\"start_date_time\": \"2026-02-03T12:00:00Z\", \"end_date_time\": \"2026-02-03T13:00:00Z\"}";
        assert!(refused(none).contains("`charging_periods` is missing"));
        let back = cdr("", &period("12:00", "ENERGY=1")).replace("T13:00:00Z", "T11:00:00Z");
        assert!(refused(&back).contains("$.end_date_time: it ends at 2026-02-03T11:00:00Z, before it starts"));
        let elsewhere = cdr("", &period("12:00", "ENERGY=1"))
            .replace("\"country\": \"NLD\"", "\"time_zone\": \"Europe/Amsterdamm\"");
        assert!(refused(&elsewhere).contains("`Europe/Amsterdamm` is not a time zone"));
    }

    #[test]
    fn fields_of_a_cdr_under_another_name_or_written_twice_are_refused() {
        let sound = cdr("\"total_cost\": {\"excl_vat\": 3},", &period("12:00", "ENERGY=10"));
        for (field, wrong) in [
            ("charging_periods", "chargingPeriods"),
            ("total_cost", "totalCost"),
            ("end_date_time", "endDateTime"),
            ("dimensions", "dimension"),
            ("volume", "Volume"),
            ("cdr_location", "cdrLocation"),
        ] {
            let error = refused(&sound.replace(&format!("\"{field}\""), &format!("\"{wrong}\"")));
            assert!(error.contains(&format!("did you mean `{field}`")), "{error}");
        }
        let twice = sound.replace("\"currency\"", "\"id\": \"C2\", \"currency\"");
        assert!(refused(&twice).contains("`id` is written twice"), "{}", refused(&twice));
        let error = refused(
            &cdr("\"chargingPeriods\": [], \"credit\": \"maybe\",", &period("12:00", "ENERGY=x"))
                .replace("=x", "=\"1,5\"")
                .replace("\"volume\": x", "\"volume\": \"15,342\""),
        );
        assert!(error.lines().count() == 3 && error.contains("`15,342` is not a number"), "{error}");
    }

    #[test]
    fn a_credit_is_never_taken_for_a_charge() {
        let credit = |fields: &str| cdr(fields, &period("12:00", "ENERGY=10"));
        let reference = "\"credit_reference_id\": \"C0\",";
        let (report, found) = priced(ENERGY, &credit(&format!("\"credit\": true, {reference}")));
        assert_eq!((total(&report), found), ("-3", vec![]));
        let (report, found) = priced(ENERGY, &credit(&format!("\"credit\": \"true\", {reference}")));
        assert_eq!((total(&report), found[0].0.as_str()), ("-3", "invalid_type"));
        let (report, found) = priced(ENERGY, &credit("\"credit\": true,"));
        assert_eq!((total(&report), found[0].0.as_str()), ("-3", "credit_reference_missing"));
        assert!(refused(&credit("\"credit\": 1,")).contains("true or false was expected"));
        assert!(refused(&credit(reference)).contains("but `credit` is not true"));
        assert!(refused(&credit("\"Credit\": true,")).contains("did you mean `credit`"));
        let text = credit("\"total_cost\": {\"excl_vat\": -3, \"incl_vat\": -3},");
        let (report, _) = priced(ENERGY, &text);
        let totals = Cdr::parse(&text).unwrap().check_totals(&report);
        assert_eq!(totals[0].severity, Severity::Error);
    }

    #[test]
    fn stated_totals_that_differ_are_told() {
        let text = cdr(
            "\"total_cost\": {\"excl_vat\": 3.50, \"incl_vat\": 3.00}, \"total_energy\": 11, \"total_time\": 1.5,\n \
             \"total_energy_cost\": \"3,00\", \"total_parking_cost\": {\"excl_vat\": 0},",
            &period("12:00", "ENERGY=10"),
        );
        let (_, found) = priced(ENERGY, &text);
        let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["$.total_cost.excl_vat", "$.total_energy", "$.total_time", "$.total_energy_cost"]);
        assert!(found.iter().all(|(code, _)| code == "total_differs"));
    }

    #[test]
    fn other_tariffs_dimensions_and_times_are_told() {
        let named = |id: &str, text: String| {
            text.replace("\"dimensions\"", &format!("\"tariff_id\": \"{id}\", \"dimensions\""))
        };
        let text = cdr("", &named("t1", period("12:00", "ENERGY=10")));
        assert_eq!(priced(ENERGY, &text).1, [], "ids do not differ by case");
        let text = cdr("", &named("OTHER", period("12:00", "ENERGY=10")));
        assert_eq!(
            priced(ENERGY, &text).1,
            [("other_tariff".to_owned(), "$.charging_periods[0].tariff_id".to_owned())]
        );
        let two = [named("T1", period("12:00", "ENERGY=10")), named("T2", period("12:30", "ENERGY=1"))].join(", ");
        let cdr_of_two = Cdr::parse(&cdr(&format!("\"tariffs\": [{ENERGY}],"), &two)).unwrap();
        assert!(cdr_of_two.own_tariff().unwrap().unwrap_err().to_string().contains("periods name several tariffs"));

        let codes = |periods: &str| -> Vec<String> {
            priced(ENERGY, &cdr("", periods)).1.into_iter().map(|(code, _)| code).collect()
        };
        assert_eq!(codes(&period("12:00", "ENERGY=4 ENERGY=6")), ["dimension_twice"]);
        assert_eq!(codes(&period("12:00", "ENERGY=4 SOLAR=6")), ["invalid_value"]);
        assert_eq!(codes(&period("12:00", "ENERGY=4 ENERGY_IMPORT=6")), [] as [&str; 0]);
        assert_eq!(codes(&[period("12:00", "ENERGY=4"), period("12:30", "")].join(", ")), ["period_states_nothing"]);
        assert_eq!(codes(&period("12:10", "ENERGY=4")), ["time_not_covered"]);
        assert_eq!(codes(&period("12:00", "ENERGY=15342")), ["implausible_power"]);
        assert_eq!(codes(&period("13:30", "ENERGY=1")), ["periods_outside_start_end_date_time", "time_not_covered"]);
        assert!(refused(&cdr("", &period("12:00", "ENERGIE=4"))).contains("`ENERGIE` is not a dimension"));
    }
}
