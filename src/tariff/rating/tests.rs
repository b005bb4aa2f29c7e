use super::*;
use crate::tariff::{Segments, TimeAhead, Total};
use crate::units::Cost;

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
    // The fee waits for the first reading that has a power; a reading at the very start has none.
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

/// Time at 6.00 an hour, parking at 60.00.
fn timed() -> Tariff {
    tariff(
        r#"[{"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1},
                                  {"type": "TIME", "price": 6, "step_size": 1},
                                  {"type": "PARKING_TIME", "price": 60, "step_size": 1}]}]"#,
    )
}

/// A session of a meter with this resolution (µWh), read every second without power; `energy` returns the true
/// register (µWh) at a second. The running cost never falls on the way.
fn coarse(tariff: &Tariff, resolution: i64, seconds: i64, energy: impl Fn(i64) -> i64) -> (Rating, Segments) {
    let (zone, start) = (zone(), at("2026-11-23T15:00:00Z"));
    let mut rating = Rating::open(tariff, &zone, start, wh(0)).unwrap();
    let mut segments = Segments::open(&rating);
    let mut running = rating.running(tariff).unwrap();
    for second in 1..=seconds {
        let reading = MeterReading {
            sequence: u32::try_from(second).unwrap(),
            at: start.saturating_add(TimeSpan::from_secs(second)),
            register: Energy::from_microwatt_hours(energy(second) / resolution * resolution),
            power: None,
            current: None,
        };
        let slices = if second == seconds {
            rating.price_last(tariff, &zone, &reading)
        } else {
            rating.price(tariff, &zone, &reading)
        };
        let slices = slices.unwrap();
        rating.apply(&slices);
        segments.add(&slices);
        let now = rating.running(tariff).unwrap();
        assert!(now.parts() >= running.parts(), "it never falls");
        running = now;
    }
    assert_eq!(rating.charging_time().ms() + rating.parking_time().ms(), seconds * 1_000, "all time is decided");
    (rating, segments)
}

#[test]
fn a_steady_charge_is_no_parking_on_a_meter_of_whole_watt_hours() {
    // 1.38 kW for an hour: a watt hour each 2.6 s.
    let (rating, segments) = coarse(&timed(), 1_000_000, 3_600, |second| second * 383_333);
    assert!(rating.parking_time() <= TimeSpan::from_secs(2), "before the first step: {:?}", rating.parking_time());
    assert!(segments.as_slice().len() <= 3, "{:?}", segments.as_slice());
}

#[test]
fn a_steady_charge_is_no_parking_on_a_meter_of_a_tenth_of_a_kilowatt_hour() {
    // 100 Wh take 261 s. Before the first step nothing shows that energy flows.
    let (rating, segments) = coarse(&timed(), 100_000_000, 7_200, |second| second * 383_333);
    assert!(rating.parking_time() <= TimeSpan::from_secs(261), "{:?}", rating.parking_time());
    assert!(segments.as_slice().len() <= 3, "{:?}", segments.as_slice());
}

#[test]
fn a_car_that_stops_is_parked_from_its_last_step_on() {
    // An hour at 3.6 kW, then half an hour of nothing.
    let (rating, segments) = coarse(&timed(), 1_000_000, 5_400, |second| second.min(3_600) * 1_000_000);
    assert_eq!(rating.charging_time(), TimeSpan::from_secs(3_600));
    assert_eq!(rating.parking_time(), TimeSpan::from_secs(1_800));
    assert_eq!(segments.as_slice().len(), 3);
}

#[test]
fn readings_that_decide_nothing_change_nothing() {
    let tariff = timed();
    let (zone, start) = (zone(), at("2026-11-23T15:00:00Z"));
    let reading = |second: i64, register: i64| MeterReading {
        sequence: 1,
        at: start.saturating_add(TimeSpan::from_secs(second)),
        register: wh(register),
        power: None,
        current: None,
    };
    let priced = |readings: &[MeterReading]| {
        let mut rating = Rating::open(&tariff, &zone, start, wh(0)).unwrap();
        for reading in readings {
            rating.apply(&rating.price(&tariff, &zone, reading).unwrap());
        }
        rating
    };
    let few = [reading(30, 10), reading(60, 20), reading(90, 21)];
    let mut many = few.to_vec();
    many.splice(2..2, (61..90).map(|second| reading(second, 20)));
    many.splice(1..1, (31..45).map(|second| reading(second, 10)));
    assert_eq!(priced(&many), priced(&few));
}

#[test]
fn an_undecided_stretch_is_decided_by_power_or_by_the_end() {
    let tariff = timed();
    let (zone, start) = (zone(), at("2026-11-23T15:00:00Z"));
    let reading = |second: i64, register: i64, power: Option<i64>| MeterReading {
        sequence: 1,
        at: start.saturating_add(TimeSpan::from_secs(second)),
        register: wh(register),
        power: power.and_then(Power::from_watts),
        current: None,
    };
    let mut rating = Rating::open(&tariff, &zone, start, wh(0)).unwrap();
    rating.apply(&rating.price(&tariff, &zone, &reading(60, 100, None)).unwrap());
    let still = reading(90, 100, None);
    assert_eq!(rating.price(&tariff, &zone, &still), Ok(Slices::default()));
    assert_eq!(rating.undecided(still.at), TimeSpan::from_secs(30));
    let phase =
        |slices: Result<Slices, RatingError>| slices.unwrap().0.iter().map(|slice| slice.phase).collect::<Vec<_>>();
    assert_eq!(phase(rating.price(&tariff, &zone, &reading(90, 100, Some(0)))), [Phase::Parked]);
    assert_eq!(phase(rating.price(&tariff, &zone, &reading(90, 100, Some(5)))), [Phase::Charging]);
    assert_eq!(phase(rating.price_last(&tariff, &zone, &still)), [Phase::Charging]);
    assert_eq!(phase(rating.price_rest(&tariff, &zone, still.at)), [Phase::Charging]);
    let long_after = reading(60 + 301, 100, None);
    assert_eq!(phase(rating.price(&tariff, &zone, &long_after)), [Phase::Parked]);
    assert_eq!(phase(rating.price_last(&tariff, &zone, &long_after)), [Phase::Parked]);
    // What it may cost ahead counts the undecided time, at the dearer price.
    let power = Power::from_watts(11_000).unwrap();
    let ahead = |read_at| {
        let ahead = TimeAhead { power_max: power, read_at, span: TimeSpan::from_secs(60) };
        rating.cost_ahead_of_reading(&tariff, &zone, ahead).unwrap().parts()
    };
    let half_a_minute_parked = Cost::from_major("0.5".parse().unwrap(), tariff.currency()).unwrap();
    assert_eq!(ahead(still.at) - ahead(rating.at()), half_a_minute_parked.parts());
}

/// A week at a reading a second. Returns what the worst course leaves behind.
fn a_week(tariff: &Tariff, step: impl Fn(i64) -> (i64, Option<i64>)) -> (Rating, Segments, usize) {
    let (zone, start) = (zone(), at("2026-11-23T15:00:00Z"));
    let mut rating = Rating::open(tariff, &zone, start, wh(0)).unwrap();
    let mut segments = Segments::open(&rating);
    let (mut register, mut most) = (0_i64, 0);
    for second in 1..=604_800 {
        let (rise, power) = step(second);
        register += rise;
        let reading = MeterReading {
            sequence: 1,
            at: start.saturating_add(TimeSpan::from_secs(second)),
            register: Energy::from_microwatt_hours(register),
            power: power.map(Power::from_milliwatts),
            current: None,
        };
        let slices = rating.price(tariff, &zone, &reading).unwrap();
        rating.apply(&slices);
        segments.add(&slices);
        most = most.max(segments.as_slice().len());
    }
    (rating, segments, most)
}

#[test]
fn a_week_of_readings_leaves_a_short_trail() {
    let tariff = timed();
    let (rating, segments, most) = a_week(&tariff, |second| (second % 2, None));
    assert_eq!(rating.energy().unwrap().microwatt_hours(), 302_400);
    assert!(most <= 4, "it charges all the time: {:?}", segments.as_slice());
}

#[test]
fn a_trail_of_any_course_is_bounded_and_adds_up() {
    let tariff = timed();
    // Power alternates each second, so that every second is another phase.
    let (rating, segments, most) = a_week(&tariff, |second| (0, Some(second % 2)));
    assert!(most <= crate::limits::SEGMENTS_MAX, "{most}");
    assert!(segments.as_slice().iter().any(|segment| segment.reason == Reason::Summed));
    let lines = segments.billed(&rating, &tariff).unwrap();
    let total = rating.total(&tariff).unwrap();
    let sum = lines.iter().fold(0, |sum, line| sum + line.price.incl_vat.parts());
    assert_eq!(sum, total.incl_vat.parts(), "to the last digit");
    assert_eq!(total.incl_vat.major().to_string(), "5544", "84 hours of each");
    let newest: Vec<_> = segments.as_slice().iter().rev().take(3).map(|segment| segment.reason).collect();
    assert_ne!(newest[0], Reason::Summed, "the newest lines are as they were");
}

#[test]
fn a_tariff_of_many_prices_has_a_line_for_each_at_most() {
    let element = |minute: i64| {
        format!(
            r#"{{"price_components": [{{"type": "TIME", "price": {}, "step_size": 1}}],
                "restrictions": {{"min_duration": {}, "max_duration": {}}}}}"#,
            minute % 7,
            minute * 60,
            minute * 60 + 60
        )
    };
    let elements: Vec<String> = (0..1_000).map(element).collect();
    let tariff = self::tariff(&format!("[{}]", elements.join(",")));
    let (rating, segments, slices) = run(&tariff, "2026-11-23T15:00:00Z", &[(500, 5_000), (1_000, 10_000)]);
    assert_eq!(slices.len(), 1_000);
    assert_eq!(segments.as_slice().len(), 1_000);
    let total = rating.total(&tariff).unwrap();
    let lines = segments.billed(&rating, &tariff).unwrap();
    assert_eq!(lines.iter().fold(0, |sum, line| sum + line.price.incl_vat.parts()), total.incl_vat.parts());
}
