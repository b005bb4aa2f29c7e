//! What must hold for every tariff and every session, tried on random ones.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use wattstile::limits::STILL_MAX;
use wattstile::stored::{from_bytes, to_bytes};
use wattstile::tariff::{Clamp, Dimension, Rating, Segments, Slices, Tariff, TimeAhead};
use wattstile::units::{Cost, Current, Energy, MeterReading, Power, TimeSpan, Timestamp};

/// A tariff as text, with or without block sizes and price limits.
fn tariff_text(steps: bool, limits: bool) -> impl Strategy<Value = String> {
    let elements = prop::collection::vec(element(steps), 1..6);
    let tax = prop::sample::select(vec!["YES", "NO", "N/A"]);
    let limit = move |low: u32, high: u32| {
        prop::option::weighted(0.4, low..high).prop_map(move |cents| cents.filter(|_| limits))
    };
    (elements, tax, limit(1, 400), limit(400, 5_000)).prop_map(|(elements, tax, min, max)| {
        let limit = |name: &str, cents: Option<u32>| {
            let text = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
            cents.map_or(String::new(), |cents| {
                let (before, after) = (text(cents), text(cents + cents / 5));
                format!(r#""{name}": {{"before_taxes": {before}, "after_taxes": {after}}}, "#)
            })
        };
        let (min, max) = (limit("min_price", min), limit("max_price", max));
        let elements = elements.join(", ");
        format!(r#"{{"id": "T", "currency": "EUR", "tax_included": "{tax}", {min}{max}"elements": [{elements}]}}"#)
    })
}

fn element(steps: bool) -> impl Strategy<Value = String> {
    (prop::collection::vec(component(steps), 1..4), restrictions()).prop_map(|(components, restrictions)| {
        format!(r#"{{"price_components": [{}], "restrictions": {{{restrictions}}}}}"#, components.join(", "))
    })
}

fn component(steps: bool) -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["ENERGY", "ENERGY", "TIME", "PARKING_TIME", "FLAT"]);
    let vat = prop::option::of(prop::sample::select(vec!["0", "5.2", "10", "21", "33.3333"]));
    let step = prop::sample::select(if steps { vec![0_u32, 1, 7, 60, 500, 1_000] } else { vec![0] });
    (kind, 0_u64..3_000_000_000, vat, step).prop_map(|(kind, price, vat, step)| {
        let vat = vat.map_or(String::new(), |vat| format!(r#""vat": {vat}, "#));
        let price = format!("{}.{:09}", price / 1_000_000_000, price % 1_000_000_000);
        format!(r#"{{"type": "{kind}", "price": {price}, {vat}"step_size": {step}}}"#)
    })
}

fn restrictions() -> impl Strategy<Value = String> {
    let some = |share: f64| move |strategy: BoxedStrategy<String>| prop::option::weighted(share, strategy);
    let time = || (0_u32..24, prop::sample::select(vec![0_u32, 15, 30])).prop_map(|(h, m)| format!("{h:02}:{m:02}"));
    let start_time = time().prop_map(|time| format!(r#""start_time": "{time}""#)).boxed();
    let end_time = time().prop_map(|time| format!(r#""end_time": "{time}""#)).boxed();
    let date = |name: &'static str| (1_u32..29).prop_map(move |day| format!(r#""{name}": "2026-03-{day:02}""#)).boxed();
    let number = |name: &'static str, max: u32| (0..max).prop_map(move |n| format!(r#""{name}": {n}"#)).boxed();
    let days = prop::sample::subsequence(vec!["\"MONDAY\"", "\"SATURDAY\"", "\"SUNDAY\"", "\"FRIDAY\""], 1..4)
        .prop_map(|days| format!(r#""day_of_week": [{}]"#, days.join(", ")))
        .boxed();
    (
        (some(0.3)(start_time), some(0.3)(end_time), some(0.1)(date("start_date")), some(0.1)(date("end_date"))),
        (some(0.2)(number("min_kwh", 40)), some(0.2)(number("max_kwh", 60)), some(0.15)(days)),
        (some(0.1)(number("min_power", 60)), some(0.1)(number("max_power", 60)), some(0.1)(number("max_current", 64))),
        (some(0.2)(number("min_duration", 30_000)), some(0.2)(number("max_duration", 60_000))),
    )
        .prop_map(|(a, b, c, d)| {
            let all = [a.0, a.1, a.2, a.3, b.0, b.1, b.2, c.0, c.1, c.2, d.0, d.1];
            all.into_iter().flatten().collect::<Vec<_>>().join(", ")
        })
}

/// Stretches of constant power: length in ms and µWh per ms (one is 3.6 kW), and where the meter is read on the way.
#[derive(Clone, Debug)]
struct Interval {
    ms: i64,
    slope: i64,
    read_at: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Session {
    start: Timestamp,
    intervals: Vec<Interval>,
}

fn session(longest_ms: i64) -> impl Strategy<Value = Session> {
    // From 2026-03-27 to 2026-03-30: the clocks of Amsterdam are changed in the night to the 29th; and around a
    // leap day, and the autumn change.
    let start = prop_oneof![
        1_774_569_600_000_i64..1_774_828_800_000,
        1_709_078_400_000_i64..1_709_251_200_000,
        1_792_800_000_000_i64..1_793_059_200_000,
    ];
    let interval =
        (1..longest_ms, prop_oneof![Just(0), 1_i64..12, 12_i64..100], prop::collection::vec(0..1_000_i64, 0..5));
    // A pause that is too short to be distinguished from a coarse meter's step is a charge at less power.
    let interval = interval.prop_map(|(ms, slope, parts)| match slope {
        0 => (ms + STILL_MAX.ms() + 1, slope, parts),
        _ => (ms, slope, parts),
    });
    (start, prop::collection::vec(interval, 1..5)).prop_map(|(start, intervals)| Session {
        start: Timestamp::from_unix_ms(start),
        intervals: intervals
            .into_iter()
            .map(|(ms, slope, parts)| {
                let mut read_at: Vec<i64> = parts.into_iter().map(|part| ms * part / 1_000).collect();
                read_at.sort_unstable();
                Interval { ms, slope, read_at }
            })
            .collect(),
    })
}

impl Session {
    /// The readings, with or without those on the way.
    fn readings(&self, all: bool) -> Vec<MeterReading> {
        let (mut at, mut register) = (self.start, 1_000_000_000_000_i64);
        let mut readings = Vec::new();
        for interval in &self.intervals {
            let points = interval.read_at.iter().copied().filter(|_| all).chain([interval.ms]);
            for ms in points {
                readings.push(MeterReading {
                    sequence: 1,
                    at: at.saturating_add(TimeSpan::from_ms(ms)),
                    register: Energy::from_microwatt_hours(register + ms * interval.slope),
                    power: None,
                    current: Some(Current::from_milliamperes(interval.slope * 1_500)),
                });
            }
            at = at.saturating_add(TimeSpan::from_ms(interval.ms));
            register += interval.ms * interval.slope;
        }
        readings
    }

    fn open(&self, tariff: &Tariff) -> Rating {
        Rating::open(tariff, &zone(), self.start, Energy::from_microwatt_hours(1_000_000_000_000)).unwrap()
    }
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Amsterdam").unwrap()
}

fn parse(text: &str) -> Tariff {
    Tariff::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")).tariff
}

fn run(tariff: &Tariff, session: &Session, all: bool) -> (Rating, Segments, Vec<Slices>) {
    let mut rating = session.open(tariff);
    let mut segments = Segments::open(&rating);
    let mut journal = Vec::new();
    for reading in session.readings(all) {
        let slices = rating.price(tariff, &zone(), &reading).unwrap();
        rating.apply(&slices);
        segments.add(&slices);
        journal.push(slices);
    }
    (rating, segments, journal)
}

/// All that has a price, and what it comes to. (How fine the meter seems to be depends on where it was read.)
fn accrued(rating: &Rating, tariff: &Tariff) -> impl PartialEq + std::fmt::Debug {
    let times = [rating.charging_time(), rating.parking_time(), rating.undecided(rating.at())];
    (
        rating.at(),
        rating.energy(),
        times,
        rating.phase(),
        rating.total(tariff).unwrap(),
        rating.vat_lines(tariff).unwrap(),
    )
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// price(ticks one by one) = price(all at once), to the last digit, in every line and every segment.
    #[test]
    fn any_split_into_readings_gives_the_same_price(text in tariff_text(true, true), session in session(10 * HOUR_MS)) {
        let tariff = parse(&text);
        let (one_by_one, ticks, _) = run(&tariff, &session, true);
        let (at_once, whole, _) = run(&tariff, &session, false);
        prop_assert_eq!(one_by_one.total(&tariff).unwrap(), at_once.total(&tariff).unwrap());
        prop_assert_eq!(accrued(&one_by_one, &tariff), accrued(&at_once, &tariff));
        let volumes = |segments: &Segments| segments.as_slice().iter().map(|s| (s.component, s.volume)).collect::<Vec<_>>();
        prop_assert_eq!(volumes(&ticks), volumes(&whole));
    }

    /// A session of up to 40 days a stretch is split the same way as a short one.
    #[test]
    fn long_sessions_too(text in tariff_text(true, false), session in session(40 * DAY_MS)) {
        let tariff = parse(&text);
        let (one_by_one, ..) = run(&tariff, &session, true);
        let (at_once, ..) = run(&tariff, &session, false);
        prop_assert_eq!(accrued(&one_by_one, &tariff), accrued(&at_once, &tariff));
    }

    /// A meter of any resolution, read at any rhythm, with and without reported power: the running cost never falls,
    /// nothing stays undecided in the end, and what is ahead is never more than was foreseen.
    #[test]
    fn coarse_meters_read_at_any_rhythm(
        text in tariff_text(false, true),
        session in session(HOUR_MS),
        resolution in prop::sample::select(vec![1_i64, 1_000, 1_000_000, 10_000_000, 100_000_000]),
        snapshot_policy in 1_000..90_000_i64,
        shown in prop::collection::vec(prop::sample::select(vec![None, None, None, Some(0_i64), Some(1_400_000)]), 1..8),
    ) {
        let tariff = parse(&text);
        let all = session.readings(false);
        let mut rating = Rating::open(&tariff, &zone(), session.start, Energy::ZERO).unwrap();
        let mut segments = Segments::open(&rating);
        let mut last = rating.running(&tariff).unwrap();
        let power = Power::from_milliwatts(400_000_000);
        let (mut from, mut register, mut read_at) = (session.start, 1_000_000_000_000_i64, session.start);
        let mut count = 0_usize;
        for corner in &all {
            let (span, rise) = (corner.at.since(from).ms(), corner.register.microwatt_hours() - register);
            for part in (0..span).step_by(usize::try_from(snapshot_policy).unwrap()).skip(1).chain([span]) {
                let at = from.saturating_add(TimeSpan::from_ms(part));
                let truth = register - 1_000_000_000_000 + rise / span * part;
                let shown = shown[count % shown.len()].map(Power::from_milliwatts);
                count += 1;
                let register = Energy::from_microwatt_hours(truth / resolution * resolution);
                let reading = MeterReading { sequence: 1, at, register, power: shown, current: None };
                let ends = corner.at == at && all.last().unwrap().at == at;
                let ahead = TimeAhead { power_max: power, read_at, span: at.since(read_at) };
                let ahead = rating.cost_ahead_of_reading(&tariff, &zone(), ahead).unwrap();
                let slices = if ends {
rating.price_last(&tariff, &zone(), &reading).unwrap()
} else {
rating.price(&tariff, &zone(), &reading).unwrap()
};
                rating.apply(&slices);
                segments.add(&slices);
                let now = rating.running(&tariff).unwrap();
                prop_assert!(now.parts() >= last.parts(), "it never falls");
                // A step shows energy that flowed since the step before it.
                if resolution == 1 {
                    prop_assert!(now.parts() - last.parts() <= ahead.parts(), "it was foreseen");
                }
                (last, read_at) = (now, at);
            }
            (from, register) = (corner.at, corner.register.microwatt_hours());
        }
        prop_assert_eq!(rating.at(), all.last().unwrap().at);
        let times = rating.charging_time().ms() + rating.parking_time().ms();
        prop_assert_eq!(times, rating.at().since(session.start).ms());
    }

    /// Without block sizes the running cost never falls while the register rises, limits or not.
    #[test]
    fn the_running_cost_never_falls(text in tariff_text(false, true), session in session(10 * HOUR_MS)) {
        let tariff = parse(&text);
        let mut rating = session.open(&tariff);
        let mut last = rating.total(&tariff).unwrap();
        for reading in session.readings(true) {
            let slices = rating.price(&tariff, &zone(), &reading).unwrap();
            rating.apply(&slices);
            let total = rating.total(&tariff).unwrap();
            prop_assert!(total.excl_vat.parts() >= last.excl_vat.parts());
            prop_assert!(total.incl_vat.parts() >= last.incl_vat.parts());
            last = total;
        }
    }

    /// With block sizes it may fall where prices change, but never by more than a block of each kind.
    #[test]
    fn the_running_cost_falls_by_a_block_at_most(text in tariff_text(true, false), session in session(10 * HOUR_MS)) {
        let tariff = parse(&text);
        let dearest_block = |dimension: Dimension, unit: i128| {
            let components = tariff.components().iter().filter(|component| component.dimension == dimension);
            let block = |component: &wattstile::tariff::Component| {
                let vat = 1_000_000 + i128::from(component.vat.unwrap_or(0));
                i128::from(component.step) * i128::from(component.price_nano) * unit * vat
            };
            components.map(block).max().unwrap_or(0)
        };
        let blocks = dearest_block(Dimension::Energy, 9)
            + dearest_block(Dimension::Time, 2_500)
            + dearest_block(Dimension::ParkingTime, 2_500);
        let mut rating = session.open(&tariff);
        let mut highest = rating.total(&tariff).unwrap().incl_vat.parts();
        for reading in session.readings(true) {
            let slices = rating.price(&tariff, &zone(), &reading).unwrap();
            rating.apply(&slices);
            let now = rating.total(&tariff).unwrap().incl_vat.parts();
            prop_assert!(now >= highest - blocks);
            highest = highest.max(now);
        }
    }

    /// Lines add up to the total, segments add up to the lines, tax per rate adds up to the tax.
    #[test]
    fn everything_adds_up(text in tariff_text(true, true), session in session(10 * HOUR_MS)) {
        let tariff = parse(&text);
        let (rating, segments, _) = run(&tariff, &session, true);
        let total = rating.total(&tariff).unwrap();
        let lines = [total.fixed, total.energy, total.time, total.parking, total.reservation];
        let zero = Cost::zero(tariff.currency());
        let sum = |costs: Vec<Cost>| costs.into_iter().try_fold(zero, Cost::checked_add).unwrap();
        let excl = sum(lines.iter().flatten().map(|line| line.excl_vat).collect());
        let incl = sum(lines.iter().flatten().map(|line| line.incl_vat).collect());
        let billed = segments.billed(&rating, &tariff).unwrap();
        prop_assert_eq!(sum(billed.iter().map(|line| line.price.excl_vat).collect()), excl);
        prop_assert_eq!(sum(billed.iter().map(|line| line.price.incl_vat).collect()), incl);
        let vat = rating.vat_lines(&tariff).unwrap();
        prop_assert_eq!(sum(vat.iter().map(|line| line.excl_vat).collect()), excl);
        prop_assert_eq!(sum(vat.iter().map(|line| line.incl_vat).collect()), incl);
        if total.clamp == Clamp::None {
            prop_assert_eq!((total.excl_vat, total.incl_vat), (excl, incl));
        }
        let energy: i64 = session.intervals.iter().map(|interval| interval.ms * interval.slope).sum();
        prop_assert_eq!(rating.energy().unwrap().microwatt_hours(), energy);
    }

    /// What a session may cost more within a span is never more than was foreseen.
    #[test]
    fn no_session_outruns_its_bound(text in tariff_text(true, true), session in session(4 * HOUR_MS)) {
        let tariff = parse(&text);
        let mut rating = session.open(&tariff);
        let power = Power::from_milliwatts(session.intervals.iter().map(|s| s.slope).max().unwrap() * 3_600_000);
        for reading in session.readings(true) {
            let before = rating.total(&tariff).unwrap().incl_vat;
            let span = reading.at.since(rating.at());
            let bound = rating.cost_ahead_at_most(&tariff, &zone(), power, span).unwrap();
            let slices = rating.price(&tariff, &zone(), &reading).unwrap();
            rating.apply(&slices);
            let grown = rating.total(&tariff).unwrap().incl_vat.checked_sub(before).unwrap();
            prop_assert!(grown.parts() <= bound.parts(), "{grown} > {bound}\n{text}");
        }
    }

    /// A journal of slices brings the rating back without the tariff, and both survive storage.
    #[test]
    fn replay_never_prices_again(text in tariff_text(true, true), session in session(10 * HOUR_MS)) {
        let tariff = parse(&text);
        let (live, segments, journal) = run(&tariff, &session, true);
        let stored = to_bytes(&(session.open(&tariff), journal));
        let (mut rating, slices): (Rating, Vec<Slices>) = from_bytes(&stored).unwrap();
        let mut replayed = Segments::open(&rating);
        for slices in &slices {
            rating.apply(slices);
            replayed.add(slices);
        }
        prop_assert_eq!(&rating, &live);
        prop_assert_eq!(&replayed, &segments);
        let again: Rating = from_bytes(&to_bytes(&live)).unwrap();
        prop_assert_eq!(again, live);
    }

    /// No number makes it panic or wrap: it is a price or a typed refusal.
    #[test]
    fn no_number_breaks_it(
        text in tariff_text(true, true),
        price in prop::sample::select(vec!["0", "0.000000001", "9000000000", "-5", "1e9", "123456789.123456789"]),
        start in any::<i64>(),
        at in any::<i64>(),
        first in any::<i64>(),
        register in any::<i64>(),
    ) {
        let end = text.len() - 2;
        let text = format!(
            r#"{}, {{"price_components": [{{"type": "ENERGY", "price": {price}, "vat": 100, "step_size": 4294967295}},
               {{"type": "TIME", "price": {price}, "step_size": 4294967295}},
               {{"type": "PARKING_TIME", "price": {price}, "step_size": 1}}]}}]}}"#,
            &text[..end]
        );
        let tariff = parse(&text);
        let first = Energy::from_microwatt_hours(first);
        if let Ok(mut rating) = Rating::open(&tariff, &zone(), Timestamp::from_unix_ms(start), first) {
            let register = Energy::from_microwatt_hours(register);
            let at = Timestamp::from_unix_ms(at);
            let reading = MeterReading { sequence: 1, at, register, power: None, current: None };
            if let Ok(slices) = rating.price(&tariff, &zone(), &reading) {
                rating.apply(&slices);
                let _ = rating.total(&tariff);
                let _ = rating.cost_ahead_at_most(&tariff, &zone(), Power::from_milliwatts(i64::MAX), TimeSpan::from_ms(i64::MAX));
            }
        }
    }

    /// Damaged texts are refused or read, never more.
    #[test]
    fn no_text_breaks_the_reader(text in tariff_text(true, true), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let place = cut.index(bytes.len());
        bytes[place] = byte;
        let text = String::from_utf8_lossy(&bytes);
        let _ = Tariff::parse(&text);
        let _ = Tariff::parse(&text[..text.floor_char_boundary(place)]);
    }
}

/// A number as extreme as a file may state it.
fn extreme_number() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "0",
            "1",
            "-1",
            "0.000000001",
            "1e-12",
            "1e-28",
            "2466",
            "9223372036",
            "9223372036.854775807",
            "-9223372036",
            "9223372036854775807",
            "18000000000000",
            "79228162514264337593543950335",
            "-79228162514264337593543950335",
            "4294967295",
            "1e20",
            "1e28",
            "1e400",
            "100",
            "\"1,5\"",
            "null",
            "true",
            "[]",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        (any::<i32>(), 0_u32..1_000_000_000).prop_map(|(whole, part)| format!("{whole}.{part:09}")),
    ]
}

fn extreme_time() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "2026-03-29T00:30:00Z",
        "2026-03-29T04:30:00+02:00",
        "1970-01-01T00:00:00Z",
        "-009999-01-02T00:00:00Z",
        "9999-12-30T00:00:00Z",
        "0001-01-01T00:00:00",
        "2026-03-29",
        "soon",
    ])
    .prop_map(str::to_owned)
}

fn extreme_tariff() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["ENERGY", "TIME", "PARKING_TIME", "FLAT"]);
    let component =
        (kind, extreme_number(), extreme_number(), extreme_number()).prop_map(|(kind, price, vat, step)| {
            let vat = if vat.len() < 4 { format!("\"vat\": {vat}, ") } else { String::new() };
            format!("{{\"type\": \"{kind}\", \"price\": {price}, {vat}\"step_size\": {step}}}")
        });
    let bounds = ["min_kwh", "max_kwh", "min_duration", "max_duration", "min_power", "max_power", "max_current"];
    let bound = (prop::sample::subsequence(bounds.to_vec(), 0..3), extreme_number(), extreme_number());
    let restrictions = bound.prop_map(|(names, first, second)| {
        let fields: Vec<String> =
            names.iter().zip([first, second]).map(|(name, value)| format!("\"{name}\": {value}")).collect();
        fields.join(", ")
    });
    let element = (component, restrictions).prop_map(|(component, fields)| {
        format!("{{\"price_components\": [{component}], \"restrictions\": {{{fields}}}}}")
    });
    let limits = (
        prop::sample::subsequence(vec!["before_taxes", "after_taxes"], 1..3),
        prop::sample::select(vec!["min_price", "max_price"]),
        extreme_number(),
    );
    let currency = prop::sample::select(vec!["EUR", "IDR", "JPY", "KWD"]);
    let tax = prop::sample::select(vec!["YES", "NO", "N/A"]);
    (prop::collection::vec(element, 1..4), limits, currency, tax).prop_map(|(elements, (sides, name, value), currency, tax)| {
        let sides: Vec<String> = sides.iter().map(|side| format!("\"{side}\": {value}")).collect();
        format!(
            "{{\"id\": \"T\", \"currency\": \"{currency}\", \"tax_included\": \"{tax}\", \"{name}\": {{{}}}, \"elements\": [{}]}}",
            sides.join(", "),
            elements.join(", ")
        )
    })
}

fn extreme_cdr() -> impl Strategy<Value = String> {
    let kinds = vec!["ENERGY", "TIME", "PARKING_TIME", "RESERVATION_TIME", "MIN_POWER", "MAX_CURRENT"];
    let dimension = (prop::sample::select(kinds), extreme_number())
        .prop_map(|(kind, volume)| format!("{{\"type\": \"{kind}\", \"volume\": {volume}}}"));
    let period = (extreme_time(), prop::collection::vec(dimension, 1..4)).prop_map(|(start, dimensions)| {
        format!("{{\"start_date_time\": \"{start}\", \"dimensions\": [{}]}}", dimensions.join(", "))
    });
    let frame = (extreme_time(), extreme_time(), prop::collection::vec(period, 1..4), extreme_number());
    frame.prop_map(|(start, end, periods, total)| {
        format!(
            "{{\"start_date_time\": \"{start}\", \"end_date_time\": \"{end}\", \"currency\": \"EUR\", \"total_cost\": {total}, \
             \"total_time\": {total}, \"charging_periods\": [{}]}}",
            periods.join(", ")
        )
    })
}

fn extreme_readings() -> impl Strategy<Value = String> {
    let reading = (extreme_time(), extreme_number(), extreme_number()).prop_map(|(at, register, power)| {
        format!("{{\"at\": \"{at}\", \"register_wh\": {register}, \"power_w\": {power}}}")
    });
    (extreme_time(), extreme_time(), prop::collection::vec(reading, 1..4)).prop_map(|(start, end, readings)| {
        format!("{{\"start\": \"{start}\", \"end\": \"{end}\", \"readings\": [{}]}}", readings.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever a tariff, a CDR or a list of readings states: a price or a refusal, never the end of the process.
    #[test]
    fn extreme_files_have_a_price_or_a_refusal(
        tariff in extreme_tariff(), cdr in extreme_cdr(), readings in extreme_readings(),
    ) {
        use wattstile::tariff::{Cdr, PriceReport, Profiles, RecordedSession, check};
        let _ = check(&tariff, Profiles::default());
        let Ok(parsed) = Tariff::parse(&tariff) else { return Ok(()) };
        let tariff = parsed.tariff;
        let _ = (tariff.price_text(), tariff.explain());
        let zone = TimeZone::get("Europe/Amsterdam").unwrap();
        if let Ok(cdr) = Cdr::parse(&cdr)
            && let Ok(priced) = cdr.price(&tariff, &zone)
        {
            let _ = cdr.check(&tariff, &zone, &priced);
            if let Ok(report) = PriceReport::of_cdr(&cdr, &priced, &tariff) {
                let _ = cdr.check_totals(&report);
            }
        }
        if let Ok(session) = RecordedSession::parse_readings(&readings)
            && let Ok(priced) = session.price(&tariff, &zone)
        {
            let _ = PriceReport::of_session(&priced, &tariff);
            let _ = priced.rating.cost_ahead_at_most(&tariff, &zone, Power::from_milliwatts(i64::MAX), TimeSpan::from_ms(i64::MAX));
            let _ = tariff.cost_ahead_of_any(Power::from_milliwatts(i64::MAX), TimeSpan::from_ms(i64::MAX));
        }
    }
}
