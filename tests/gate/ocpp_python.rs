//! Whole sessions of a charger made of the public Python library `ocpp`, which checks each message of the gate by the schemas.
//!
//! Needs a Python with `ocpp` and `websockets`, named by `WATTSTILE_PYTHON`; therefore ignored unless asked for.

use crate::ocpp::Gate;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_public_client_is_started_from_afar_and_pays_in_every_version() {
    let python = std::env::var_os("WATTSTILE_PYTHON").expect("WATTSTILE_PYTHON names a Python that has ocpp");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/ocpp_charger.py");
    let gate = Gate::start();
    for (version, token) in [("1.6", "ACCT-0011"), ("2.0.1", "ACCT-0012"), ("2.1", "ACCT-0013")] {
        let id = format!("PY-{version}");
        let mut charger = Command::new(&python)
            .arg(&script)
            .args([&format!("ws://{}/ocpp", gate.plain), version, &id, token])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let mut lines = BufReader::new(charger.stdout.take().unwrap()).lines();
        let mut document = || -> Value {
            let line = lines.next().unwrap_or_else(|| panic!("{version}: the client has ended")).unwrap();
            serde_json::from_str(&line).unwrap()
        };
        assert_eq!(document(), json!({ "boot": "Accepted" }), "{version}");
        let order = gate.run(&["charger", "start", &id, "1", "--token", token]);
        assert!(order.status.success(), "{version}: {order:?}");
        let result = document();
        assert_eq!(result["status"], "Accepted", "{version}: {result}");
        assert!(charger.wait().unwrap().success(), "{version}: a message of the gate does not fit its schema");
        let session = gate.closed_session_of(&id);
        assert_eq!((&session["energy_kwh"], &session["transaction_id"]), (&json!("0.03"), &result["transaction"]));
        assert_eq!(session["protocol"], format!("ocpp{version}"));
        assert_eq!(
            result["cost"].to_string(),
            session["captured"].as_str().unwrap(),
            "{version}: what was shown is taken"
        );
        match version {
            "1.6" => assert_eq!(result["shown"], json!(["SetUserPrice", "RunningCost", "FinalCost"]), "{result}"),
            "2.1" => assert_eq!(result["limit"].as_f64(), Some(1_000.0), "{result}"),
            _ => assert_eq!(result["limit"], Value::Null, "{result}"),
        }
    }
}
