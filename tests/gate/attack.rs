//! `wattstile sim attack` from the command line: every attacker beside regular traffic, and runs that have to fail.

use serde_json::Value;
use std::process::Command;

/// Runs it; its exit code and its report.
fn attack(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    let ran = command.args(["sim", "attack", "--json"]).args(arguments).output().unwrap();
    let report = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ran.stderr)));
    (ran.status.code().unwrap(), report)
}

fn broken(report: &Value) -> Vec<&str> {
    let promises = report["promises"].as_array().unwrap();
    promises.iter().filter(|one| one["kept"] == false).map(|one| one["promise"].as_str().unwrap()).collect()
}

/// The bound of acknowledgements is for a machine that does nothing else; tests run beside each other.
const P99_OF_A_BUSY_MACHINE: &str = "3s";

#[test]
fn a_gate_under_every_attack_keeps_its_promises() {
    let arguments = ["--for", "20s", "--seed", "7", "--p99-max", P99_OF_A_BUSY_MACHINE];
    let (code, report) = attack(&arguments);
    assert_eq!((code, broken(&report)), (0, vec![]), "{report:#}");
    assert!(report["honest"]["receipts"].as_u64().unwrap() > 20, "{report:#}");
    let attackers = report["attackers"].as_array().unwrap();
    assert!(attackers.len() >= 20, "{} attackers", attackers.len());
}

#[test]
fn an_expectation_that_is_not_met_fails_the_run() {
    let (code, report) = attack(&["--for", "3s", "--chargers", "4", "--only", "planted"]);
    assert_eq!(code, 1);
    assert!(broken(&report).contains(&"attackers are answered as they have to be"), "{report:#}");
    assert!(report["attackers"][0]["violations"].as_u64().unwrap() > 0);
}

#[test]
fn acknowledgements_that_are_late_fail_the_run() {
    let arguments = ["--for", "3s", "--chargers", "4", "--only", "implausible-starts", "--p99-max", "0ms"];
    let (code, report) = attack(&arguments);
    assert_eq!((code, broken(&report)), (1, vec!["honest acknowledgements are in time"]), "{report:#}");
}
