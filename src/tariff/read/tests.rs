use super::super::model::Parsed;
use super::*;
use crate::tariff::Severity;

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
                "restrictions": {"dayOfWeek": null, "start_time": "8:00:00", "x_vendor": 1}}],
  "lastUpdated": 1,
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
            ("unknown_field", "$.elements[0].restrictions.dayOfWeek"),
            ("time_format", "$.elements[0].restrictions.start_time"),
            ("unknown_field", "$.elements[0].restrictions.x_vendor"),
            ("misspelled_field", "$.lastUpdated"),
            ("invalid_type", "$.max_price"),
        ]
    );
    let misspelled = &parsed.warnings[10];
    assert_eq!(misspelled.position.to_string(), "line 6, column 3");
    assert_eq!(misspelled.help.as_deref(), Some("did you mean `last_updated`?"));
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
    for (text, place, wording) in [
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
        let found_there = error.lines().any(|line| line.starts_with(place) && line.contains(wording));
        assert!(found_there, "{text}\n{error}");
    }
}

/// After a public report: a tariff with `dayOfWeek` charged the weekday price of 0.79 on a Saturday; with `restriction`
/// instead of `restrictions` 20.00 instead of 110.00.
#[test]
fn what_would_be_lost_under_another_name_is_refused() {
    let wrap = |element: &str, root: &str| {
        format!(
            "{{\"id\": \"T\", \"currency\": \"EUR\", {root} \"last_updated\": \"2026-01-01T00:00:00Z\",\n\"elements\": [{element}]}}"
        )
    };
    let component =
        |more: &str| format!("{{\"type\": \"ENERGY\", \"price\": 0.79, \"vat\": 20, \"step_size\": 1{more}}}");
    let element = |more: &str| format!("{{\"price_components\": [{}]{more}}}", component(""));
    let restricted = |name: &str| wrap(&element(&format!(", \"restrictions\": {{\"{name}\": [\"MONDAY\"]}}")), "");
    for (text, path, wording) in [
        (restricted("dayOfWeek"), "$.elements[0].restrictions.dayOfWeek", "did you mean `day_of_week`"),
        (restricted("days_of_week"), "$.elements[0].restrictions.days_of_week", "did you mean `day_of_week`"),
        (restricted("season"), "$.elements[0].restrictions.season", "is no restriction of OCPI"),
        (
            wrap(&element(", \"restriction\": {\"end_time\": \"21:00\"}"), ""),
            "$.elements[0].restriction",
            "`restrictions`",
        ),
        (wrap(&element(", \"only\": {\"end_time\": \"21:00\"}"), ""), "$.elements[0].only", "`restrictions`"),
        (wrap(&element(", \"end_time\": \"21:00\""), ""), "$.elements[0].end_time", "outside of `restrictions`"),
        (wrap(&element(""), "\"start_time\": \"21:00\","), "$.start_time", "outside of `restrictions`"),
        (wrap(&element(""), "\"restrictions\": {\"min_kwh\": 1},"), "$.restrictions", "`restrictions`"),
        (wrap(&element(""), "\"maxPrice\": {\"excl_vat\": 1},"), "$.maxPrice", "`max_price`"),
        (wrap(&element(""), "\"max_price\": {\"exclVat\": 1},"), "$.max_price.exclVat", "`excl_vat`"),
        (wrap(&element(""), "\"max_price\": {\"amount\": 1},"), "$.max_price.amount", "`before_taxes`"),
        (wrap(&element(""), "\"vat\": 21,"), "$.vat", "`vat`"),
        (wrap(&element(""), "\"Currency\": \"USD\","), "$.Currency", "`currency`"),
        (
            wrap(&format!("{{\"price_components\": [{}]}}", component(", \"stepSize\": 500")), ""),
            "$.elements[0].price_components[0].stepSize",
            "`step_size`",
        ),
        (
            wrap(&format!("{{\"price_components\": [{}]}}", component(", \"min_kwh\": 5")), ""),
            "$.elements[0].price_components[0].min_kwh",
            "outside of `restrictions`",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        let found = error.each().any(|fault| fault.path == path && fault.reason.to_string().contains(wording));
        assert!(found && error.reason.help().is_some(), "{text}\n{error}");
        assert!(Tariff::parse_pinned(&text).is_ok(), "a session that began with it goes on: {text}");
        let findings = crate::tariff::check(&text, crate::tariff::Profiles::default());
        assert!(findings.iter().any(|finding| finding.path == path && finding.severity == Severity::Error));
    }
}

/// After a public report: JavaScript, Python and PostgreSQL take the last of two equal names; here the first one counted.
#[test]
fn a_field_that_is_written_twice_is_refused_wherever_it_stands() {
    let component = "{\"type\": \"ENERGY\", \"price\": 0.30,\n\"price\": 0.60, \"step_size\": 1}";
    let error = parse(&format!(
        "{{\"id\": \"T\", \"currency\": \"EUR\", \"elements\": [{{\"price_components\": [{component}]}}]}}"
    ));
    let error = error.unwrap_err().to_string();
    let text = "line 2, column 1: $.elements[0].price_components[0].price: `price` is written twice (first in line 1)";
    assert!(error.starts_with(text), "{error}");
    let elsewhere = "\"energy_mix\": {\"sources\": [{\"a\": 1, \"a\": 1}]}";
    let sound = "\"elements\": [{\"price_components\": [{\"type\": \"ENERGY\", \"price\": 1, \"step_size\": 1}]}]";
    let error = parse(&format!("{{\"id\": \"T\", \"currency\": \"EUR\", {elsewhere}, {sound}}}")).unwrap_err();
    assert_eq!(error.path, "$.energy_mix.sources[0].a");
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = r#"{"id": "T", "currency": "EUX", "tax_included": "MAYBE", "max_price": {"before_taxes": "x"}, "elements": [
        {"price_components": [{"type": "ENERGY", "price": "1,50", "vat": 121, "step_size": -1}, {"price": 1}],
         "restrictions": {"start_time": "25:00", "end_date": "soon", "day_of_week": ["X"], "reservation": "?", "min_kwh": []}},
        {"price_components": 5}, {}]}"#;
    let error = parse(text).unwrap_err();
    let paths: Vec<&str> = error.each().map(|fault| fault.path.as_str()).collect();
    let component = "$.elements[0].price_components[0]";
    let expected = [
        "$.currency",
        "$.tax_included",
        "$.max_price.before_taxes",
        &format!("{component}.price"),
        &format!("{component}.vat"),
        &format!("{component}.step_size"),
        "$.elements[0].price_components[1]",
        "$.elements[0].restrictions.start_time",
        "$.elements[0].restrictions.end_date",
        "$.elements[0].restrictions.day_of_week",
        "$.elements[0].restrictions.reservation",
        "$.elements[0].restrictions.min_kwh",
        "$.elements[1].price_components",
        "$.elements[2]",
    ];
    assert_eq!(paths.len(), expected.len(), "{error}");
    assert!(expected.iter().all(|path| paths.contains(path)), "{error}");
}

/// After a public report: a first, second and third price for one dimension in one element, of which only the first is
/// charged (OCPI, mod_tariffs: one price component per dimension can be active).
#[test]
fn a_second_price_of_one_dimension_in_an_element_is_told() {
    let flat =
        |price: &str| format!("{{\"type\": \"FLAT\", \"price\": {price}, \"step_size\": 1, \"time\": \"peak\"}}");
    let prices = [flat("0.1572"), flat("-0.1684"), flat("0.001")].join(", ");
    let parsed = parse(&format!(
        "{{\"id\": \"T\", \"currency\": \"EUR\", \"elements\": [{{\"price_components\": [{prices}]}}]}}"
    ))
    .unwrap();
    let codes = codes(&parsed);
    for ordinal in [1, 2] {
        assert!(
            codes.contains(&("same_dimension", &format!("$.elements[0].price_components[{ordinal}]"))),
            "{codes:?}"
        );
    }
    assert!(codes.contains(&("unknown_field", "$.elements[0].price_components[0].time")), "{codes:?}");
}

#[test]
fn findings_are_bounded_and_counted() {
    let many: Vec<String> = (0..1_000).map(|index| format!("\"x_{index}\": 1")).collect();
    let text = format!(
        "{{\"id\": \"T\", \"currency\": \"EUR\", {}, \"elements\": [{{\"price_components\": [{{\"type\": \"FLAT\", \"price\": 1, \"step_size\": 1}}]}}]}}",
        many.join(", ")
    );
    let parsed = parse(&text).unwrap();
    assert_eq!(parsed.warnings.len(), crate::limits::FINDINGS_MAX + 1);
    assert_eq!(parsed.warnings.last().map(|finding| finding.code), Some("more"));
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
