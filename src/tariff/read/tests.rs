use super::*;

fn parse(text: &str) -> Result<Parsed, TariffError> {
    Tariff::parse(text)
}

fn codes(parsed: &Parsed) -> Vec<(&str, &str)> {
    parsed.warnings.iter().map(|finding| (finding.code, finding.path.as_str())).collect()
}

#[test]
fn spelling_is_forgiven_with_a_finding_at_its_place() {
    let parsed = parse(
        r#"{ // a comment
  "country_code": "nl", "party_id": "TDR", "id": "T 1", "currency": "eur", "last_updated": "2020-01-01T00:00:00",
  "elements": [{"price_components": [{"type": "energy", "price": "0.5", "step_size": 1},
                                     {"type": "SESSION_TIME", "price": 6, "step_size": 60}],
                "restrictions": {"dayOfWeek": ["MONDAY"], "start_time": "8:00:00", "x_vendor": 1}}],
  "max_price": 75
}"#,
    )
    .unwrap();
    assert_eq!(
        codes(&parsed),
        [
            ("comment", "$"),
            ("incorrect_case", "$.country_code"),
            ("id_changed", "$.id"),
            ("incorrect_case", "$.currency"),
            ("incorrect_case", "$.elements[0].price_components[0].type"),
            ("number_as_text", "$.elements[0].price_components[0].price"),
            ("invalid_value", "$.elements[0].price_components[1].type"),
            ("misspelled_field", "$.elements[0].restrictions.dayOfWeek"),
            ("time_format", "$.elements[0].restrictions.start_time"),
            ("unknown_field", "$.elements[0].restrictions.x_vendor"),
            ("invalid_type", "$.max_price"),
        ]
    );
    let misspelled = &parsed.warnings[7];
    assert_eq!(misspelled.position.to_string(), "line 5, column 34");
    assert_eq!(misspelled.help.as_deref(), Some("did you mean `day_of_week`?"));
    assert_eq!(parsed.tariff.id().as_str(), "T_1");
    assert_eq!(parsed.tariff.max_price().excl_vat.unwrap().major().to_string(), "75");
}

#[test]
fn what_decides_a_price_must_be_understood() {
    let wrap = |elements: &str| format!("{{\"id\": \"T\", \"currency\": \"EUR\",\n \"elements\": {elements}}}");
    let component = r#"{"type": "ENERGY", "price": 1, "step_size": 1}"#;
    let restricted = |restriction: &str| {
        wrap(&format!("[{{\"price_components\": [{component}],\n  \"restrictions\": {{{restriction}}}}}]"))
    };
    for (text, place, says) in [
        (wrap("[]"), "line 2, column 14", "no price component"),
        (wrap("{}"), "line 2, column 14", "an array was expected"),
        (wrap(r#"[{"price_components": [{"type": "ENERGY"}]}]"#), "line 2, column 37", "`price` is missing"),
        (wrap(r#"[{"price_components": [{"type": "TAX", "price": 1}]}]"#), "line 2, column 14", "no price component"),
        (restricted(r#""start_time": "25:00""#), "line 3, column 34", "not a time of day"),
        (restricted(r#""end_time": "10:61""#), "line 3, column 32", "not a time of day"),
        (restricted(r#""start_date": "2026-02-30""#), "line 3, column 34", "not a date"),
        (restricted(r#""day_of_week": ["MOONDAY"]"#), "line 3, column 35", "not a day of the week"),
        (restricted(r#""min_kwh": "much""#), "line 3, column 31", "not a number"),
        (restricted(r#""max_power": true"#), "line 3, column 33", "a number was expected"),
        (restricted(r#""reservation": "MAYBE""#), "line 3, column 35", "RESERVATION"),
        ("{\"currency\": \"XYZ\"}".to_owned(), "line 1, column 14", "unknown currency"),
        ("{\"id\": \"T\"}".to_owned(), "line 1, column 1", "`currency` is missing"),
        ("[1,".to_owned(), "line 1, column 4", "not JSON"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(says), "{text}\n{error}");
    }
}

#[test]
fn numbers_are_exact_and_what_is_finer_is_rounded_with_a_finding() {
    let parsed = parse(
        r#"{"id": "T", "currency": "EUR", "elements": [{"price_components": [
            {"type": "ENERGY", "price": 0.20661157024793389, "vat": 2.1e1, "step_size": 1.5}]}]}"#,
    )
    .unwrap();
    let component = &parsed.tariff.components()[0];
    assert_eq!(component.price_nano, 206_611_570);
    assert_eq!((component.vat, component.step_size), (Some(210_000), 2));
    assert!(codes(&parsed).contains(&("excessive_precision", "$.elements[0].price_components[0].price")));
}

#[test]
fn both_spellings_of_price_limits_and_the_payment_fields_are_read() {
    let parsed = parse(
        r#"{"id": "T", "currency": "EUR", "min_price": {"excl_vat": 0.50, "incl_vat": 0.55}, "tax_included": "YES",
            "max_price": {"before_taxes": 10, "after_taxes": 11}, "preauthorize_amount": 45.001, "rounding": "HALF_UP",
            "start_date_time": "2026-01-01T00:00:00Z", "end_date_time": "2027-01-01T00:00:00Z",
            "elements": [{"price_components": [{"type": "FLAT", "price": 0, "step_size": 0}]}]}"#,
    )
    .unwrap();
    let tariff = parsed.tariff;
    assert_eq!(tariff.min_price().incl_vat.unwrap().to_string(), "EUR 0.55");
    assert_eq!(tariff.max_price().excl_vat.unwrap().to_string(), "EUR 10");
    assert_eq!(tariff.preauthorize_amount().unwrap().to_string(), "EUR 45.01");
    assert_eq!((tariff.rounding(), tariff.tax_included()), (Rounding::HalfUp, TaxIncluded::Yes));
    let at = |text| Timestamp::parse_rfc3339(text).unwrap();
    assert!(tariff.valid_at(at("2026-06-01T00:00:00Z")) && !tariff.valid_at(at("2027-01-01T00:00:00Z")));
}

#[test]
fn the_hash_is_of_the_exact_text() {
    let text =
        r#"{"id":"T","currency":"EUR","elements":[{"price_components":[{"type":"FLAT","price":1,"step_size":1}]}]}"#;
    let one = parse(text).unwrap().tariff;
    let other = parse(&format!("{text} ")).unwrap().tariff;
    assert_eq!(one.source(), text);
    assert_ne!(one.hash(), other.hash());
}
