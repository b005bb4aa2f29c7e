//! Real sessions through a real gate: sockets, certificates, log. Source of the data: data/README.md.

use assert_cmd::Command;
use serde_json::Value;

fn replay(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = Command::cargo_bin("wattstile")
        .expect("the binary is built")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["replay", "--json", "--sessions", "tests/data/charging-sessions-sap-sample.csv"])
        .args(arguments)
        .output()
        .expect("it runs");
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_real_session_costs_what_was_billed() {
    let (code, document, errors) = replay(&["--tariff", "tests/data/tariff-energy-0.14.json"]);
    assert_eq!(code, Some(0), "{document}\n{errors}");
    assert_eq!(document["schema"], "wattstile.replay/1");
    for count in ["sessions", "settled", "cost_equal_to_billed"] {
        assert_eq!(document[count], 299, "{count}");
    }
    assert_eq!(document["max_difference"], "0");
    assert_eq!(document["ticks"], 89_129);
    assert_eq!(document["ticks_lost"], 0);
}

#[test]
fn another_price_is_found_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tariff = include_str!("../data/tariff-energy-0.14.json").replace("0.14", "0.15");
    let path = folder.path().join("tariff.json");
    std::fs::write(&path, tariff).expect("it can be written");
    let (code, document, _) = replay(&["--tariff", path.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(1));
    assert_eq!(document["settled"], 299);
    assert_eq!(document["cost_equal_to_billed"], 0);
    assert_ne!(document["max_difference"], "0");
}

#[test]
fn a_file_that_is_no_recording_is_named_with_line_and_column() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.csv");
    let sample = include_str!("../data/charging-sessions-sap-sample.csv").replacen(",11311,", ",much,", 1);
    std::fs::write(&path, sample).expect("it can be written");
    let output = Command::cargo_bin("wattstile")
        .expect("the binary is built")
        .arg("replay")
        .args(["--sessions", path.to_str().expect("UTF-8")])
        .args(["--tariff", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tariff-energy-0.14.json")])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("line 2, column `energy_wh`: `much` is not a whole number from 0 to"), "{errors}");
}
