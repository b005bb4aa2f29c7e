//! Any text as a tariff: it is refused, or it prices a session without a panic, and in pieces as in one.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use wattstile::tariff::{Rating, Tariff};
use wattstile::units::{Current, Energy, MeterReading, Power, TimeSpan, Timestamp};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(parsed) = Tariff::parse(text) else { return };
    let tariff = parsed.tariff;
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    // Over the clock change of spring: 11 kW for 7 hours, then a pause of 30.
    let start = Timestamp::from_unix_ms(1_774_730_000_000);
    let reading = |minutes: i64| MeterReading {
        sequence: 1,
        at: start.saturating_add(TimeSpan::from_secs(minutes * 60)),
        register: Energy::from_watt_hours(minutes.min(420) * 180).unwrap(),
        power: Power::from_watts(if minutes <= 420 { 10_800 } else { 0 }),
        current: Some(Current::from_milliamperes(if minutes <= 420 { 48_000 } else { 0 })),
    };
    let price = |minutes: &[i64]| {
        let mut rating = Rating::open(&tariff, &zone, start, Energy::ZERO).ok()?;
        for minute in minutes {
            let slices = rating.price(&tariff, &zone, &reading(*minute)).ok()?;
            rating.apply(&slices);
        }
        rating.total(&tariff).ok()
    };
    let pieces = price(&[1, 2, 60, 113, 300, 420, 421, 1_000, 2_220]);
    let whole = price(&[420, 2_220]);
    if let (Some(pieces), Some(whole)) = (pieces, whole) {
        assert_eq!(pieces, whole);
    }
});
