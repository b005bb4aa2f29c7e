//! Any text as a CDR, a run or a list of readings: it is refused, or priced without a panic.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use wattstile::tariff::{Cdr, PriceReport, RecordedSession, Tariff};

const TARIFF: &str = r#"{"id": "T", "currency": "EUR", "min_price": {"excl_vat": 0.5}, "max_price": {"incl_vat": 90},
    "elements": [
        {"price_components": [{"type": "TIME", "price": 5, "vat": 20, "step_size": 60}], "restrictions": {"reservation": "RESERVATION"}},
        {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 10, "step_size": 7}], "restrictions": {"start_time": "22:00", "end_time": "06:00", "max_kwh": 30}},
        {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}, {"type": "PARKING_TIME", "price": 3, "step_size": 900},
                              {"type": "TIME", "price": 1, "step_size": 600}, {"type": "FLAT", "price": 0.35, "step_size": 1}]}]}"#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let tariff = Tariff::parse(TARIFF).unwrap().tariff;
    if let Ok(cdr) = Cdr::parse(text) {
        let own = cdr.own_tariff().and_then(Result::ok);
        let zone = cdr.zone.clone().unwrap_or(TimeZone::UTC);
        for tariff in own.iter().chain([&tariff]) {
            if let Ok(priced) = cdr.price(tariff, &zone) {
                let _ = PriceReport::of_cdr(&cdr, &priced, tariff);
            }
        }
    }
    for parse in [RecordedSession::parse_readings, RecordedSession::parse_run] {
        if let Ok(session) = parse(text) {
            let zone = session.zone.clone().unwrap_or(TimeZone::UTC);
            if let Ok(priced) = session.price(&tariff, &zone) {
                let _ = PriceReport::of_session(&priced, &tariff);
            }
        }
    }
});
