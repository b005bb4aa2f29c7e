//! Checks of the engine against published cases: expected values, actual values, differences.
//!
//! Two layouts are known. A *run* states a session and the totals with their tolerances. A *CDR* states its own totals,
//! and a file beside it may state what a pricer must find instead.

use super::cdr::Cdr;
use super::fields::{Fields, Reader, decimal};
use super::json::{self, Node, Value};
use super::model::{Tariff, TariffError};
use super::report::{PriceReport, PriceText};
use super::runs::RecordedSession;
use crate::units::Currency;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Serialize;
use std::ops::Range;

/// A field that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The field's name in the case.
    pub field: String,
    /// The value that the case expects.
    pub expected: String,
    /// The actual value.
    pub got: String,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseOutcome {
    /// Everything that it states was found.
    Passed,
    /// The differences.
    Failed(Vec<Mismatch>),
    /// It cannot be checked.
    Skipped(String),
}

/// Remarks on prices that cases may expect; other remarks of theirs are about spelling and are not compared.
const REMARKS: [&str; 5] = [
    "no_element_prices_session",
    "total_cost_clamped_to_min",
    "total_cost_clamped_to_max",
    "periods_state_no_time",
    "periods_outside_start_end_date_time",
];

/// Prices a run and compares it with the run's own expectations.
pub fn check_run(tariff: &str, run: &str) -> CaseOutcome {
    let priced = || -> Result<PriceReport, String> {
        let tariff = Tariff::parse(tariff).map_err(|error| format!("the tariff: {error}"))?.tariff;
        let session = RecordedSession::parse_run(run).map_err(|error| format!("the run: {error}"))?;
        let zone = session.zone.clone().unwrap_or(TimeZone::UTC);
        let priced = session.price(&tariff, &zone).map_err(|error| error.to_string())?;
        PriceReport::of_session(&priced, &tariff).map_err(|error| error.to_string())
    };
    let report = match priced() {
        Ok(report) => report,
        Err(reason) => return failed("price", "a price", &reason),
    };
    let Ok(document) = json::parse(run) else { return failed("run", "JSON", "no JSON") };
    let mut check = Check { report: &report, mismatches: Vec::new() };
    let expected = match members(&document.root).and_then(|root| root.get("expect").and_then(members)) {
        Some(expected) => expected,
        None => return CaseOutcome::Skipped("the run expects nothing".to_owned()),
    };
    for member in expected.members {
        check.stated(&member.name, &member.node, true);
    }
    check.outcome()
}

/// Prices a CDR (by its own tariff when none is given) and compares it with what it states, or with a pricer's output
/// instead.
pub fn check_cdr(tariff: Option<&str>, cdr: &str, output: Option<&str>) -> CaseOutcome {
    let parsed = match Cdr::parse(cdr) {
        Ok(parsed) => parsed,
        Err(error) => return failed("cdr", "a CDR", &error.to_string()),
    };
    let priced = || -> Result<Option<PriceReport>, String> {
        let tariff =
            match tariff.map(|text| Tariff::parse(text).map(|parsed| parsed.tariff)).or_else(|| parsed.own_tariff()) {
                Some(tariff) => tariff.map_err(|error: TariffError| format!("the tariff: {error}"))?,
                None => return Ok(None),
            };
        let zone = parsed.zone.clone().unwrap_or(TimeZone::UTC);
        let priced = parsed.price(&tariff, &zone).map_err(|error| error.to_string())?;
        PriceReport::of_cdr(&parsed, &priced, &tariff).map(Some).map_err(|error| error.to_string())
    };
    let report = match priced() {
        Ok(Some(report)) => report,
        Ok(None) => return CaseOutcome::Skipped("there is no tariff beside the CDR or in it".to_owned()),
        Err(reason) => return failed("price", "a price", &reason),
    };
    let (Ok(stated), Ok(output)) = (json::parse(cdr), output.map(json::parse).transpose()) else {
        return failed("output", "JSON", "no JSON");
    };
    let expected = output.as_ref().and_then(|output| members(&output.root)?.get("cdr_price").and_then(members));
    let mut check = Check { report: &report, mismatches: Vec::new() };
    for member in expected.iter().flat_map(|expected| expected.members) {
        check.stated(&member.name, &member.node, true);
    }
    let overridden = |name: &str| {
        expected
            .as_ref()
            .is_some_and(|expected| expected.members.iter().any(|member| canonical(&member.name) == canonical(name)))
    };
    for member in members(&stated.root).iter().flat_map(|stated| stated.members) {
        if member.name.starts_with("total_") && !overridden(&member.name) {
            check.stated(&member.name, &member.node, false);
        }
    }
    check.outcome()
}

/// Totals that a CDR states and that are not those of its price, with their places in the CDR's text.
pub(super) fn differing_totals(cdr: &str, report: &PriceReport) -> Vec<(Mismatch, Range<usize>)> {
    let Ok(document) = json::parse(cdr) else { return Vec::new() };
    let Some(root) = members(&document.root) else { return Vec::new() };
    let mut differing = Vec::new();
    for member in root.members.iter().filter(|member| member.name.starts_with("total_")) {
        let mut check = Check { report, mismatches: Vec::new() };
        check.stated(&member.name, &member.node, false);
        differing.extend(check.mismatches.into_iter().map(|mismatch| (mismatch, member.node.span.clone())));
    }
    differing
}

fn failed(field: &str, expected: &str, got: &str) -> CaseOutcome {
    let (field, expected, got) = (field.to_owned(), expected.to_owned(), got.to_owned());
    CaseOutcome::Failed(vec![Mismatch { field, expected, got }])
}

fn members<'n, 'a>(node: &'n Node<'a>) -> Option<Fields<'n, 'a>> {
    match &node.value {
        Value::Object(members) => Some(Fields { path: "$".to_owned(), span: node.span.clone(), members }),
        _ => None,
    }
}

/// One name for what the layouts call differently.
fn canonical(name: &str) -> &str {
    match name {
        "total_idle_time" => "total_parking_time",
        "total_idle_cost" | "total_idle_time_cost" | "total_parking_time_cost" => "total_parking_cost",
        "total_charging_cost" | "total_charging_time_cost" => "total_time_cost",
        "total_flat_cost" => "total_fixed_cost",
        other => other,
    }
}

struct Check<'a> {
    report: &'a PriceReport,
    mismatches: Vec<Mismatch>,
}

impl Check<'_> {
    /// Compares one field. `nulls`: `null` means that there must be nothing, otherwise it is ignored.
    fn stated(&mut self, name: &str, node: &Node<'_>, nulls: bool) {
        let report = self.report;
        let cost = match canonical(name) {
            "total_cost" => &report.total_cost,
            "total_fixed_cost" => &report.total_fixed_cost,
            "total_energy_cost" => &report.total_energy_cost,
            "total_time_cost" => &report.total_time_cost,
            "total_parking_cost" => &report.total_parking_cost,
            "total_reservation_cost" => &report.total_reservation_cost,
            "total_energy" => return self.quantity(name, node, &report.total_energy_kwh, nulls),
            "total_time" => return self.quantity(name, node, &report.total_time_h, nulls),
            "total_charging_time" => return self.quantity(name, node, &report.total_charging_time_h, nulls),
            "total_parking_time" => return self.quantity(name, node, &report.total_parking_time_h, nulls),
            "currency" => {
                if let Value::Text(currency) = &node.value
                    && !currency.eq_ignore_ascii_case(&report.currency)
                {
                    self.mismatch(name, currency, &report.currency);
                }
                return;
            }
            "warnings" | "generate_warnings" => return self.remarks(node),
            _ => return,
        };
        self.cost(name, node, cost.as_ref(), nulls);
    }

    fn cost(&mut self, name: &str, node: &Node<'_>, got: Option<&PriceText>, nulls: bool) {
        if node.value == Value::Null {
            if let (true, Some(got)) = (nulls, got) {
                self.mismatch(name, "null", &format!("{} / {}", got.excl_vat, got.incl_vat));
            }
            return;
        }
        let (node, tolerance) = toleranced(node, "tolerance");
        let zero = PriceText { excl_vat: "0".to_owned(), incl_vat: "0".to_owned() };
        let got = match got {
            Some(got) => got,
            // A CDR has zero for an unpriced field; a run distinguishes the two.
            None if tolerance.is_none() => &zero,
            None => return self.mismatch(name, "a cost", "null"),
        };
        match members(node) {
            Some(cost) => {
                for field in ["excl_vat", "before_taxes"] {
                    self.number(&format!("{name}.excl_vat"), cost.get(field), &got.excl_vat, tolerance);
                }
                for field in ["incl_vat", "after_taxes"] {
                    self.number(&format!("{name}.incl_vat"), cost.get(field), &got.incl_vat, tolerance);
                }
            }
            // OCPI 2.1.1 states costs before tax as numbers.
            None => self.number(name, Some(node), &got.excl_vat, tolerance),
        }
    }

    /// An energy in kWh, or a time in hours or as `H:MM:SS`.
    fn quantity(&mut self, name: &str, node: &Node<'_>, got: &str, nulls: bool) {
        if node.value == Value::Null {
            if nulls && decimal(got) != Some(Decimal::ZERO) {
                self.mismatch(name, "null", got);
            }
            return;
        }
        let (node, tolerance_kwh) = toleranced(node, "tolerance_kwh");
        if let Some(expected) = clock(node) {
            let tolerance = tolerance_kwh.unwrap_or(Decimal::ONE);
            // Hours have twelve decimals here; the engine counts whole milliseconds.
            let seconds = decimal(got).and_then(|hours| hours.checked_mul(Decimal::from(3_600)));
            let seconds = seconds.unwrap_or_default().round_dp(3);
            if seconds.checked_sub(expected).unwrap_or(Decimal::MAX).abs() > tolerance {
                self.mismatch(name, &format!("{expected} s"), &format!("{} s", seconds.normalize()));
            }
            return;
        }
        self.number(name, Some(node), got, tolerance_kwh);
    }

    /// Equal within the tolerance, or, where none is stated, to the last decimal that is written (two at least).
    fn number(&mut self, name: &str, node: Option<&Node<'_>>, got: &str, tolerance: Option<Decimal>) {
        let Some(text) = node.and_then(|node| match &node.value {
            Value::Number(text) => Some((*text).to_owned()),
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        }) else {
            return;
        };
        let (Some(expected), Some(value)) = (decimal(&text), decimal(got)) else {
            return self.mismatch(name, &text, got);
        };
        let difference = expected.checked_sub(value).unwrap_or(Decimal::MAX).abs();
        // Two decimals at least, or as many as the currency has.
        let fewest =
            self.report.currency.parse::<Currency>().map_or(2, |currency| u32::from(currency.exponent()).min(2));
        let agrees = match tolerance {
            Some(tolerance) => difference <= tolerance,
            None => difference < Decimal::new(1, expected.scale().clamp(fewest, 12)),
        };
        if !agrees {
            self.mismatch(name, &text, got);
        }
    }

    fn remarks(&mut self, node: &Node<'_>) {
        let Some(paths) = members(node) else { return };
        for path in paths.members {
            let Value::List(codes) = &path.node.value else { continue };
            for code in codes {
                let Value::Text(code) = &code.value else { continue };
                let found = self.report.warnings.iter().any(|warning| warning.code == *code);
                if REMARKS.contains(&code.as_ref()) && !found {
                    self.mismatch("warnings", code, "no such warning");
                }
            }
        }
    }

    fn mismatch(&mut self, field: &str, expected: &str, got: &str) {
        let (field, expected, got) = (field.to_owned(), expected.to_owned(), got.to_owned());
        self.mismatches.push(Mismatch { field, expected, got });
    }

    fn outcome(self) -> CaseOutcome {
        if self.mismatches.is_empty() { CaseOutcome::Passed } else { CaseOutcome::Failed(self.mismatches) }
    }
}

/// `{value, tolerance…}` taken apart; anything else is the value itself.
fn toleranced<'n, 'a>(node: &'n Node<'a>, name: &str) -> (&'n Node<'a>, Option<Decimal>) {
    let Some(fields) = members(node) else { return (node, None) };
    let Some(value) = fields.get("value") else { return (node, None) };
    let mut reader = Reader::new("");
    let tolerance = ["tolerance_sec", "tolerance_kwh", "tolerance", name]
        .iter()
        .find_map(|name| reader.opt_number(&fields, name).ok().flatten());
    (value, tolerance.or(Some(Decimal::ZERO)))
}

/// Seconds of `H:MM:SS`.
fn clock(node: &Node<'_>) -> Option<Decimal> {
    let Value::Text(text) = &node.value else { return None };
    let parts: Vec<Decimal> = text.split(':').map(decimal).collect::<Option<_>>()?;
    match parts.as_slice() {
        [hours, minutes, seconds] => {
            let (hours, minutes) = (hours.checked_mul(Decimal::from(3_600))?, minutes.checked_mul(Decimal::from(60))?);
            hours.checked_add(minutes)?.checked_add(*seconds)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARIFF: &str = r#"{"id": "T", "currency": "EUR", "elements": [{"price_components": [
        {"type": "ENERGY", "price": 0.56, "step_size": 1}, {"type": "PARKING_TIME", "price": 10, "step_size": 60}]}]}"#;

    fn run(expect: &str) -> String {
        format!(
            r#"{{"input": {{"timezone": "Europe/Amsterdam", "start_date_time": "2025-11-10 15:00:00+01:00",
                "end_date_time": "2025-11-10 15:13:01+01:00", "max_power_supply_kw": 200, "requested_kwh": 40,
                // more than it needs
                "max_current_supply_amp": 80}}, "expect": {{{expect}}}}}"#
        )
    }

    #[test]
    fn a_run_passes_within_its_tolerances() {
        let expect = r#""total_cost": {"value": {"excl_vat": 22.73, "incl_vat": 22.73}, "tolerance": 0.1},
            "total_charging_time": {"value": "0:12:00", "tolerance_sec": 1}, "total_fixed_cost": null,
            "total_idle_time": {"value": "0:01:01", "tolerance_sec": 0},
            "total_idle_cost": {"value": {"excl_vat": 0.33, "incl_vat": 0.33}, "tolerance": 0.1},
            "total_energy": {"value": 40, "tolerance_kwh": 0.1}"#;
        assert_eq!(check_run(TARIFF, &run(expect)), CaseOutcome::Passed);
    }

    #[test]
    fn a_run_that_expects_something_else_fails_and_says_what() {
        let expect = r#""total_cost": {"value": {"excl_vat": 22.9, "incl_vat": 22.73}, "tolerance": 0.1},
            "total_idle_time": null, "total_energy_cost": null, "currency": "NOK",
            "generate_warnings": {"$": ["no_element_prices_session"]}"#;
        let CaseOutcome::Failed(mismatches) = check_run(TARIFF, &run(expect)) else { panic!("it fails") };
        let fields: Vec<&str> = mismatches.iter().map(|mismatch| mismatch.field.as_str()).collect();
        assert_eq!(fields, ["total_cost.excl_vat", "total_idle_time", "total_energy_cost", "currency", "warnings"]);
    }
}
