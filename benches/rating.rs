//! What a price costs: per meter reading of a live session, early and late in it, and per CDR of 30 periods.

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use std::fmt::Write;
use std::hint::black_box;
use wattstile::tariff::{Cdr, Rating, Tariff};
use wattstile::units::{Energy, MeterReading, TimeSpan, Timestamp};

/// One price.
const SIMPLE: &str = r#"{"id": "S", "currency": "EUR", "elements": [{"price_components": [
    {"type": "ENERGY", "price": 0.4917, "vat": 21, "step_size": 1}]}]}"#;

/// Fee, day and night, free first half hour of parking, thresholds of energy: everything a real tariff has.
const RICH: &str = r#"{"id": "R", "currency": "EUR", "max_price": {"before_taxes": 200, "after_taxes": 242}, "elements": [
    {"price_components": [{"type": "FLAT", "price": 0.50, "vat": 21, "step_size": 1}]},
    {"price_components": [{"type": "ENERGY", "price": 0.31, "vat": 21, "step_size": 1}],
     "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
    {"price_components": [{"type": "ENERGY", "price": 0.36, "vat": 21, "step_size": 1}],
     "restrictions": {"day_of_week": ["SATURDAY", "SUNDAY"]}},
    {"price_components": [{"type": "ENERGY", "price": 0.49, "vat": 21, "step_size": 1}], "restrictions": {"max_kwh": 40}},
    {"price_components": [{"type": "ENERGY", "price": 0.44, "vat": 21, "step_size": 1}]},
    {"price_components": [{"type": "PARKING_TIME", "price": 6, "vat": 21, "step_size": 60}],
     "restrictions": {"min_duration": 1800}}]}"#;

fn tariff(text: &str) -> Tariff {
    Tariff::parse(text).expect("a tariff").tariff
}

/// Monday 2026-11-23, 08:00 in Amsterdam; a reading every ten seconds at 11 kW.
fn reading(number: i64) -> MeterReading {
    MeterReading {
        sequence: 1,
        at: Timestamp::from_unix_ms(1_795_417_200_000).saturating_add(TimeSpan::from_secs(10 * number)),
        register: Energy::from_milliwatt_hours(7_000_000_000 + 30_556 * number).expect("in range"),
        power: None,
        current: None,
    }
}

/// A session after so many readings.
fn after(tariff: &Tariff, zone: &TimeZone, readings: i64) -> Rating {
    let first = reading(0);
    let mut rating = Rating::open(tariff, zone, first.at, first.register).expect("opens");
    for number in 1..=readings {
        let slices = rating.price(tariff, zone, &reading(number)).expect("priced");
        rating.apply(&slices);
    }
    rating
}

/// A CDR with a period every two minutes, alternating between two powers.
fn cdr(periods: usize) -> Cdr {
    let mut text = String::new();
    for index in 0..periods {
        let comma = if index == 0 { "" } else { "," };
        let minute = index * 2;
        let start = format!("2026-11-23T{:02}:{:02}:00Z", 8 + minute / 60, minute % 60);
        let kwh = 30 + index % 7;
        write!(
            text,
            r#"{comma}{{"start_date_time": "{start}", "dimensions": [{{"type": "ENERGY", "volume": 0.{kwh}}},
               {{"type": "TIME", "volume": 0.0333}}]}}"#
        )
        .expect("a string takes everything");
    }
    let text = format!(
        r#"{{"start_date_time": "2026-11-23T08:00:00Z", "end_date_time": "2026-11-23T12:00:00Z",
            "cdr_location": {{"country": "NLD"}}, "charging_periods": [{text}]}}"#
    );
    Cdr::parse(&text).expect("a CDR")
}

fn benches(criterion: &mut Criterion) {
    let zone = TimeZone::get("Europe/Amsterdam").expect("a known zone");
    for (name, text) in [("simple", SIMPLE), ("rich", RICH)] {
        let tariff = tariff(text);
        for done in [10, 10_000] {
            let rating = after(&tariff, &zone, done);
            let next = reading(done + 1);
            // What a session does per reading: price, apply, running cost.
            criterion.bench_function(&format!("reading/{name}/after_{done}"), |bencher| {
                bencher.iter(|| {
                    let mut rating = rating.clone();
                    let slices = rating.price(&tariff, &zone, black_box(&next)).expect("priced");
                    rating.apply(&slices);
                    rating.total(&tariff).expect("a total")
                });
            });
        }
        for periods in [3, 30, 120] {
            let cdr = cdr(periods);
            criterion.bench_function(&format!("cdr/{name}/{periods}_periods"), |bencher| {
                bencher.iter(|| {
                    let priced = cdr.price(&tariff, &zone).expect("priced");
                    (priced.rating.total(&tariff).expect("a total"), priced.segments.as_slice().len())
                });
            });
        }
    }
    let rich = tariff(RICH);
    criterion
        .bench_function("parse/rich", |bencher| bencher.iter(|| Tariff::parse(black_box(RICH)).expect("a tariff")));
    let rating = after(&rich, &zone, 100);
    criterion.bench_function("total/rich", |bencher| bencher.iter(|| rating.total(black_box(&rich)).expect("a total")));
}

criterion_group!(rating, benches);
criterion_main!(rating);
