//! From the tariff's engine to lines that add up.

use super::*;
use crate::tariff::{Rating, Segments, Tariff};
use crate::units::MeterReading;
use jiff::tz::TimeZone;

/// Energy at 0.42 by day with 21 % VAT, a start fee without VAT, parking in steps of five minutes.
const TARIFF: &str = r#"{
    "country_code": "NL", "party_id": "WST", "id": "AMS-DAY", "currency": "EUR", "last_updated": "2026-01-01T00:00:00Z",
    "min_price": {"excl_vat": MIN},
    "elements": [
        {"price_components": [{"type": "FLAT", "price": 0.5, "step_size": 1}]},
        {"price_components": [{"type": "ENERGY", "price": 0.42, "vat": 21, "step_size": 1}],
         "restrictions": {"start_time": "07:00", "end_time": "14:10"}},
        {"price_components": [{"type": "ENERGY", "price": 0.31, "vat": 21, "step_size": 1},
                              {"type": "PARKING_TIME", "price": 4.2, "vat": 21, "step_size": 300}]}
    ]
}"#;

fn priced(min_price: &str) -> (Tariff, Pricing) {
    let tariff = Tariff::parse(&TARIFF.replace("MIN", min_price)).unwrap().tariff;
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let register = |wh| Energy::from_watt_hours(wh).unwrap();
    let mut rating = Rating::open(&tariff, &zone, at("14:00:00"), register(1_000_000)).unwrap();
    let mut segments = Segments::open(&rating);
    for (sequence, (time, wh)) in [("14:20:00", 1_010_000), ("14:27:00", 1_010_000)].into_iter().enumerate() {
        let sequence = u32::try_from(sequence).unwrap() + 1;
        let reading = MeterReading { sequence, at: at(time), register: register(wh), power: None, current: None };
        let slices = rating.price(&tariff, &zone, &reading).unwrap();
        rating.apply(&slices);
        segments.add(&slices);
    }
    let pricing = Pricing::of(&tariff, &rating, &segments, at("14:27:00")).unwrap();
    (tariff, pricing)
}

fn closed(tariff: &Tariff, pricing: Pricing) -> ClosedSession {
    let payable = pricing.gross.round(pricing.rounding).unwrap();
    let Pricing { lines, vat, net, gross, rounding } = pricing;
    let tariff = PinnedTariff {
        id: tariff.id().clone(),
        hash: tariff.hash(),
        text: tariff.source().into(),
        prices_include_vat: false,
    };
    let payment = PaymentSummary { captured: payable, ..session().payment };
    ClosedSession { tariff, lines, vat, net, gross, rounding, payable, payment, ..session() }
}

#[test]
fn lines_of_the_engine_add_up_and_name_their_reason() {
    let (tariff, pricing) = priced("0");
    let lines: Vec<(u16, Dimension, &str, Decimal)> =
        pricing.lines.iter().map(|line| (line.element, line.dimension, &*line.reason, line.net.major())).collect();
    assert_eq!(
        lines,
        [
            (1, Dimension::Flat, "", decimal("0.5")),
            (2, Dimension::Energy, "07:00-14:10", decimal("2.1")),
            (3, Dimension::Energy, "", decimal("1.55")),
            (3, Dimension::ParkingTime, "", decimal("0.7")),
        ]
    );
    let parking = &pricing.lines[3];
    assert_eq!(parking.measured, Quantity::Time(TimeSpan::from_secs(420)));
    assert_eq!(parking.billed, Quantity::Time(TimeSpan::from_secs(600)));
    let session = closed(&tariff, pricing);
    assert_eq!(session.check(), Ok(()));
    assert_eq!(session.payable, cents(576));
}

#[test]
fn a_lowest_price_is_a_line_of_its_own() {
    let (tariff, pricing) = priced("10");
    let last = pricing.lines.last().unwrap();
    assert_eq!((last.dimension, last.net.major()), (Dimension::PriceLimit, decimal("5.15")));
    assert_eq!(pricing.net.major(), decimal("10"));
    let session = closed(&tariff, pricing);
    assert_eq!(session.check(), Ok(()));
    let receipt = Receipt::new(&session, &issue()).unwrap();
    assert!(receipt.to_text().contains("\n  lowest price"), "{}", receipt.to_text());
}
