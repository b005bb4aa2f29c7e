use super::*;

fn codes_of(fields: &str, elements: &str, profiles: Profiles) -> Vec<(&'static str, String)> {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}, ") };
    let text = format!(
        r#"{{"country_code": "NL", "party_id": "TDR", "id": "T", "currency": "EUR", "last_updated": "2026-01-01T00:00:00Z",
            {fields}"elements": {elements}}}"#
    );
    let parsed = Tariff::parse(&text).unwrap();
    lint(&parsed, profiles).into_iter().map(|finding| (finding.code, finding.path)).collect()
}

fn codes(elements: &str) -> Vec<(&'static str, String)> {
    codes_of("", elements, Profiles::default())
}

fn element(kind: &str, price: &str, restrictions: &str) -> String {
    format!(
        r#"{{"price_components": [{{"type": "{kind}", "price": {price}, "step_size": 1}}], "restrictions": {{{restrictions}}}}}"#
    )
}

#[test]
fn a_sound_tariff_has_no_findings() {
    let night = element("ENERGY", "0.2", r#""start_time": "22:00", "end_time": "06:00""#);
    let day = element("ENERGY", "0.3", r#""start_time": "06:00", "end_time": "22:00""#);
    // The two windows leave no gap, though neither is a fallback.
    assert_eq!(codes(&format!("[{night}, {day}]")), []);
}

#[test]
fn a_tariff_without_a_price_of_energy_is_noticed() {
    let free = ("energy_free", "$".to_owned());
    let reserved = element("ENERGY", "1", r#""reservation": "RESERVATION""#);
    for elements in [element("TIME", "6", ""), element("FLAT", "1", ""), reserved] {
        assert!(codes(&format!("[{elements}]")).contains(&free), "{elements}");
    }
    for elements in [element("ENERGY", "0", ""), element("ENERGY", "0.3", r#""min_kwh": 1"#)] {
        assert!(!codes(&format!("[{elements}]")).contains(&free), "{elements}");
    }
}

#[test]
fn the_wrong_order_hides_an_element() {
    let always = element("ENERGY", "0.3", "");
    let night = element("ENERGY", "0.2", r#""start_time": "22:00", "end_time": "06:00""#);
    let found = codes(&format!("[{always}, {night}]"));
    assert_eq!(found, [("shadowed", "$.elements[1].price_components[0]".to_owned())]);
}

#[test]
fn gaps_overlaps_and_impossible_elements_are_found() {
    let early = element("ENERGY", "0.2", r#""end_time": "12:00""#);
    let noon = element("ENERGY", "0.3", r#""start_time": "11:00", "end_time": "18:00""#);
    let never = element("TIME", "1", r#""max_kwh": 0"#);
    let found = codes(&format!("[{early}, {noon}, {never}]"));
    let names: std::collections::BTreeSet<&str> = found.iter().map(|(code, _)| *code).collect();
    assert_eq!(names, ["gap", "never_applies", "overlap"].into());
    assert!(found.contains(&("never_applies", "$.elements[2]".to_owned())));
    assert!(found.contains(&("gap", "$.elements[1].price_components[0]".to_owned())));
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let windows = element("ENERGY", "-0.2", r#""start_time": "08:00", "end_time": "08:00""#);
    let reserved = element("ENERGY", "1", r#""reservation": "RESERVATION""#);
    let limits = r#""min_price": {"before_taxes": 9, "after_taxes": 8}, "max_price": {"before_taxes": 5}"#;
    let found = codes_of(limits, &format!("[{windows}, {reserved}]"), Profiles::default());
    for code in ["whole_day", "negative_price", "reservation_dimension", "limits_cross", "limit_tax", "limit_one_sided"]
    {
        assert!(found.iter().any(|(found, _)| *found == code), "{code} in {found:?}");
    }
}

#[test]
fn afir_wants_kilowatt_hours_from_fifty_kilowatts_on() {
    let kw = |kw: i64| Profiles { afir: Power::from_watts(kw * 1_000) };
    let time = element("TIME", "3", "");
    let fee = element("FLAT", "0.5", "");
    let energy = element("ENERGY", "0.5", "");
    let parking = element("PARKING_TIME", "6", "");
    let codes = |elements: String, profile| -> Vec<&'static str> {
        codes_of("", &elements, profile).into_iter().map(|(code, _)| code).collect()
    };
    assert_eq!(codes(format!("[{time}]"), kw(50)), ["afir_not_per_kwh", "energy_free", "afir_time_price"]);
    assert_eq!(codes(format!("[{energy}, {fee}]"), kw(150)), ["afir_session_fee"]);
    assert_eq!(codes(format!("[{energy}, {parking}]"), kw(150)), [] as [&str; 0]);
    assert_eq!(codes(format!("[{fee}, {energy}]"), kw(22)), ["afir_order"]);
}

#[test]
fn a_tariff_of_an_hour_by_hour_price_list_is_searched() {
    let hours: Vec<String> = (0..24)
        .map(|hour| {
            let end = (hour + 1) % 24;
            element("ENERGY", &format!("0.{}", 20 + hour), &format!(r#""start_time": "{hour:02}:00", "end_time": "{end:02}:00", "start_date": "2026-01-01", "end_date": "2026-01-02""#))
        })
        .collect();
    let found = codes(&format!("[{}]", hours.join(", ")));
    assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["gap"], "the days before and after");
}

/// After public reports: 32,000 W as min_power, and a step_size of 10⁶ Wh that bills 300.00 for one Wh.
#[test]
fn figures_in_another_unit_are_told() {
    let energy = |restriction: &str| {
        codes(&format!("[{}, {}]", element("ENERGY", "0.5", restriction), element("ENERGY", "0.25", "")))
    };
    for restriction in [
        r#""min_power": 32000.0"#,
        r#""min_power": 11000"#,
        r#""min_kwh": 5000"#,
        r#""max_kwh": 20000"#,
        r#""min_current": 16000"#,
        r#""max_current": 7.4"#,
        r#""min_duration": 30"#,
        r#""min_duration": 14400000"#,
    ] {
        assert!(energy(restriction).contains(&("unit", "$.elements[0]".to_owned())), "{restriction}");
    }
    for restriction in [r#""min_power": 150"#, r#""min_kwh": 60"#, r#""min_duration": 14400"#] {
        assert!(!energy(restriction).iter().any(|(code, _)| *code == "unit"), "{restriction}");
    }
    for restriction in [r#""min_current": 32"#, r#""max_current": 500"#] {
        assert!(!energy(restriction).iter().any(|(code, _)| *code == "unit"), "{restriction}");
    }
    let one = |kind: &str, price: &str| codes(&format!("[{}]", element(kind, price, "")));
    for (kind, price) in
        [("ENERGY", "0.00045"), ("ENERGY", "45"), ("TIME", "0.10"), ("PARKING_TIME", "0.2"), ("TIME", "600")]
    {
        assert!(one(kind, price).iter().any(|(code, _)| *code == "unit"), "{kind} {price}");
    }
    for (kind, price) in
        [("ENERGY", "0.45"), ("TIME", "1.20"), ("PARKING_TIME", "60"), ("FLAT", "0.1"), ("ENERGY", "0")]
    {
        assert!(!one(kind, price).iter().any(|(code, _)| *code == "unit"), "{kind} {price}");
    }
    let vat = element("ENERGY", "0.5", "").replace("\"step_size\"", "\"vat\": 0.21, \"step_size\"");
    assert!(codes(&format!("[{vat}]")).iter().any(|(code, _)| *code == "vat_fraction"));
}

#[test]
fn absurd_blocks_and_windows_that_never_open_are_warnings() {
    let text = |step: u32, restriction: &str| {
        let component = format!(r#"{{"type": "ENERGY", "price": 0.3, "step_size": {step}}}"#);
        format!(
            r#"{{"id": "T", "currency": "EUR", "elements": [{{"price_components": [{component}], "restrictions": {{{restriction}}}}}]}}"#
        )
    };
    let found = |text: &str| -> Vec<(&'static str, Severity, String)> {
        let parsed = Tariff::parse(text).unwrap();
        lint(&parsed, Profiles::default())
            .into_iter()
            .map(|finding| (finding.code, finding.severity, finding.message))
            .collect()
    };
    let huge = found(&text(1_000_000, ""));
    assert!(
        huge.iter().any(|(code, severity, message)| *code == "large_step_size"
            && *severity == Severity::Warning
            && message.ends_with("billed is EUR 300")),
        "{huge:?}"
    );
    assert!(
        found(&text(1_000, ""))
            .iter()
            .any(|(code, severity, _)| *code == "large_step_size" && *severity == Severity::Note)
    );
    // 2026-01-01 is a Thursday.
    let never = text(1, r#""start_date": "2026-01-01", "end_date": "2026-01-02", "day_of_week": ["MONDAY"]"#);
    assert!(found(&never).iter().any(|(code, severity, _)| *code == "never_applies" && *severity == Severity::Warning));
    let outside = text(1, r#""end_date": "2026-01-02""#)
        .replace("\"currency\"", "\"start_date_time\": \"2026-03-01T00:00:00Z\", \"currency\"");
    assert!(found(&outside).iter().any(|(code, _, _)| *code == "never_applies"));
}
