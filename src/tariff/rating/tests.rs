use super::*;
use crate::tariff::{Segments, Total};

pub(crate) fn zone() -> TimeZone {
    TimeZone::get("Europe/Amsterdam").unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn tariff(elements: &str) -> Tariff {
    let text = format!(r#"{{"id": "T", "currency": "EUR", "elements": {elements}}}"#);
    Tariff::parse(&text).unwrap().tariff
}

fn wh(wh: i64) -> Energy {
    Energy::from_watt_hours(wh).unwrap()
}

/// Takes readings (minutes after the start, register in Wh) and gives the rating, its segments and all slices.
fn run(tariff: &Tariff, start: &str, readings: &[(i64, i64)]) -> (Rating, Segments, Vec<Slice>) {
    let zone = zone();
    let start = at(start);
    let mut rating = Rating::open(tariff, &zone, start, wh(1_000_000)).unwrap();
    let mut segments = Segments::open(&rating);
    let mut all = Vec::new();
    for (index, (minute, register)) in readings.iter().enumerate() {
        let reading = MeterReading {
            sequence: u32::try_from(index).unwrap() + 1,
            at: start.saturating_add(TimeSpan::from_secs(minute * 60)),
            register: wh(1_000_000 + register),
            power: None,
            current: None,
        };
        let slices = rating.price(tariff, &zone, &reading).unwrap();
        rating.apply(&slices);
        segments.add(&slices);
        all.extend(slices.0);
    }
    (rating, segments, all)
}

fn total(rating: &Rating, tariff: &Tariff) -> Total {
    let total = rating.total(tariff).unwrap();
    assert_eq!(rating.running(tariff).unwrap(), total.incl_vat, "one formula");
    total
}

#[test]
fn an_ordinary_session_has_one_slice_per_reading_and_a_small_state() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "FLAT", "price": 0.5, "vat": 20, "step_size": 1},
                                  {"type": "ENERGY", "price": 0.25, "vat": 10, "step_size": 1}]}]"#,
    );
    let (rating, segments, slices) = run(&tariff, "2026-11-22T17:00:00Z", &[(1, 100), (2, 300), (30, 20_000)]);
    assert_eq!(slices.len(), 3);
    assert!(slices.iter().all(|slice| slice.time_component == Slice::NO_COMPONENT));
    let total = total(&rating, &tariff);
    assert_eq!((total.excl_vat.major().to_string(), total.incl_vat.major().to_string()), ("5.5".into(), "6.1".into()));
    assert_eq!(total.payable().unwrap().to_string(), "EUR 6.10");
    assert_eq!(segments.as_slice().len(), 2, "a fee, and one stretch of energy");
    assert!(std::mem::size_of::<Rating>() <= 160, "{}", std::mem::size_of::<Rating>());
    assert_eq!(std::mem::size_of::<Slice>(), 32);
}

#[test]
fn an_interval_over_a_price_boundary_is_split_by_time_at_constant_power() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 0.20, "step_size": 1}],
             "restrictions": {"start_time": "00:00", "end_time": "17:00"}},
            {"price_components": [{"type": "ENERGY", "price": 0.30, "step_size": 1}]}]"#,
    );
    // 16:50 to 17:20 in Amsterdam with 3 kWh: one third before the boundary.
    let (rating, _, slices) = run(&tariff, "2026-11-23T15:50:00Z", &[(30, 3_000)]);
    assert_eq!(slices.len(), 2);
    assert_eq!((slices[0].energy, slices[1].energy), (wh(1_000), wh(2_000)));
    assert_eq!(slices[1].from, at("2026-11-23T16:00:00Z"));
    assert_eq!((slices[0].reason, slices[1].reason), (Reason::Start, Reason::TimeOfDay));
    assert_eq!(total(&rating, &tariff).excl_vat.major().to_string(), "0.8");
}

#[test]
fn energy_and_duration_thresholds_split_too() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}], "restrictions": {"max_kwh": 2}},
            {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]},
            {"price_components": [{"type": "TIME", "price": 6, "step_size": 1}], "restrictions": {"min_duration": 1800}}]"#,
    );
    let (rating, _, slices) = run(&tariff, "2026-11-23T15:00:00Z", &[(60, 6_000)]);
    let reasons: Vec<Reason> = slices.iter().map(|slice| slice.reason).collect();
    assert_eq!(reasons, [Reason::Start, Reason::Energy, Reason::Duration]);
    assert_eq!(slices[0].to, at("2026-11-23T15:20:00Z"));
    assert_eq!(total(&rating, &tariff).excl_vat.major().to_string(), "5", "4 kWh at 0.50 and half an hour at 6.00");
}

#[test]
fn a_pause_is_parking_and_the_slice_says_why() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "TIME", "price": 1.2, "step_size": 1},
                                  {"type": "PARKING_TIME", "price": 6, "step_size": 1}]}]"#,
    );
    let (rating, segments, slices) =
        run(&tariff, "2026-11-23T15:00:00Z", &[(10, 1_000), (20, 1_000), (30, 1_000), (40, 1_500)]);
    let reasons: Vec<Reason> = slices.iter().map(|slice| slice.reason).collect();
    assert_eq!(reasons, [Reason::Start, Reason::ChargingStopped, Reason::Reading, Reason::ChargingResumed]);
    let total = total(&rating, &tariff);
    assert_eq!(total.time.unwrap().excl_vat.major().to_string(), "0.4");
    assert_eq!(total.parking.unwrap().excl_vat.major().to_string(), "2");
    assert_eq!(segments.as_slice().len(), 3);
}

#[test]
fn what_no_meter_does_is_refused() {
    let tariff = tariff(r#"[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}]}]"#);
    let (rating, ..) = run(&tariff, "2026-11-23T15:00:00Z", &[(10, 1_000)]);
    let reading = |minute: i64, register: i64| MeterReading {
        sequence: 9,
        at: at("2026-11-23T15:00:00Z").saturating_add(TimeSpan::from_secs(minute * 60)),
        register: wh(1_000_000 + register),
        power: None,
        current: None,
    };
    assert!(matches!(rating.price(&tariff, &zone(), &reading(9, 2_000)), Err(RatingError::TimeWentBack { .. })));
    assert!(matches!(rating.price(&tariff, &zone(), &reading(11, 999)), Err(RatingError::RegisterFell { .. })));
    let other = self::tariff(r#"[{"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}]"#);
    assert_eq!(rating.price(&other, &zone(), &reading(11, 2_000)), Err(RatingError::WrongTariff));
    assert_eq!(rating.total(&other), Err(RatingError::WrongTariff));
}

/// Two prices by the clock: a night rate of 1 from 22:00 to 06:00, else 2, per kWh.
fn night_and_day() -> Tariff {
    tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
             "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
            {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}]"#,
    )
}

#[track_caller]
fn costs(tariff: &Tariff, start: &str, hours: i64, excl_vat: &str) -> Vec<Reason> {
    // One kWh per hour, in one reading.
    let (rating, _, slices) = run(tariff, start, &[(hours * 60, hours * 1_000)]);
    assert_eq!(total(&rating, tariff).excl_vat.major().to_string(), excl_vat);
    slices.iter().map(|slice| slice.reason).collect()
}

#[test]
fn a_night_is_eight_hours_but_seven_and_nine_when_the_clocks_are_changed() {
    // From 18:00 for 24 hours, in one reading: 16 hours of day and 8 of night.
    costs(&night_and_day(), "2026-11-23T17:00:00Z", 24, "40");
    // Spring forward in the night to 2026-03-29: from 20:00 on, 2 of day, 7 of night, 2 of day.
    costs(&night_and_day(), "2026-03-28T19:00:00Z", 11, "15");
    // Fall back in the night to 2026-10-25: 2 of day, 9 of night, 2 of day.
    costs(&night_and_day(), "2026-10-24T18:00:00Z", 13, "17");
}

#[test]
fn the_repeated_hour_is_priced_by_the_clock_both_times_and_the_lost_one_never() {
    // The third hour of the night is cheap.
    let tariff = tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
             "restrictions": {"start_time": "02:00", "end_time": "03:00"}},
            {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}]"#,
    );
    // 00:00 to 06:00 on the clock: 7 hours in autumn with two cheap ones, 5 in spring with none.
    costs(&tariff, "2026-10-24T22:00:00Z", 7, "12");
    costs(&tariff, "2026-03-28T23:00:00Z", 5, "10");
    // A boundary inside the repeated hour is passed twice: cheap until 02:30, dear until the clocks go back, cheap again.
    let half = self::tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}], "restrictions": {"end_time": "02:30"}},
            {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}]"#,
    );
    let reasons = costs(&half, "2026-10-24T23:00:00Z", 4, "6");
    assert_eq!(reasons, [Reason::Start, Reason::TimeOfDay, Reason::ClockChange, Reason::TimeOfDay]);
}

#[test]
fn leap_days_week_days_and_dates_are_local() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
             "restrictions": {"start_date": "2028-02-29", "end_date": "2028-03-01"}},
            {"price_components": [{"type": "ENERGY", "price": 3, "step_size": 1}], "restrictions": {"day_of_week": ["WEDNESDAY"]}},
            {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}]"#,
    );
    // Monday 18:00 to Wednesday 18:00: 6 hours, the leap day (a Tuesday), 18 hours.
    let reasons = costs(&tariff, "2028-02-28T17:00:00Z", 48, "90");
    assert_eq!(reasons, [Reason::Start, Reason::Day, Reason::Day]);
}

#[test]
fn forty_days_in_one_reading_are_split_at_every_change() {
    // From 2026-03-10 on, 40 days of 24 hours with the spring change: 40 nights, one of them an hour short.
    let reasons = costs(&night_and_day(), "2026-03-10T11:00:00Z", 960, "1601");
    assert_eq!(reasons.len(), 81);
    // Hour by hour it costs the same.
    let hourly: Vec<(i64, i64)> = (1..=960).map(|hour| (hour * 60, hour * 1_000)).collect();
    let (rating, ..) = run(&night_and_day(), "2026-03-10T11:00:00Z", &hourly);
    assert_eq!(total(&rating, &night_and_day()).excl_vat.major().to_string(), "1601");
}

#[test]
fn prices_that_could_change_too_often_are_refused_not_walked_through() {
    let tariff = night_and_day();
    let rating = Rating::open(&tariff, &zone(), at("1970-01-01T00:00:00Z"), wh(0)).unwrap();
    let at = Timestamp::from_unix_ms(i64::MAX / 2);
    let reading = MeterReading { sequence: 1, at, register: wh(1), power: None, current: None };
    assert_eq!(rating.price(&tariff, &zone(), &reading), Err(RatingError::TooManySlices));
}

#[test]
fn where_a_register_is_too_coarse_the_measured_power_says_that_energy_flows() {
    let tariff = tariff(
        r#"[{"price_components": [{"type": "TIME", "price": 6, "step_size": 1},
                                  {"type": "PARKING_TIME", "price": 60, "step_size": 1}]}]"#,
    );
    let rating = Rating::open(&tariff, &zone(), at("2026-11-23T15:00:00Z"), wh(0)).unwrap();
    let reading = |power: Option<i64>| MeterReading {
        sequence: 1,
        at: at("2026-11-23T15:00:30Z"),
        register: wh(0),
        power: power.and_then(Power::from_watts),
        current: None,
    };
    let phase = |power| rating.price(&tariff, &zone(), &reading(power)).unwrap().0[0].phase;
    assert_eq!((phase(Some(90)), phase(Some(0)), phase(None)), (Phase::Charging, Phase::Parked, Phase::Parked));
}

#[test]
fn an_instant_uses_no_component() {
    // The fee waits for the first reading that tells the power; a reading at the very start tells nothing.
    let tariff = tariff(
        r#"[{"price_components": [{"type": "FLAT", "price": 1, "step_size": 1}], "restrictions": {"min_power": 1}},
            {"price_components": [{"type": "TIME", "price": 6, "step_size": 600},
                                  {"type": "PARKING_TIME", "price": 60, "step_size": 600}]}]"#,
    );
    let (rating, ..) = run(&tariff, "2026-11-23T15:00:00Z", &[(0, 0), (25, 5_000)]);
    let total = total(&rating, &tariff);
    assert_eq!(total.parking, None);
    assert_eq!(total.time.unwrap().excl_vat.major().to_string(), "3", "25 minutes are billed as 30");
    assert_eq!(total.fixed.unwrap().excl_vat.major().to_string(), "1");
}
