//! Public tools for OCPP at a running gate, each where `.ci/run` has installed it: none of them was written for this gate.

use crate::common::skipped_without;
use crate::ocpp::Gate;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A tool of `target/ci`; none: the test is skipped.
fn installed(place: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci").join(place);
    if !path.exists() {
        skipped_without(format_args!("target/ci/{place}"));
    }
    path.exists().then_some(path)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// PyPI `test-ocpp`: a connection, a boot and a heartbeat, by every profile of security.
#[test]
fn a_public_connection_test_succeeds_in_every_profile_and_is_refused_with_what_is_wrong() {
    let Some(tool) = installed("python/bin/test-ocpp") else { return };
    let gate = Gate::start();
    let passwords = gate.directory().join("ocpp");
    fs::create_dir_all(&passwords).unwrap();
    let file = passwords.join("PUB-2.password");
    fs::write(&file, "sixteen-letters!").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let certified = gate.certificate("PUB-3");
    let shown = |name: &str| certified.join(name).to_str().unwrap().to_owned();
    let (chain, key, authority) = (shown("charger.pem"), shown("key.pem"), shown("ca.pem"));
    let (plain, secure) = (format!("ws://{}/ocpp", gate.plain), format!("wss://localhost:{}/ocpp", gate.secure.port()));

    let tries = |arguments: &[&str]| text(&Command::new(&tool).args(arguments).output().unwrap());
    let certificate = ["--cert", &chain, "--key", &key, "--ca", &authority];
    let with_certificate = |id: &'static str| [&[secure.as_str(), id], &certificate[..]].concat();
    for arguments in [
        &[plain.as_str(), "PUB-1"][..],
        &[&plain, "PUB-1", "--ocpp", "2.0.1"],
        &[&plain, "PUB-1", "--trailing-slash"],
        &[&plain, "PUB-2", "--password", "sixteen-letters!"],
        &with_certificate("PUB-3"),
    ] {
        let shown = tries(arguments);
        assert!(shown.ends_with("SUCCESS\n"), "{arguments:?}: {shown}");
        assert!(shown.contains("BootNotification status: Accepted"), "{arguments:?}: {shown}");
    }
    for (arguments, status) in [
        (&[plain.as_str(), "PUB-2", "--password", "sixteen-letters?"][..], "HTTP 401"),
        (&[&plain, "PUB-2"], "HTTP 401"),
        (&with_certificate("PUB-4"), "HTTP 403"),
    ] {
        let shown = tries(arguments);
        assert!(shown.contains(status) && !shown.contains("SUCCESS"), "{arguments:?}: {shown}");
    }
}

/// npm `em-ocpp-chargepoint-simulator`: a whole session of OCPP 1.6, and one whose driver has no money.
#[test]
fn a_public_simulator_of_1_6_pays_for_a_session() {
    let Some(tool) = installed("npm/node_modules/em-ocpp-chargepoint-simulator/build/src/main.js") else { return };
    let gate = Gate::start();
    let session = |id: &str, token: &str| -> Value {
        let output = Command::new("node")
            .arg(&tool)
            .arg("tests/javascript/ocpp_session.js")
            .env("CHARGER_URL", format!("ws://{}/ocpp/{id}", gate.plain))
            .env("CHARGER_TOKEN", token)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let shown = text(&output);
        assert!(!shown.lines().any(|line| line.starts_with("FAILED")), "{shown}");
        let result = shown.lines().find_map(|line| line.strip_prefix("RESULT "));
        serde_json::from_str(result.unwrap_or_else(|| panic!("{shown}"))).unwrap()
    };
    let result = session("EM-1", "ACCT-0014");
    assert_eq!(result["authorized"]["idTagInfo"]["status"], "Accepted", "{result}");
    let closed = gate.closed_session_of("EM-1");
    assert_eq!((&closed["energy_kwh"], &closed["protocol"]), (&json!("0.022"), &json!("ocpp1.6")));
    assert_eq!(closed["transaction_id"], result["started"]["transactionId"].to_string());
    assert_ne!(closed["captured"], "0.00");

    let result = session("EM-2", "ACCT-NONE");
    assert_eq!(result["authorized"]["idTagInfo"]["status"], "Blocked", "{result}");
    assert_ne!(result["started"]["idTagInfo"]["status"], "Accepted", "{result}");
}
