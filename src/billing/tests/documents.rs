//! Text, page and record.

use super::*;

#[test]
fn the_text_shows_every_digit_of_the_way_to_the_price() {
    let expected = "\
Receipt R-2026-000001  ·  Wattstile Charging B.V.
Keizersgracht 1, Amsterdam
NL001234567B01

  session     SESSION
  place       Oosterdok <P&R>, Oosterdokskade 12, 1011 AE Amsterdam
  charger     NL*WST*E0007  connector 1
  from        2026-11-22 14:02:11 +01:00
  to          2026-11-22 14:19:50 +01:00  (17 min 39 s)
  energy      18.402 kWh
  register    81234.500 to 81252.902 kWh  (147 readings)
  tariff      AMS-DAY  (sha256 9c9c9c9c9c9c…)
  paid with   payment card  fp_5b0e

  element                       from   to         quantity     price   excl. VAT
  1 start fee                   14:02  14:02             1      0.50   0.5000
  2 energy, 07:00-19:00         14:02  14:16    15.120 kWh  0.42/kWh   6.3504
  3 energy, at 60 kW or more    14:16  14:18     3.282 kWh  0.31/kWh   1.01742
  4 parking time, after 5 min   14:19  14:19  42 s → 1 min    4.20/h   0.0700
                                                            subtotal   7.93782
                                                            VAT 21 %   1.6669422
                                                        total, exact   9.6047622
                                             rounded once, half even  -0.0047622
                                                         to pay  EUR   9.60

  authorized  EUR 45.00
  captured    EUR 9.60
  released    EUR 35.40
  processor   acme-cards  8841
  read again  https://example.com/r/0198c3
";
    assert_eq!(receipt().to_text().replace(&receipt().session, "SESSION"), expected);
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
    for figure in ["6.3504", "1.01742", "42 s → 1 min", "9.60", "35.40", "R-2026-000001"] {
        assert!(page.contains(figure), "{figure} is missing in {page}");
    }
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
    assert!(text.contains("given back  EUR 9.60"), "{text}");
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
