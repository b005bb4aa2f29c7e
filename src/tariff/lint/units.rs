//! Figures that are probably in another unit than OCPI means: watts, milliamperes, minutes, cents.

use super::super::model::{Component, Dimension, Restrictions, Tariff};
use rust_decimal::Decimal;

/// kWh, kW and A in the units of restrictions.
const KWH: i64 = 1_000_000_000;
const KW: i64 = 1_000_000;
const AMPERE: i64 = 1_000;
const SECOND: i64 = 1_000;

/// From this power, energy, current and time on a restriction can hardly be meant.
const POWER_FROM: i64 = 1_000 * KW;
const ENERGY_FROM: i64 = 1_000 * KWH;
const CURRENT_FROM: i64 = 3_000 * AMPERE;
const DURATION_FROM: i64 = 7 * 86_400 * SECOND;
/// Below this time a restriction is probably in minutes or hours.
const DURATION_BELOW: i64 = 60 * SECOND;
/// Blocks from which one is never billed by what was taken.
const STEP_WH_FROM: u32 = 10_000;
const STEP_SECONDS_FROM: u32 = 14_401;

/// Powers of chargers in kW that are no current: 16 A and 32 A, one and three phases.
const KW_OF_CHARGERS: [i64; 6] = [3_600, 3_680, 3_700, 7_360, 7_400, 22_100];

/// What restrictions probably do not mean: what to do, and why.
pub(super) fn of_restrictions(restrictions: &Restrictions) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let decimal = |value: i64, scale: u32| Decimal::new(value, scale).normalize();
    for (name, value) in [("min_power", restrictions.min_power), ("max_power", restrictions.max_power)] {
        if let Some(power) = value.filter(|power| *power >= POWER_FROM) {
            let message = format!("{name} is {} kW, more than nearly every charger has", decimal(power, 6));
            found.push(("OCPI states power in kW, not in W", message));
        }
    }
    for (name, value) in [("min_current", restrictions.min_current), ("max_current", restrictions.max_current)] {
        let Some(current) = value else { continue };
        if current >= CURRENT_FROM {
            let message = format!("{name} is {} A, more than any charger has", decimal(current, 3));
            found.push(("OCPI states current in A, not in mA", message));
        } else if KW_OF_CHARGERS.contains(&current) {
            let message = format!("{name} is {} A, which is the power of a charger in kW", decimal(current, 3));
            found.push(("OCPI states current in A; a power stands in min_power and max_power", message));
        }
    }
    for (name, value) in [("min_kwh", restrictions.min_energy), ("max_kwh", restrictions.max_energy)] {
        if let Some(energy) = value.filter(|energy| *energy >= ENERGY_FROM) {
            let message = format!("{name} is {} kWh, more than any battery takes", decimal(energy, 9));
            found.push(("OCPI states energy in kWh, not in Wh", message));
        }
    }
    for (name, value) in [("min_duration", restrictions.min_duration), ("max_duration", restrictions.max_duration)] {
        match value {
            Some(time) if time > 0 && time < DURATION_BELOW => {
                let message = format!("{name} is {} s, less than a minute", decimal(time, 3));
                found.push(("OCPI states durations in seconds, not in minutes or hours", message));
            }
            Some(time) if time > DURATION_FROM => {
                let message = format!("{name} is {} s, more than a week", decimal(time, 3));
                found.push(("OCPI states durations in seconds, not in milliseconds", message));
            }
            _ => {}
        }
    }
    let stated = [
        ("min_power", restrictions.min_power),
        ("max_power", restrictions.max_power),
        ("min_current", restrictions.min_current),
        ("max_current", restrictions.max_current),
        ("min_kwh", restrictions.min_energy),
        ("max_kwh", restrictions.max_energy),
        ("min_duration", restrictions.min_duration),
        ("max_duration", restrictions.max_duration),
    ];
    for (name, _) in
        stated.iter().filter(|(name, value)| name.starts_with("min") && value.is_some_and(|value| value < 0))
    {
        found.push((
            "remove it, or write the value that is meant",
            format!("{name} is below zero and excludes nothing"),
        ));
    }
    found
}

/// What a component probably does not mean: code, why, and what to do.
pub(super) fn of_component(tariff: &Tariff, component: &Component) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    if let Some(vat) = component.vat.filter(|vat| (1..10_000).contains(vat)) {
        let percent = Decimal::new(i64::from(vat), 4).normalize();
        let message = format!("VAT is {percent} %: is it a fraction?");
        found.push(("vat_fraction", message, "OCPI states VAT in percent: 21 for 21 %"));
    }
    let price = component.price_nano;
    let Some((low, high)) = usual_per_kwh(tariff.currency().code()).filter(|_| price > 0) else { return found };
    let shown = format!("{} {}", tariff.currency(), component.price());
    match component.dimension {
        Dimension::Energy if price < low => {
            let message = format!("{shown} per kWh is next to nothing");
            found.push(("unit", message, "OCPI states the price of ENERGY per kWh, not per Wh, in major units"));
        }
        Dimension::Energy if price > high => {
            let message = format!("{shown} per kWh is more than any operator asks");
            found.push((
                "unit",
                message,
                "OCPI states the price of ENERGY per kWh, not per MWh, in major units, not in cents",
            ));
        }
        Dimension::Time | Dimension::ParkingTime if price < per_hour_from(tariff, low) => {
            let minute = Decimal::new(price, 9).checked_mul(Decimal::from(60)).unwrap_or_default().normalize();
            let message = format!("{shown} per hour is very little: if it is meant per minute, the price is {minute}");
            found.push(("unit", message, "OCPI states the price of TIME and PARKING_TIME per hour"));
        }
        Dimension::Time | Dimension::ParkingTime if price > high.saturating_mul(100) => {
            let message = format!("{shown} per hour is more than any operator asks");
            found.push((
                "unit",
                message,
                "OCPI states the price of TIME and PARKING_TIME per hour, in major units, not in cents",
            ));
        }
        _ => {}
    }
    found
}

/// Below this an hour costs less than a kWh of the same tariff, or ten times the least that a kWh costs.
fn per_hour_from(tariff: &Tariff, low: i64) -> i64 {
    let energy = tariff.components().iter().filter(|component| component.dimension == Dimension::Energy);
    let kwh = energy.map(|component| component.price_nano).filter(|price| *price > 0).min();
    kwh.unwrap_or_else(|| low.saturating_mul(50)).min(low.saturating_mul(100))
}

/// Usual range of the price of a kWh, in 10⁻⁹ of the major unit; `None` for currencies without an entry.
fn usual_per_kwh(currency: &str) -> Option<(i64, i64)> {
    const NANO: i64 = 1_000_000_000;
    let (low_milli, high): (i64, i64) = match currency {
        "EUR" | "USD" | "GBP" | "CHF" | "AUD" | "CAD" | "NZD" | "SGD" => (10, 5),
        "KWD" | "BHD" | "OMR" | "JOD" => (2, 2),
        "BGN" | "PLN" | "RON" | "ILS" | "AED" | "SAR" | "QAR" | "BRL" | "MYR" | "TND" => (20, 20),
        "SEK" | "NOK" | "DKK" | "CZK" | "CNY" | "HKD" | "TRY" | "MXN" | "ZAR" | "THB" | "UAH" => (50, 60),
        "HUF" | "JPY" | "ISK" | "INR" | "RSD" | "CLP" | "KZT" => (500, 2_000),
        _ => return None,
    };
    Some((low_milli.saturating_mul(NANO / 1_000), high.saturating_mul(NANO)))
}

/// Whether a block is larger than nearly every session.
pub(super) fn absurd_step(component: &Component) -> bool {
    match component.dimension {
        Dimension::Energy => component.step_size >= STEP_WH_FROM,
        Dimension::Time | Dimension::ParkingTime => component.step_size >= STEP_SECONDS_FROM,
        Dimension::Flat => false,
    }
}

/// What an absurd block means, and what to do.
pub(super) fn step_words(tariff: &Tariff, component: &Component) -> (String, &'static str) {
    let price = component.price().checked_mul(Decimal::from(component.step_size)).unwrap_or_default();
    let energy = component.dimension == Dimension::Energy;
    let (unit, parts) = if energy { ("Wh", 1_000) } else { ("s", 3_600) };
    let least = price.checked_div(Decimal::from(parts)).unwrap_or_default().round_dp(4).normalize();
    let message = format!(
        "it is billed in blocks of {} {unit}: the least that is billed is {} {least}",
        component.step_size,
        tariff.currency()
    );
    let help =
        if energy { "OCPI states step_size in Wh: 1 bills every Wh" } else { "OCPI states step_size in seconds" };
    (message, help)
}
