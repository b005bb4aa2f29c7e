//! The worked totals of the OCPI 2.3.0 specification (mod_tariffs and mod_cdrs, edition 2), exact to the last digit.
//!
//! Tariffs and figures are extracts of the specification's examples; the sessions are meter readings that fit its prose.

use jiff::tz::TimeZone;
use wattstile::tariff::{Cdr, PriceReport, RecordedSession, Tariff};

/// Monday, 2026-11-23, in Berlin.
const MONDAY: &str = "2026-11-23T";
/// Saturday, 2026-11-28.
const SATURDAY: &str = "2026-11-28T";

fn component(kind: &str, price: &str, vat: &str, step: u32) -> String {
    let vat = if vat.is_empty() { String::new() } else { format!(r#", "vat": {vat}"#) };
    format!(r#"{{"type": "{kind}", "price": {price}{vat}, "step_size": {step}}}"#)
}

fn element(components: &[String], restrictions: &str) -> String {
    let components = components.join(", ");
    match restrictions {
        "" => format!(r#"{{"price_components": [{components}]}}"#),
        _ => format!(r#"{{"price_components": [{components}], "restrictions": {{{restrictions}}}}}"#),
    }
}

fn tariff(fields: &str, elements: &[String]) -> Tariff {
    let currency = if fields.contains("currency") { "" } else { r#""currency": "EUR", "# };
    let comma = if fields.is_empty() { "" } else { ", " };
    let text = format!(r#"{{"id": "14", {currency}{fields}{comma}"elements": [{}]}}"#, elements.join(", "));
    Tariff::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).tariff
}

/// A session: its beginning in Berlin, its end in seconds, and (second, Wh, A) as the meter showed.
struct Session {
    day: &'static str,
    time: &'static str,
    seconds: i64,
    readings: Vec<(i64, i64, Option<i64>)>,
    reservation: String,
}

fn session(day: &'static str, time: &'static str, minutes: i64, readings: &[(i64, i64)]) -> Session {
    let readings = readings.iter().map(|(minute, wh)| (minute * 60, *wh, None)).collect();
    Session { day, time, seconds: minutes * 60, readings, reservation: String::new() }
}

impl Session {
    fn at(&self, second: i64) -> String {
        let start: jiff::Timestamp = format!("{}{}:00+01:00", self.day, self.time).parse().unwrap();
        (start + jiff::SignedDuration::from_secs(second)).to_string()
    }

    fn amperes(mut self, amperes: i64) -> Session {
        for reading in &mut self.readings {
            reading.2 = Some(amperes);
        }
        self
    }

    fn reserved(mut self, minutes: i64, expired: bool) -> Session {
        let (from, to) = (self.at(-minutes * 60), self.at(0));
        self.reservation = format!(r#", "reservation": {{"from": "{from}", "to": "{to}", "expired": {expired}}}"#);
        self
    }

    fn price(&self, tariff: &Tariff) -> PriceReport {
        let mut readings = vec![format!(r#"{{"at": "{}", "register_wh": 7000000}}"#, self.at(0))];
        for (second, wh, amperes) in &self.readings {
            let current = amperes.map_or(String::new(), |amperes| format!(r#", "current_a": {amperes}"#));
            let register = 7_000_000 + wh;
            readings.push(format!(r#"{{"at": "{}", "register_wh": {register}{current}}}"#, self.at(*second)));
        }
        let text = format!(
            r#"{{"timezone": "Europe/Berlin", "start": "{}", "end": "{}", "readings": [{}]{}}}"#,
            self.at(0),
            self.at(self.seconds),
            readings.join(", "),
            self.reservation
        );
        let session = RecordedSession::parse_readings(&text).unwrap();
        let priced = session.price(tariff, &TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        PriceReport::of_session(&priced, tariff).unwrap()
    }
}

#[track_caller]
fn costs(report: &PriceReport, excl_vat: &str, incl_vat: &str) {
    let total = report.total_cost.as_ref().expect("something is priced");
    assert_eq!((total.excl_vat.as_str(), total.incl_vat.as_str()), (excl_vat, incl_vat), "{:#?}", report.segments);
}

fn energy_and_start() -> [String; 2] {
    [component("FLAT", "0.50", "20.0", 1), component("ENERGY", "0.25", "10.0", 1)]
}

#[test]
fn energy_start_fee_and_limits() {
    let twenty = session(MONDAY, "10:00", 60, &[(60, 20_000)]);
    let energy = component("ENERGY", "0.25", "10.0", 1);
    costs(&twenty.price(&tariff("", &[element(std::slice::from_ref(&energy), "")])), "5", "5.5");
    costs(&twenty.price(&tariff("", &[element(&energy_and_start(), "")])), "5.5", "6.1");

    let minimum = r#""min_price": {"before_taxes": 0.50, "after_taxes": 0.55}"#;
    let with_minimum = tariff(minimum, &[element(&[energy], "")]);
    costs(&twenty.price(&with_minimum), "5", "5.5");
    costs(&session(MONDAY, "10:00", 9, &[(9, 1_200)]).price(&with_minimum), "0.5", "0.55");

    let maximum = r#""max_price": {"before_taxes": 10.00, "after_taxes": 11.00}"#;
    let with_maximum = tariff(maximum, &[element(&energy_and_start(), "")]);
    costs(&session(MONDAY, "10:00", 60, &[(60, 50_000)]).price(&with_maximum), "10", "11");
    costs(&session(MONDAY, "10:00", 60, &[(60, 30_000)]).price(&with_maximum), "8", "8.85");
}

#[test]
fn parking_is_billed_in_blocks() {
    let [start, energy] = energy_and_start();
    let parking = tariff("", &[element(&[start, energy, component("PARKING_TIME", "2.00", "20.0", 900)], "")]);
    let report = session(MONDAY, "10:00", 100, &[(60, 20_000)]).price(&parking);
    costs(&report, "7", "7.9");
    let line = report.segments.iter().find(|line| line.dimension == "PARKING_TIME").unwrap();
    assert_eq!((line.volume.as_str(), line.billed_volume.as_str()), ("0.666666666667", "0.75"));

    let hourly = [component("TIME", "3.00", "10.0", 60), component("PARKING_TIME", "5.00", "20.0", 300)];
    let report = session(MONDAY, "10:00", 192, &[(150, 20_000)]).price(&tariff("", &[element(&hourly, "")]));
    costs(&report, "11.25", "12.75");
}

#[test]
fn time_with_tax_on_top_and_tax_inside() {
    let long = session(MONDAY, "10:00", 150, &[(150, 20_000)]);
    let time = |price: &str, vat: &str, step: u32| element(&[component("TIME", price, vat, step)], "");
    costs(&long.price(&tariff("", &[time("2.00", "10.0", 60)])), "5", "5.5");
    costs(&long.price(&tariff(r#""currency": "CAD", "tax_included": "NO""#, &[time("2.00", "", 1)])), "5", "5");
    costs(&long.price(&tariff(r#""currency": "CAD", "tax_included": "YES""#, &[time("2.10", "", 1)])), "5.25", "5.25");
    // The specification rounds 4.997 to 5.00.
    costs(&long.price(&tariff("", &[time("1.90", "5.2", 300)])), "4.75", "4.997");
    assert_eq!(long.price(&tariff("", &[time("1.90", "5.2", 300)])).payable.as_deref(), Some("5.00"));
    // A price that contains 20 % of tax.
    costs(&long.price(&tariff(r#""tax_included": "YES""#, &[time("2.40", "20", 60)])), "5", "6");
}

#[test]
fn energy_in_blocks_of_a_tenth() {
    let [start, _] = energy_and_start();
    let tariff = tariff("", &[element(&[start, component("ENERGY", "0.25", "10.0", 100)], "")]);
    // The prose has 5.63 and 6.24, rounded per line; exact it is 0.5 + 20.5 × 0.25 and so on.
    costs(&session(MONDAY, "10:00", 60, &[(60, 20_450)]).price(&tariff), "5.625", "6.2375");
}

/// The specification prints 114 minutes at 1.25 per hour as 2.28, which is 1.20 per hour; OCPI 2.2 had the right 2.375.
/// Both readings are checked: the tariff as it is written, and the printed total at the price that it was made with.
#[test]
fn the_complex_tariff() {
    let time = |price: &str, step: u32| [component("TIME", price, "20.0", step)];
    let parking = |price: &str| [component("PARKING_TIME", price, "10.0", 300)];
    let workdays = r#""day_of_week": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]"#;
    let tariff = |weekend: &str| {
        let elements = [
            element(&[component("FLAT", "2.50", "15.0", 1)], ""),
            element(&time("1.00", 900), r#""max_current": 32.00"#),
            element(&time("2.00", 600), &format!(r#""min_current": 32.00, {workdays}"#)),
            element(&time(weekend, 600), r#""min_current": 32.00, "day_of_week": ["SATURDAY", "SUNDAY"]"#),
            element(&parking("5.00"), &format!(r#""start_time": "09:00", "end_time": "18:00", {workdays}"#)),
            element(&parking("6.00"), r#""start_time": "10:00", "end_time": "17:00", "day_of_week": ["SATURDAY"]"#),
        ];
        tariff("", &elements)
    };
    let monday = session(MONDAY, "09:30", 207, &[(165, 20_000)]).amperes(16);
    costs(&monday.price(&tariff("1.25")), "9", "10.3");
    let saturday = session(SATURDAY, "13:30", 185, &[(114, 40_000)]).amperes(43);
    costs(&saturday.price(&tariff("1.25")), "12.375", "13.975");
    costs(&saturday.price(&tariff("1.20")), "12.28", "13.861");
}

#[test]
fn reservations_that_are_used_and_that_expire() {
    let usual = element(&energy_and_start(), "");
    let reserve = |components: &[String]| element(components, r#""reservation": "RESERVATION""#);
    let expires = |components: &[String]| element(components, r#""reservation": "RESERVATION_EXPIRES""#);
    let time = |price: &str, step: u32| component("TIME", price, "20.0", step);
    let came = |minutes: i64| session(MONDAY, "10:00", 60, &[(60, 20_000)]).reserved(minutes, false);
    let stayed_away = |minutes: i64| session(MONDAY, "10:00", 0, &[]).reserved(minutes, true);

    let by_the_hour = tariff("", &[reserve(&[time("5.00", 60)]), usual.clone()]);
    let report = came(15).price(&by_the_hour);
    costs(&report, "6.75", "7.6");
    assert_eq!(report.total_reservation_cost.unwrap().excl_vat, "1.25");

    let with_fee = tariff("", &[reserve(&[component("FLAT", "2.00", "20.0", 1), time("5.00", 300)]), usual.clone()]);
    costs(&came(13).price(&with_fee), "8.75", "10");

    let fee_if_expired =
        tariff("", &[expires(&[component("FLAT", "4.00", "20.0", 1)]), reserve(&[time("2.00", 600)]), usual.clone()]);
    costs(&came(22).price(&fee_if_expired), "6.5", "7.3");
    costs(&stayed_away(60).price(&fee_if_expired), "6", "7.2");

    let time_if_expired = tariff("", &[expires(&[time("6.00", 600)]), reserve(&[time("3.00", 600)]), usual]);
    costs(&came(22).price(&time_if_expired), "7", "7.9");
    costs(&stayed_away(90).price(&time_if_expired), "9", "10.8");
}

fn step_size_tariff() -> Tariff {
    let both =
        |price: &str, step: u32| [component("TIME", price, "", step), component("PARKING_TIME", "1.00", "", 900)];
    tariff(
        "",
        &[
            element(&both("1.20", 1_800), r#""start_time": "00:00", "end_time": "17:00""#),
            element(&both("2.40", 900), r#""start_time": "17:00", "end_time": "20:00""#),
            element(&[component("TIME", "2.40", "", 900)], r#""start_time": "20:00", "end_time": "00:00""#),
        ],
    )
}

#[test]
fn step_size_counts_once_and_at_the_last_component() {
    let tariff = step_size_tariff();
    costs(&session(MONDAY, "16:55", 12, &[(10, 1_000)]).price(&tariff), "0.55", "0.55");
    costs(&session(MONDAY, "16:35", 35, &[(35, 1_000)]).price(&tariff), "1.3", "1.3");
    costs(&session(MONDAY, "19:40", 32, &[(12, 1_000)]).price(&tariff), "0.73", "0.73");
}

#[test]
fn step_size_is_of_the_total_of_the_session() {
    // mod_cdrs, step_size: 4.3 + 1.1 kWh in blocks of 500 Wh; 6 + 22 minutes in blocks of 10; 21 + 16 with parking.
    let two = |kind: &str, before: &str, after: &str, step: u32| {
        let before = element(&[component(kind, before, "", step)], r#""end_time": "17:00""#);
        tariff("", &[before, element(&[component(kind, after, "", step)], "")])
    };
    // 10 minutes to 17:00 with 4.3 kWh, then 1.1 kWh: 4.3 × 0.20 + 1.2 × 0.27.
    let energy = session(MONDAY, "16:50", 20, &[(10, 4_300), (20, 5_400)]);
    costs(&energy.price(&two("ENERGY", "0.20", "0.27", 500)), "1.184", "1.184");
    // 6 minutes at 5 and 24 at 7.
    let time = session(MONDAY, "16:54", 28, &[(28, 5_000)]);
    costs(&time.price(&two("TIME", "5", "7", 600)), "3.3", "3.3");
    // 21 minutes at 1 and 20 at 2: 0.35 + 0.666666…
    let both = [component("TIME", "1.00", "", 600), component("PARKING_TIME", "2.00", "", 600)];
    let parked = session(MONDAY, "10:00", 37, &[(21, 5_000)]);
    costs(&parked.price(&tariff("", &[element(&both, "")])), "1.016666666667", "1.016666666667");
}

#[test]
fn small_energies_in_blocks() {
    let blocks = |step: u32| tariff("", &[element(&[component("ENERGY", "0.25", "", step)], "")]);
    let cdr = |tariff: &Tariff| {
        let cdr = Cdr::parse(
            r#"{"start_date_time": "2026-11-23T10:00:00Z", "end_date_time": "2026-11-23T11:00:00Z", "charging_periods":
                [{"start_date_time": "2026-11-23T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 0.1152}]}]}"#,
        )
        .unwrap();
        PriceReport::of_cdr(&cdr, &cdr.price(tariff, &TimeZone::UTC).unwrap(), tariff).unwrap()
    };
    costs(&cdr(&blocks(1)), "0.029", "0.029");
    // The specification rounds 0.03125 to 0.031.
    costs(&cdr(&blocks(25)), "0.03125", "0.03125");
    costs(&cdr(&blocks(500)), "0.125", "0.125");
}

#[test]
fn power_and_duration_choose_the_element() {
    let energy = |price: &str, restrictions: &str| element(&[component("ENERGY", price, "20.0", 1)], restrictions);
    let power = tariff(
        "",
        &[energy("0.20", r#""max_power": 16.00"#), energy("0.35", r#""max_power": 32.00"#), energy("0.50", "")],
    );
    // 1 kWh at 6 kW, 40 kWh at 48 kW, 0.5 kWh at 4 kW.
    let mut taper = session(MONDAY, "10:00", 60, &[(10, 1_000), (60, 41_000)]);
    taper.seconds += 450;
    taper.readings.push((taper.seconds, 41_500, None));
    let report = taper.price(&power);
    costs(&report, "20.3", "24.36");
    let reasons: Vec<&str> = report.segments.iter().map(|line| line.reason).collect();
    assert_eq!(reasons, ["start", "power", "power"]);
    let exact = Cdr::parse(
        r#"{"start_date_time": "2026-11-23T10:00:00Z", "end_date_time": "2026-11-23T11:07:30Z", "charging_periods": [
            {"start_date_time": "2026-11-23T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 1}]},
            {"start_date_time": "2026-11-23T10:10:00Z", "dimensions": [{"type": "ENERGY", "volume": 40},
                {"type": "MIN_POWER", "volume": 48}, {"type": "MAX_POWER", "volume": 48}]},
            {"start_date_time": "2026-11-23T11:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 0.5}]}]}"#,
    )
    .unwrap();
    let priced = exact.price(&power, &TimeZone::UTC).unwrap();
    costs(&PriceReport::of_cdr(&exact, &priced, &power).unwrap(), "20.3", "24.36");

    let duration = tariff(
        "",
        &[energy("0.00", r#""max_duration": 1800"#), energy("0.25", r#""max_duration": 3600"#), energy("0.40", "")],
    );
    costs(&session(MONDAY, "10:00", 40, &[(30, 5_000), (40, 6_200)]).price(&duration), "0.3", "0.36");
}

#[test]
fn a_free_tariff_costs_nothing_but_is_a_price() {
    let free = tariff("", &[element(&[component("FLAT", "0.00", "", 0)], "")]);
    let report = session(MONDAY, "10:00", 60, &[(60, 20_000)]).price(&free);
    costs(&report, "0", "0");
    assert!(report.warnings.is_empty());
}
