//! Prices compared with another pricer's, on random tariffs and sessions.
//!
//! `tests/tariff/oracle-prices.csv` holds what ocpi-tariffs-cli 0.48.0 (TandemDrive, MIT OR Apache-2.0) found for every
//! session under the tariff of that line in `oracle-tariffs.jsonl`, in Europe/Amsterdam, to four decimals. A session is
//! a list of charging periods one after another: `C` time in 0.01 h / Wh / kW / A, or `P` time in 0.01 h.
//! Where the two differ on purpose, the manual's page on pricing names the sentence that decides it, and
//! [`differs`] the cases.

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt::Write;
use wattstile::tariff::{Cdr, Period, PriceReport, Restrictions, Tariff};

const TARIFFS: &str = include_str!("../tariff/oracle-tariffs.jsonl");
const PRICES: &str = include_str!("../tariff/oracle-prices.csv");

/// Why a price may differ from the other pricer's; `None` where it may not.
fn differs(tariff: &Tariff, cdr: &Cdr, report: &PriceReport) -> Option<&'static str> {
    let same = |restrictions: &Restrictions| {
        restrictions.start_minute.is_some()
            && restrictions.start_minute == restrictions.end_minute.map(|end| end % 1_440)
    };
    if tariff.elements().iter().any(|element| same(&element.restrictions)) {
        return Some("a window from a time to the same time is a whole day here and never open there");
    }
    let to_midnight =
        |restrictions: &Restrictions| restrictions.start_minute.is_none() && restrictions.end_minute == Some(1_440);
    if tariff.elements().iter().any(|element| to_midnight(&element.restrictions)) {
        return Some(
            "an end_time of 00:00 is the end of the day here, also without a start_time; there it is its beginning",
        );
    }
    if report.warnings.iter().any(|warning| warning.code.starts_with("total_cost_clamped")) {
        return Some("the limits before and after tax are independent here; there either sets both");
    }
    let stated = |volume: fn(&Period) -> Option<i64>| cdr.periods.iter().filter_map(volume).sum::<i64>();
    let billed = |dimension: &str, unit: i64| {
        let lines = report.segments.iter().filter(|line| line.dimension == dimension);
        let volumes = lines.map(|line| line.volume.parse::<Decimal>().unwrap() * Decimal::from(unit));
        volumes.sum::<Decimal>().round()
    };
    let partly = |stated: i64, billed: Decimal| billed > Decimal::ZERO && billed != Decimal::from(stated);
    if partly(stated(|period| period.energy), billed("ENERGY", 1_000_000_000))
        || partly(stated(|period| period.time), billed("TIME", 3_600_000))
        || partly(stated(|period| period.parking), billed("PARKING_TIME", 3_600_000))
    {
        return Some("step_size rounds what is billable here; there also what no component prices");
    }
    None
}

/// The session of a line as a CDR.
fn cdr(start: &str, periods: &str) -> Cdr {
    let mut at: jiff::Timestamp = start.parse().unwrap();
    let mut text = String::new();
    for period in periods.split(' ') {
        let parts: Vec<&str> = period[1..].split('/').collect();
        let hours = |hundredths: &str| Decimal::new(hundredths.parse().unwrap(), 2).to_string();
        let dimension = |kind: &str, volume: &str| format!(r#"{{"type": "{kind}", "volume": {volume}}}"#);
        let both = |kind: &str, volume: &str| {
            format!("{}, {}", dimension(&format!("MIN_{kind}"), volume), dimension(&format!("MAX_{kind}"), volume))
        };
        let dimensions = match (&period[..1], parts.as_slice()) {
            ("C", [time, wh, kw, ampere]) => {
                let kwh = Decimal::new(wh.parse().unwrap(), 3).to_string();
                [dimension("ENERGY", &kwh), dimension("TIME", &hours(time)), both("POWER", kw), both("CURRENT", ampere)]
                    .join(", ")
            }
            ("P", [time]) => {
                [dimension("PARKING_TIME", &hours(time)), both("POWER", "0"), both("CURRENT", "0")].join(", ")
            }
            _ => panic!("{period}"),
        };
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, r#"{comma}{{"start_date_time": "{at}", "dimensions": [{dimensions}]}}"#).unwrap();
        at += jiff::SignedDuration::from_secs(36 * parts[0].parse::<i64>().unwrap());
    }
    let cdr = format!(r#"{{"start_date_time": "{start}", "end_date_time": "{at}", "charging_periods": [{text}]}}"#);
    Cdr::parse(&cdr).unwrap_or_else(|error| panic!("{error}\n{cdr}"))
}

/// The other pricer's four decimals are the exact value, rounded or cut.
fn agrees(ours: &str, theirs: &str) -> bool {
    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    (decimal(ours) - decimal(theirs)).abs() < Decimal::new(1, 4)
}

#[test]
fn ten_thousand_prices_agree_with_another_pricer() {
    let tariffs: Vec<Tariff> = TARIFFS.lines().map(|line| Tariff::parse(line).unwrap().tariff).collect();
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let (mut compared, mut explained) = (0, BTreeMap::<&str, usize>::new());
    let mut wrong = Vec::new();
    for (number, line) in PRICES.lines().enumerate().skip(1) {
        let [index, start, periods, excl, incl] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
        let tariff = &tariffs[index.parse::<usize>().unwrap()];
        let cdr = cdr(start, periods);
        let priced = cdr.price(tariff, &zone).unwrap();
        let report = PriceReport::of_cdr(&cdr, &priced, tariff).unwrap();
        let (our_excl, our_incl) = match &report.total_cost {
            Some(total) => (total.excl_vat.clone(), total.incl_vat.clone()),
            None => ("0".to_owned(), "0".to_owned()),
        };
        compared += 1;
        if agrees(&our_excl, excl) && agrees(&our_incl, incl) {
            continue;
        }
        match differs(tariff, &cdr, &report) {
            Some(why) => *explained.entry(why).or_default() += 1,
            None => {
                wrong.push(format!("line {}: {line}\n  ours {our_excl} {our_incl}\n  {}", number + 1, tariff.source()))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    println!("{compared} compared; {explained:#?}");
    assert!(compared >= 10_000, "{compared}");
    assert!(explained.values().sum::<usize>() < compared / 10, "{explained:?}");
}
