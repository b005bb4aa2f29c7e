//! Sessions and operations.

use super::super::path::segment;
use super::super::problem::Problem;
use super::show::{Listed, optional};
use super::view::{decimal, plain};
use super::{Page, Visit, charts};
use crate::api::SESSION_STATES;
use crate::units::{Timestamp, visible_json};
use minijinja::Value;
use rust_decimal::Decimal;
use serde_json::Value as Json;

pub(super) fn list(visit: &Visit<'_>) -> Result<Page, Problem> {
    let takes = &["state", "flag", "charger", "site", "processor", "account", "since", "until", "q", "id"];
    let page = Page::new("Sessions", "sessions.html").with("states", SESSION_STATES.to_vec());
    Listed { address: "/sessions", api: "sessions", takes }.add_to(page, visit)
}

pub(super) fn one(visit: &Visit<'_>) -> Result<Page, Problem> {
    let session = visit.document(&format!("sessions/{}", segment(visit.name("id"))))?;
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    let first = session["operations"].as_array().and_then(|all| all.first()).and_then(|row| row["hold_id"].as_str());
    let hold = match first {
        Some(hold) => optional(visit.document(&format!("holds/{hold}")))?,
        None => Value::UNDEFINED,
    };
    let of = |what: &str| visit.document_with(&format!("sessions/{}/{what}", segment(&id)), &[("limit", "200")]);
    let (payable, gross) = (text(&session, "payable"), text(&session, "gross"));
    let rounding = decimal(payable).checked_sub(decimal(gross)).unwrap_or_default();
    let refundable = decimal(text(&session, "captured"));
    let is_open = !["closed", "refused"].contains(&text(&session, "state"));
    let short: String = id.chars().skip(4).take(16).collect();
    Ok(Page::new(format!("Session {short}"), "session.html")
        .with("session", plain(&session))
        .with("hold", hold)
        .with("entries", optional(of("entries"))?)
        .with("events", optional(of("events"))?)
        .with("rounding", rounding.normalize().to_string())
        .with("waterfall", charts::safe(waterfall(&session, rounding)))
        .with("curve", charts::safe(curve(&session)))
        .with("raw", visible_json(&format!("{session:#}")).into_owned())
        .with("is_open", is_open)
        .with("may_stop", is_open && visit.asking.may("sessions/x/stop"))
        .with("may_refund", refundable > Decimal::ZERO && visit.asking.may("sessions/x/refund"))
        .with("may_release", visit.asking.may("holds/x/release"))
        .with("may_rule", visit.asking.may("sessions/x/quarantine/drop")))
}

pub(super) fn operation(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id").replacen("hold_", "op_", 1);
    let operation = visit.document(&format!("operations/{}", segment(&id)))?;
    Ok(Page::new("Operation", "operation.html")
        .with("raw", visible_json(&format!("{operation:#}")).into_owned())
        .with("operation", plain(&operation)))
}

fn text<'a>(document: &'a Json, name: &str) -> &'a str {
    document[name].as_str().unwrap_or_default()
}

fn lines(session: &Json) -> impl Iterator<Item = &Json> {
    session["lines"].as_array().into_iter().flatten()
}

/// What a component is called.
fn named(line: &Json) -> String {
    match text(line, "dimension") {
        "flat" => "Start fee".to_owned(),
        "energy" => "Energy".to_owned(),
        "time" => "Time".to_owned(),
        "parking_time" => "Parking".to_owned(),
        "reservation" => "Reservation".to_owned(),
        "price_limit" => "Price limit".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The price component by component, up to what is payable.
fn waterfall(session: &Json, rounding: Decimal) -> String {
    let mut steps: Vec<(String, Decimal)> = Vec::new();
    for line in lines(session) {
        let name = match text(line, "reason") {
            "" => named(line),
            reason => format!("{} · {reason}", named(line)),
        };
        let amount = decimal(text(line, "gross"));
        match steps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => steps.push((name, amount)),
        }
    }
    if !rounding.is_zero() {
        steps.push(("Rounded once".to_owned(), rounding));
    }
    let total = decimal(text(session, "payable"));
    charts::waterfall("Price by component, with VAT", &steps, total, text(session, "currency"))
}

/// The power of each stretch at one price of energy, with that price as a band below.
fn curve(session: &Json) -> String {
    let ms = |line: &Json, name: &str| Timestamp::parse_rfc3339(text(line, name)).ok().map(Timestamp::unix_ms);
    let mut stretches = Vec::new();
    for line in lines(session).filter(|line| text(line, "dimension") == "energy") {
        let (Some(from), Some(to)) = (ms(line, "from"), ms(line, "to")) else { continue };
        if to <= from {
            continue;
        }
        let energy = decimal(text(line, "measured"));
        let hours = Decimal::from(to - from).checked_div(Decimal::from(3_600_000)).unwrap_or(Decimal::ONE);
        let power = energy.checked_div(hours).unwrap_or_default().round_dp(1);
        let price = line["price_incl_vat"].as_str().or(line["price"].as_str()).unwrap_or_default();
        stretches.push(charts::Stretch {
            from,
            to,
            clock: (
                text(line, "from").get(11..16).unwrap_or_default(),
                text(line, "to").get(11..16).unwrap_or_default(),
            ),
            power,
            energy,
            price: decimal(price),
        });
    }
    charts::curve("Power and price over time", &stretches, text(session, "currency"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_waterfall_adds_up_to_what_is_payable() {
        let line =
            |dimension: &str, gross: &str| json!({ "dimension": dimension, "reason": "23:00-06:00", "gross": gross });
        let session = json!({
            "lines": [line("flat", "0.605"), line("energy", "2.5742356"), line("energy", "2")], "payable": "5.18", "currency": "EUR",
        });
        let shown = waterfall(&session, decimal("0.0007644"));
        for part in ["0.605", "4.5742356", "0.0007644", "5.18", "Rounded once", "<title"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn the_power_of_a_stretch_is_its_energy_over_its_time() {
        let session = json!({ "currency": "EUR", "lines": [{
            "dimension": "energy", "from": "2026-12-01T02:00:00+01:00", "to": "2026-12-01T02:30:00+01:00", "measured": "25",
            "price": "0.36", "price_incl_vat": "0.4356",
        }] });
        let shown = curve(&session);
        assert!(shown.contains("50 kW") && shown.contains("0.4356"), "{shown}");
    }
}
