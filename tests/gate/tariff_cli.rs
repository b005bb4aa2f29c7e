//! `wattstile tariff …` from outside: the documents that other programs rely on.

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TARIFF: &str = r#"{
  // a tariff that people edit
  "id": "DAY-NIGHT", "country_code": "NL", "party_id": "WST", "currency": "EUR", "last_updated": "2026-01-01T00:00:00Z",
  "elements": [
    {"price_components": [{"type": "ENERGY", "price": 0.25, "vat": 10, "step_size": 1}],
     "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
    {"price_components": [{"type": "ENERGY", "price": 0.40, "vat": 10, "step_size": 1},
                          {"type": "PARKING_TIME", "price": 6.00, "vat": 20, "step_size": 60},
                          {"type": "FLAT", "price": 0.50, "vat": 20, "step_size": 1}]}
  ]
}"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.file("tariff.json", TARIFF);
        folder
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::cargo_bin("wattstile").unwrap();
        let output = command.current_dir(self.path()).arg("tariff").args(arguments).arg("--json").output().unwrap();
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), document)
    }
}

#[test]
fn readings_are_priced_line_by_line() {
    let folder = Folder::new();
    // Half an hour before 22:00 and half an hour after at 10 kW, then 10 minutes of nothing.
    folder.file(
        "readings.json",
        r#"{"timezone": "Europe/Amsterdam", "start": "2026-11-22T21:30:00+01:00", "end": "2026-11-22T22:40:00+01:00",
            "readings": [{"at": "2026-11-22T21:30:00+01:00", "register_wh": 81000},
                         {"at": "2026-11-22T22:30:00+01:00", "register_wh": 91000, "power_w": 10000, "current_a": 14.5}]}"#,
    );
    let (code, price) = folder.run(&["price", "--tariff", "tariff.json", "--readings", "readings.json"]);
    assert_eq!((code, &price["currency"]), (0, &Value::from("EUR")));
    assert_eq!(price["total_energy_cost"], serde_json::json!({"excl_vat": "3.25", "incl_vat": "3.575"}));
    assert_eq!(price["total_parking_cost"], serde_json::json!({"excl_vat": "1", "incl_vat": "1.2"}));
    assert_eq!(price["total_fixed_cost"]["incl_vat"], "0.6");
    assert_eq!(price["total_cost"], serde_json::json!({"excl_vat": "4.75", "incl_vat": "5.375"}));
    assert_eq!(price["payable"], "5.38");
    assert_eq!((&price["total_time_cost"], &price["total_reservation_cost"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&price["total_energy_kwh"], &price["total_time_h"]),
        (&Value::from("10"), &Value::from("1.166666666667"))
    );
    assert_eq!(price["total_parking_time_h"], "0.166666666667");
    let lines: Vec<(String, String, String, String)> = price["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            ["dimension", "volume", "cost_excl_vat", "reason"]
                .map(|name| line[name].as_str().unwrap().to_owned())
                .into()
        })
        .collect();
    let line = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    assert_eq!(
        lines,
        [
            line("FLAT", "1", "0.5", "start"),
            line("ENERGY", "5", "2", "start"),
            line("ENERGY", "5", "1.25", "time_of_day"),
            line("PARKING_TIME", "0.166666666667", "1", "charging_stopped"),
        ]
    );
    assert_eq!(price["segments"][2]["from"], "2026-11-22T21:00:00Z");
    assert_eq!(price["segments"][2]["element"], 1);
    assert_eq!(price["warnings"], serde_json::json!([]));
}

#[test]
fn a_cdr_is_priced_by_the_tariff_inside_it() {
    let folder = Folder::new();
    let cdr = format!(
        r#"{{"start_date_time": "2026-11-22T10:00:00Z", "end_date_time": "2026-11-22T11:00:00Z", "currency": "EUR",
            "cdr_location": {{"country": "NLD"}}, "credit": true, "tariffs": [{TARIFF}],
            "charging_periods": [{{"start_date_time": "2026-11-22T10:00:00Z", "tariff_id": "DAY-NIGHT",
                "dimensions": [{{"type": "ENERGY", "volume": "20"}}, {{"type": "TIME", "volume": 1}}]}}]}}"#
    );
    folder.file("cdr.json", &cdr);
    let (code, price) = folder.run(&["price", "--cdr", "cdr.json"]);
    assert_eq!(code, 0);
    assert_eq!(price["total_cost"], serde_json::json!({"excl_vat": "-8.5", "incl_vat": "-9.4"}));
    assert_eq!(price["total_energy_cost"]["excl_vat"], "8");
}

#[test]
fn cases_of_both_layouts_are_checked_and_a_wrong_expectation_is_named() {
    let folder = Folder::new();
    let run = |kwh: &str| {
        format!(
            r#"{{"input": {{"timezone": "Europe/Amsterdam", "start_date_time": "2025-11-10 10:00:00+01:00",
                "end_date_time": "2025-11-10 11:10:00+01:00", "max_power_supply_kw": 10, "requested_kwh": 10,
                "max_current_supply_amp": 16}},
              "expect": {{"total_cost": {{"value": {{"excl_vat": 5.5, "incl_vat": 6.2}}, "tolerance": 0.01}},
                "total_charging_time": {{"value": "1:00:00", "tolerance_sec": 1}},
                "total_energy": {{"value": {kwh}, "tolerance_kwh": 0.1}}}}}}"#
        )
    };
    folder.file("cases/popular/X-1/tariff.json", TARIFF);
    folder.file("cases/popular/X-1/test_run.json", &run("10"));
    folder.file("cases/popular/X-1/test_run_wrong.json", &run("12"));
    folder.file("cases/v221/one/tariff.json", TARIFF);
    folder.file(
        "cases/v221/one/cdr1.json",
        r#"{"start_date_time": "2026-11-22T10:00:00Z", "end_date_time": "2026-11-22T11:00:00Z", "cdr_location": {"country": "NLD"},
            "charging_periods": [{"start_date_time": "2026-11-22T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 20}]}],
            "total_cost": {"excl_vat": 1, "incl_vat": 1}, "total_energy": 20, "total_time": 1}"#,
    );
    folder.file(
        "cases/v221/one/output_price__cdr1.json",
        r#"{"cdr_price": {"warnings": {"$.charging_periods": ["periods_state_no_time"]},
            "total_cost": {"excl_vat": "8.50", "incl_vat": "9.40"}}}"#,
    );
    folder.file("cases/v221/none/tariff.json", TARIFF);
    let (code, answer) = folder.run(&["check-cases", "cases"]);
    assert_eq!((code, &answer["cases"], &answer["passed"]), (1, &Value::from(4), &Value::from(2)));
    let failed = &answer["failed"][0];
    assert_eq!(failed["case"], "popular/X-1/test_run_wrong.json");
    assert_eq!(
        (&failed["field"], &failed["expected"], &failed["got"]),
        (&"total_energy".into(), &"12".into(), &"10".into())
    );
    assert_eq!(answer["skipped"][0]["case"], "v221/none/tariff.json");
}

#[test]
fn lint_explain_ls_and_diff_answer_in_json() {
    let folder = Folder::new();
    let (code, answer) = folder.run(&["lint", "tariff.json", "--profile", "afir", "--power-kw", "150"]);
    assert_eq!((code, &answer["errors"]), (1, &Value::from(1)));
    let finding = answer["findings"].as_array().unwrap().iter().find(|finding| finding["severity"] == "error").unwrap();
    assert_eq!(
        (&finding["code"], &finding["line"], &finding["column"]),
        (&"afir_session_fee".into(), &9.into(), &27.into())
    );

    folder.file("broken.json", "{\"id\": \"T\",\n \"currency\": \"EUR\"}");
    let (code, answer) = folder.run(&["lint", "broken.json"]);
    assert_eq!((code, &answer["findings"][0]["code"]), (1, &Value::from("unusable")));

    let (_, answer) = folder.run(&["explain", "tariff.json"]);
    let text = "from EUR 0.25 per kWh + EUR 0.10 per minute parking + EUR 0.50 per session, plus VAT";
    assert_eq!(answer["price_text"], text);

    let (code, answer) = folder.run(&["ls", "."]);
    assert_eq!((code, answer["items"].as_array().unwrap().len()), (1, 2));

    folder.file("flat.json", r#"{"id": "B", "currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 0.14, "step_size": 0}]}]}"#);
    // Two of the sessions that SAP Labs France published (energy x 0.14 EUR/kWh).
    folder.file(
        "sessions.csv",
        "session_id,charger_id,connector,start,end,inactive_s,energy_wh,billed_eur,place\n\
         362759571,SAP-Mougins-02,1,2017-06-01T09:13:56+02:00,2017-06-01T18:48:33+02:00,24097,11311,1.58354,work\n\
         632089125,SAP-Mougins-06,1,2017-06-01T11:34:05+02:00,2017-06-01T16:13:00+02:00,12160,12716,1.78024,work\n",
    );
    let (code, answer) =
        folder.run(&["diff", "flat.json", "tariff.json", "--sessions", "sessions.csv", "--timezone", "Europe/Paris"]);
    assert_eq!((code, &answer["sessions"], &answer["total_a"]), (0, &Value::from(2), &Value::from("3.36")));
    assert_eq!((&answer["dearer"], &answer["largest"][0]["session"]), (&2.into(), &"362759571".into()));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let folder = Folder::new();
    folder.file("run.json", "{\"timezone\": \"Mars/Olympus\",\n \"start_date_time\": 5}");
    let mut command = Command::cargo_bin("wattstile").unwrap();
    let arguments = ["tariff", "price", "--tariff", "tariff.json", "--run", "run.json"];
    let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("run.json: line 2, column 21: $.start_date_time"), "{text}");
}

/// After a public report: 0.50 per kWh and 6.00 per hour with 19 % inside, 40 kWh and 2 h of parking: 32.00.
#[test]
fn a_line_multiplies_where_the_price_contains_tax() {
    let folder = Folder::new();
    let component =
        |kind: &str, price: &str| format!(r#"{{"type": "{kind}", "price": {price}, "vat": 19, "step_size": 1}}"#);
    let prices = [component("ENERGY", "0.5"), component("PARKING_TIME", "6.0")].join(", ");
    folder.file(
        "gross.json",
        &format!(r#"[{{"id": "G", "currency": "EUR", "tax_included": "YES", "elements": [{{"price_components": [{prices}]}}]}}]"#),
    );
    folder.file(
        "readings.json",
        r#"{"timezone": "Europe/Berlin", "start": "2026-02-03T14:00:00+01:00", "end": "2026-02-03T19:00:00+01:00",
            "readings": [{"at": "2026-02-03T14:00:00+01:00", "register_wh": 0}, {"at": "2026-02-03T17:00:00+01:00", "register_wh": 40000}]}"#,
    );
    let arguments = ["price", "--tariff", "gross.json", "--readings", "readings.json"];
    let (code, price) = folder.run(&arguments);
    assert_eq!((code, &price["payable"], &price["tax_included"]), (0, &"32.00".into(), &true.into()));
    let amounts: Vec<&Value> = price["segments"].as_array().unwrap().iter().map(|line| &line["amount"]).collect();
    assert_eq!(amounts, ["20", "12"]);
    let mut command = Command::cargo_bin("wattstile").unwrap();
    let output = command.current_dir(folder.path()).arg("tariff").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("40 kWh at 0.5 = EUR 20.00  including 19 % VAT"), "{text}");
    assert!(text.contains("2:00:00 h at 6 = EUR 12.00"), "{text}");
}

/// After a public report: one file of Latin-1 among others stopped the check of all.
#[test]
fn every_file_is_looked_at_though_one_cannot_be_read() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("latin1.json"), b"{\"id\": \"\xe9nergie\"}").unwrap();
    let one = |id: &str, currency: &str| {
        format!(
            r#"{{"id": "{id}", "currency": {currency}, "elements": [{{"price_components": [{{"type": "ENERGY", "price": 0.3, "step_size": 1}}]}}]}}"#
        )
    };
    folder.file("list.json", &format!("[{}, {}]", one("A", "\"EUR\""), one("B", "null")));
    folder.file("z.json", &one("Z", "\"EUR\"").replace("price_components", "priceComponents"));
    let (code, answer) = folder.run(&["lint", "latin1.json", "missing.json", "list.json", "z.json"]);
    let errors: Vec<(&str, &str)> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| (finding["file"].as_str().unwrap(), finding["code"].as_str().unwrap()))
        .collect();
    assert_eq!(code, 1);
    assert_eq!(&errors[..3], [("latin1.json", "not_utf8"), ("missing.json", "unreadable"), ("list.json", "unusable")]);
    assert!(errors.contains(&("z.json", "misspelled_field")), "{errors:?}");
    let (code, answer) = folder.run(&["ls", "."]);
    let files: Vec<&str> =
        answer["items"].as_array().unwrap().iter().map(|row| row["file"].as_str().unwrap()).collect();
    assert_eq!((code, files), (1, vec!["latin1.json", "list.json[0]", "list.json[1]", "tariff.json", "z.json"]));
    let (_, answer) = folder.run(&["explain", "tariff.json"]);
    assert_eq!(answer["schema"], "wattstile.tariff-explain/1");
}
