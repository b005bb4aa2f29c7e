//! Text, page and record.

use super::*;

#[test]
fn narrow_receipt_stacks_its_table_and_breaks_no_word() {
    let wide = receipt().to_text();
    for width in [32, 40, 60] {
        let text = receipt().to_text_within(width);
        for line in text.lines().filter(|line| line.chars().count() > width) {
            let longest = line.split_whitespace().map(str::len).max();
            assert!(longest > Some(width - 16), "only a word that has no room is longer than {width}: {line}");
        }
        let words = |text: &str| {
            let words = text.split_whitespace().map(str::to_owned);
            words.collect::<std::collections::BTreeSet<String>>()
        };
        let headings = ["what", "quantity", "price", "excl.", "incl.", "VAT"];
        let missing: Vec<String> = words(&wide).difference(&words(&text)).cloned().collect();
        assert!(missing.iter().all(|word| headings.contains(&word.as_str())), "{width}: {missing:?}\n{text}");
    }
    assert_eq!(receipt().to_text_within(200), wide);
}

#[test]
fn the_text_shows_every_digit_of_the_way_to_the_price() {
    let expected = "\
Receipt R-2026-000001
Wattstile Charging B.V.
Keizersgracht 1, Amsterdam
VAT id NL001234567B01

  place         Oosterdok <P&R>, Oosterdokskade 12, 1011 AE Amsterdam
  charger       NL*WST*E0007, connector 1
  from          2026-11-22 14:02:11 +01:00
  to            2026-11-22 14:19:50 +01:00  (17 min 39 s)
  energy        18.402 kWh
  meter         81234.500 to 81252.902 kWh, 147 readings
  tariff        AMS-DAY
  session       SESSION

  what                          from   to         quantity     price   excl. VAT
  start fee                     14:02  14:02             1      0.50   0.50
  energy, 07:00-19:00           14:02  14:16    15.120 kWh  0.42/kWh   6.3504
  energy, at 60 kW or more      14:16  14:18     3.282 kWh  0.31/kWh   1.0174
  parking time, after 5 min     14:19  14:19  42 s → 1 min    4.20/h   0.07
                                                                 net   7.94
                                                            VAT 21 %   1.67
                                                            rounding  -0.01
                                                           total EUR   9.60
                                                     before rounding   9.6047622

  paid          EUR 9.60 by payment card, fp_5b0e, 2026-11-22 14:19:53 +01:00
  reserved      EUR 45.00, of which EUR 35.40 were released
  paid through  acme-cards, reference 8841
  read again    https://example.com/r/0198c3
";
    let text = receipt().to_text().replace(&receipt().session, "SESSION");
    assert_eq!(text, expected);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// The same session at prices that contain the tax: each line multiplies, in every form.
#[test]
fn a_line_multiplies_with_tax_inside_and_without() {
    let mut inside = session();
    inside.tariff.prices_include_vat = true;
    for line in &mut inside.lines {
        let factor = Decimal::ONE + line.vat_percent.unwrap_or_default() / Decimal::ONE_HUNDRED;
        line.price = (line.price * factor).normalize();
    }
    for session in [session(), inside] {
        let receipt = Receipt::new(&session, &issue()).unwrap();
        for line in &receipt.lines {
            let units = if line.unit == "s" { line.billed / Decimal::from(3_600) } else { line.billed };
            let close = |left: Decimal, right: Decimal| (left - right).abs() < Decimal::new(1, 9);
            assert!(close(units * line.price, line.amount), "{line:?}");
            assert!(close(units * line.price_incl_vat.unwrap(), line.gross), "{line:?}");
            assert_eq!(line.amount, if line.price_includes_vat { line.gross } else { line.net });
        }
        let (text, page) = (receipt.to_text(), receipt.to_html().unwrap());
        let includes = session.tariff.prices_include_vat;
        assert!(text.contains(if includes { "incl. VAT" } else { "excl. VAT" }), "{text}");
        let energy = if includes { "0.5082/kWh   7.684" } else { "0.42/kWh   6.3504" };
        assert!(text.contains(energy), "{text}");
        assert!(page.contains("15.120 kWh × 0.5082 per kWh") && page.contains("<span>7.684</span>"), "{page}");
    }
}

/// A name from outside can neither move a terminal's cursor nor turn a line around.
#[test]
fn control_characters_and_marks_of_direction_are_written_out() {
    let mut session = session();
    session.place.name = Some("Oost\u{1b}[2J\u{202e}dok\u{2066}".into());
    session.payment.references = vec!["88\u{9b}41\u{200f}".into()];
    let mut issue = issue();
    issue.issuer.name = "A\u{7}\u{feff}B\nC".into();
    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    let signed = key.sign(Receipt::new(&session, &issue).unwrap());
    let (text, page, json) = (signed.receipt.to_text(), signed.to_html().unwrap(), signed.to_json());
    for shown in [&text, &page, &json] {
        assert!(shown.chars().all(|one| one == '\n' || !crate::units::is_hidden(one)), "{shown:?}");
    }
    assert!(text.contains("Oost\\u{1b}[2J\\u{202e}dok"), "{text}");
    let verified = verify_receipt(json.as_bytes(), Some(&key.public_key())).unwrap();
    assert_eq!(verified.receipt, signed.receipt, "the document itself is unchanged");
}

/// The page states what was paid, and contains no commands to run.
#[test]
fn the_page_speaks_to_drivers() {
    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    let page = key.sign(receipt()).to_html().unwrap();
    for words in
        ["EUR 9.60", ">Paid<", "Oosterdokskade 12", "1.67", "0.5082 per kWh", "0.42 per kWh before VAT", "payment card"]
    {
        assert!(page.contains(words), "{words} is missing in {page}");
    }
    assert!(!page.contains("to pay") && !page.contains("wattstile "), "{page}");
}

#[test]
fn the_page_escapes_what_it_is_given() {
    let mut session = session();
    session.place.name = Some("<script>alert(1)</script>".into());
    let mut issue = issue();
    issue.issuer.name = "A \"B\" & <i>C</i>".into();
    issue.link = Some("javascript:alert(1)".into());
    let page = Receipt::new(&session, &issue).unwrap().to_html().unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("<i>"), "{page}");
    assert!(!page.contains("javascript:"), "a link that is not a web link is not shown");
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn the_page_carries_the_qr_code_of_its_link_and_nothing_from_elsewhere() {
    let page = receipt().to_html().unwrap();
    assert!(page.contains("<svg") && !page.contains("<?xml"), "{page}");
    let sources = ["src=", "@import", "url(", "<link"];
    assert!(sources.iter().all(|source| !page.contains(source)));
    for figure in ["7.684", "1.2311", "42 s → 1 min", "9.60", "35.40", "R-2026-000001"] {
        assert!(page.contains(figure), "{figure} is missing in {page}");
    }
}

/// A price of time that holds throughout, beside prices of energy that change: no period states more time than it has.
#[test]
fn a_line_that_goes_on_while_prices_change_is_divided_among_the_periods() {
    let mut session = session();
    let mut time = session.lines[1].clone();
    (time.dimension, time.from, time.to) = (Dimension::Time, session.started_at, session.ended_at);
    time.measured = Quantity::Time(time.to.since(time.from));
    (time.price, time.net, time.gross) = (decimal("0"), Cost::zero(Currency::EUR), Cost::zero(Currency::EUR));
    session.lines.push(time);
    let record = serde_json::to_value(Receipt::new(&session, &issue()).unwrap().cdr).unwrap();
    let periods = record["charging_periods"].as_array().unwrap();
    let starts: Vec<Timestamp> = periods
        .iter()
        .map(|period| Timestamp::parse_rfc3339(period["start_date_time"].as_str().unwrap()).unwrap())
        .collect();
    let mut sums = std::collections::BTreeMap::new();
    for (index, period) in periods.iter().enumerate() {
        let until = starts.get(index + 1).copied().unwrap_or(session.ended_at);
        let lasts = decimal(&until.since(starts[index]).ms().to_string()) / decimal("3600000");
        for stated in period["dimensions"].as_array().unwrap() {
            let volume = decimal(&stated["volume"].to_string());
            let kind = stated["type"].as_str().unwrap();
            assert!(kind == "ENERGY" || volume <= lasts.round_dp(8), "{period} lasts {lasts} h");
            *sums.entry(kind.to_owned()).or_insert_with(|| decimal("0")) += volume;
        }
    }
    assert_eq!(sums["ENERGY"], decimal("18.402"), "to the last digit");
    assert_eq!(sums["TIME"].round_dp(6), decimal("0.294167"));
    assert_eq!(record["total_energy"].to_string(), "18.402");
}

#[test]
fn the_record_has_the_shape_of_ocpi_and_exact_numbers() {
    let record = serde_json::to_value(receipt().cdr).unwrap();
    assert_eq!(record["total_cost"].to_string(), r#"{"excl_vat":7.93782,"incl_vat":9.6047622}"#);
    assert_eq!(record["total_energy"].to_string(), "18.402");
    assert_eq!(record["total_time"].to_string(), "0.29416667");
    assert_eq!(record["total_energy_cost"].to_string(), r#"{"excl_vat":7.36782,"incl_vat":8.9150622}"#);
    assert_eq!(record["cdr_token"]["uid"], "fp_5b0e");
    assert_eq!(record["cdr_token"]["type"], "AD_HOC_USER");
    assert_eq!(record["start_date_time"], "2026-11-22T13:02:11Z");
    assert_eq!(record["charging_periods"][0]["dimensions"].to_string(), r#"[{"type":"ENERGY","volume":15.12}]"#);
    assert_eq!(record["invoice_reference_id"], "R-2026-000001");
    for field in ["country_code", "party_id", "id", "auth_method", "cdr_location", "currency", "last_updated"] {
        assert!(record.get(field).is_some(), "{field} is mandatory");
    }
}

#[test]
fn the_newer_ocpi_writes_taxes_apart() {
    let record = serde_json::to_value(Cdr::new(&session(), &issue(), OcpiVersion::V2_3_0).unwrap()).unwrap();
    let total = r#"{"before_taxes":7.93782,"taxes":[{"name":"VAT","amount":1.6669422}]}"#;
    assert_eq!(record["total_cost"].to_string(), total);
}

#[test]
fn a_credit_record_names_what_it_takes_back() {
    let credit = |net, gross| {
        let part = (cents(net), cents(gross));
        let record = receipt().cdr.credit("C-1", at("15:00:00"), part, OcpiVersion::V2_2_1).unwrap();
        serde_json::to_value(record).unwrap()
    };
    let record = credit(-793, -960);
    assert_eq!(record["credit"], true);
    assert_eq!(record["credit_reference_id"], session().id.to_string());
    assert_eq!(record["total_cost"].to_string(), r#"{"excl_vat":-7.93,"incl_vat":-9.6}"#);
    assert_eq!(record["total_energy"].to_string(), "18.402", "only the total cost turns negative");
    assert_eq!(credit(-83, -100)["total_cost"].to_string(), r#"{"excl_vat":-0.83,"incl_vat":-1}"#, "a part of it");
}

#[test]
fn nothing_is_issued_for_figures_that_contradict_each_other() {
    let refused = |change: fn(&mut ClosedSession)| {
        let mut session = session();
        change(&mut session);
        Receipt::new(&session, &issue()).unwrap_err()
    };
    assert!(matches!(refused(|it| it.lines[1].net = cost("6.3505")), BillingError::Lines { .. }));
    assert!(matches!(refused(|it| it.lines[1].gross = cost("7.7")), BillingError::Lines { .. }));
    assert!(matches!(refused(|it| it.vat[0].vat = cost("1.66")), BillingError::Rates { .. }));
    assert!(matches!(refused(|it| it.payable = cents(961)), BillingError::Payable { .. }));
    assert!(matches!(refused(|it| it.payment.captured = cents(959)), BillingError::Paid { .. }));
    assert!(matches!(refused(|it| it.zone = "Mars/Olympus".into()), BillingError::Time(_)));
    assert!(matches!(refused(|it| it.payment.shortfall = cents(1)), BillingError::Paid { .. }));
    let dollars = Amount::new(960, "USD".parse().unwrap());
    let mut session = session();
    session.payment.captured = dollars;
    assert!(matches!(Receipt::new(&session, &issue()), Err(BillingError::Money(_))));
}

#[test]
fn what_was_taken_too_much_is_told_to_the_driver() {
    let mut session = session();
    session.payment.captured = cents(1_920);
    let text = Receipt::new(&session, &issue()).unwrap().to_text();
    assert!(text.contains("too much      EUR 9.60 were taken beyond the total and are to be given back"), "{text}");
}

#[test]
fn the_split_adds_up_to_what_is_payable() {
    let split = PayableSplit::of(&session()).unwrap();
    assert_eq!((split.net, split.taxes[0].1, split.rounding), (cents(794), cents(167), cents(-1)));
    let operator = crate::units::OperatorId::new("wst").unwrap();
    let share = split.share(&operator, cents(25), *b"NL").unwrap();
    assert_eq!(share.total().unwrap(), cents(960));
    assert_eq!(share.net, cents(769));
    assert_eq!(share.taxes[0].0.rate.to_string(), "21%");
}
