//! A network on one machine, inspected through its console while it runs, and through its data afterwards.

use rust_decimal::Decimal;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use wattstile::api::Views;
use wattstile::app::demo::{Demo, DemoSettings, OcppSettings};
use wattstile::billing::verify_receipt;
use wattstile::web::{Answer, Console, Listening, Request, get};

/// Far more than it takes; reached only when nothing happens any more.
const TIMEOUT: Duration = Duration::from_secs(90);

fn verb(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).arg("--data").arg(data).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let (code, out, error) = verb(data, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {error}");
    serde_json::from_str(&out).unwrap()
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

fn plain(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let mut answer = agent.get(format!("http://{address}{path}")).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

fn authorized(address: std::net::SocketAddr, path: &str, token: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let request = agent.get(format!("http://{address}{path}")).header("Authorization", format!("Bearer {token}"));
    let mut answer = request.call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Before the gate has started, health requests show that the process lives, and its progress.
#[test]
fn a_gate_that_recovers_is_live_and_not_ready() {
    let loopback = ([127, 0, 0, 1], 0).into();
    let starting = Box::new(|| "7 of 9 snapshots taken in".to_owned());
    let console = Console::listen(Listening::on(loopback, Some("secret".to_owned())), starting).unwrap();
    assert_eq!(plain(console.address, "/livez"), (200, "ok\n".to_owned()));
    for path in ["/readyz", "/healthz", "/api/figures"] {
        let (status, shown) = authorized(console.address, path, "secret");
        assert!(status == 503 && shown.contains("7 of 9 snapshots taken in"), "{path}: {status} {shown}");
    }
    let (status, metrics) = plain(console.address, "/metrics");
    assert!(status == 200 && metrics.contains("wattstile_build_info"), "{metrics}");
    let everybody = ([0, 0, 0, 0], 0).into();
    let refused = Console::listen(Listening::on(everybody, None), Box::new(String::new)).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}

#[test]
fn a_running_gate_and_its_data_tell_the_same() {
    let place = tempfile::tempdir().unwrap();
    let settings = DemoSettings {
        directory: place.path().to_path_buf(),
        chargers: 8,
        speed: 600,
        seed: 7,
        tariff: None,
        ocpp: OcppSettings::default(),
        reporting: None,
    };
    let mut demo = Demo::start(&settings).unwrap();
    let address = demo.console.as_ref().unwrap().address;
    let begun = Instant::now();
    while demo.standing().fleet.tally.receipts < 3 {
        assert!(begun.elapsed() < TIMEOUT, "no receipts");
        std::thread::sleep(Duration::from_millis(50));
    }

    // Health and metrics are open to all clients, the rest requires the token.
    assert_eq!(plain(address, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(plain(address, "/readyz").0, 200);
    let (status, metrics) = plain(address, "/metrics");
    assert_eq!(status, 200);
    for series in [
        "wattstile_sessions_active{state=\"charging\"}",
        "wattstile_ledger_imbalance_minor_units{currency=\"EUR\"} 0",
        "wattstile_wal_sync_duration_seconds_bucket{le=\"+Inf\"}",
        "wattstile_connections{peer_role=\"charger\"} 8",
        "wattstile_captured_minor_units_total{currency=\"EUR\"}",
    ] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }
    assert_eq!(plain(address, "/api/figures").0, 401);
    assert_eq!(authorized(address, "/api/figures", "guess").0, 401);
    // A token in an address would stand in the logs of every proxy: it is not taken there, nor any other parameter.
    let token = demo.console.as_ref().unwrap().token.clone();
    assert_eq!(plain(address, &format!("/api/figures?token={token}")).0, 401);
    assert_eq!(authorized(address, "/api/figures", &token).0, 200);
    for wrong in ["figures?token=x", "sessions?states=closed", "accounts?limit=1&limit=2"] {
        assert_eq!(authorized(address, &format!("/api/{wrong}"), &token).0, 400, "{wrong}");
    }

    let data = place.path();
    let figures = json(data, &["session", "ls", "--state", "closed"]);
    assert_eq!(figures["schema"], "wattstile.session-list/1");
    let closed = figures["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["archived"] == true && decimal(&row["captured"]) > Decimal::ZERO);
    let id = closed.expect("a session was paid")["id"].as_str().unwrap().to_owned();

    // Explanation, receipt and books agree.
    let sheet = json(data, &["session", "show", &id[..id.len() - 6]]);
    let lines: Decimal = sheet["lines"].as_array().unwrap().iter().map(|line| decimal(&line["gross"])).sum();
    assert_eq!(lines, decimal(&sheet["gross"]));
    let (_, receipt, _) = verb(data, &["receipt", "show", &id, "--format", "json"]);
    let receipt = verify_receipt(receipt.as_bytes(), None).unwrap().receipt;
    assert_eq!((receipt.gross, receipt.total), (decimal(&sheet["gross"]), decimal(&sheet["payable"])));
    assert_eq!(receipt.payment.captured + receipt.payment.shortfall, receipt.total);
    let (code, text, _) = verb(data, &["session", "explain", &id]);
    assert!(code == 0 && text.contains("rounded once") && text.contains("total"), "{text}");
    assert!(verb(data, &["receipt", "show", &id]).1.contains(&id));
    assert_eq!(json(data, &["ledger", "check"])["imbalance_minor"], 0);
    assert_eq!(json(data, &["processor", "ls"])["items"][0]["id"], "acme-cards");
    assert_eq!(json(data, &["charger", "ls"])["items"].as_array().unwrap().len(), 8);

    // A dry run changes nothing, an order does, and its repetition does not.
    let before = decimal(&json(data, &["account", "show", "driver-001"])["paid"]);
    let dry = json(data, &["account", "topup", "driver-001", "25.00", "--dry-run"]);
    assert_eq!(decimal(&dry["paid_after"]) - decimal(&dry["paid"]), Decimal::from(25));
    let done = json(data, &["account", "topup", "driver-020", "25.00"]);
    let operation = done["operation"].as_str().unwrap();
    json(data, &["account", "topup", "driver-020", "25.00", "--operation", operation]);
    let (code, _, error) = verb(data, &["account", "topup", "driver-020", "26.00", "--operation", operation]);
    assert_eq!(code, 4, "{error}");
    let top_ups = json(data, &["account", "statement", "driver-020"])["movements"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|movement| movement["kind"] == "top-up" && decimal(&movement["change"]) == Decimal::from(25))
        .count();
    assert_eq!(top_ups, 1);
    assert!(decimal(&json(data, &["account", "show", "driver-001"])["paid"]) <= before);
    assert_eq!(verb(data, &["account", "show", "nobody"]).0, 3);
    assert_eq!(verb(data, &["session", "show", "ffffffff"]).0, 3);

    // Without a gate the same verbs answer from the data.
    let (standing, _) = demo.finish(TIMEOUT);
    let (code, _, error) = verb(data, &["account", "topup", "driver-001", "1"]);
    assert_eq!(code, 5, "{error}");
    let after = json(data, &["session", "show", &id]);
    assert_eq!(after["gross"], sheet["gross"]);
    assert_eq!(verb(data, &["receipt", "show", &id, "--format", "json"]).0, 0);
    let trial = json(data, &["ledger", "trial-balance"]);
    assert_eq!(trial["imbalance_minor"], 0);
    assert_eq!(trial["broken"], serde_json::json!([]));
    let held = trial["rows"].as_array().unwrap().iter().filter(|row| row["code"] == "M010");
    let held: Decimal = held.map(|row| decimal(&row["balance"])).sum();
    assert_eq!(held, Decimal::new(standing.figures.money["EUR"].held_minor, 2));
    assert!(verb(data, &["ledger", "export"]).1.contains("assets"));
    assert!(json(data, &["session", "ls"])["items"].as_array().unwrap().len() >= 3);
    paged_as_whole(&wattstile::app::read(&data.join("data")).unwrap());
}

/// Page by page each list has what it has as a whole: live and archived sessions, documents, holds, settled sessions.
fn paged_as_whole(views: &Views) {
    let answer = |path: &str, query: &[(&str, &str)]| -> (Vec<Value>, Option<String>) {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Answer::Json(document) = get(views, &Request { path: path.to_owned(), query }).unwrap() else {
            panic!("{path} is no list")
        };
        (document["items"].as_array().unwrap().clone(), document["next"].as_str().map(str::to_owned))
    };
    let lists: [(&str, &[(&str, &str)]); 9] = [
        ("sessions", &[]),
        ("sessions", &[("state", "closed")]),
        ("sessions", &[("state", "charging")]),
        ("holds", &[]),
        ("accounts", &[]),
        ("chargers", &[]),
        ("invoices", &[]),
        ("settlement/sessions", &[]),
        ("ledger/accounts", &[]),
    ];
    for (path, filter) in lists {
        let (whole, next) = answer(path, &[filter, &[("limit", "1000")]].concat());
        let may_be_empty = !filter.is_empty() || matches!(path, "holds" | "settlement/sessions");
        assert!(next.is_none() && (may_be_empty || whole.len() > 1), "{path}: {}", whole.len());
        for limit in ["1", "3"] {
            let (mut rows, mut after) = (Vec::new(), None::<String>);
            loop {
                let place = after.as_deref().map(|after| ("after", after));
                let query: Vec<(&str, &str)> = filter.iter().copied().chain([("limit", limit)]).chain(place).collect();
                let (items, next) = answer(path, &query);
                assert!(items.len() <= limit.parse().unwrap());
                rows.extend(items);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(rows, whole, "{path} {filter:?} by {limit}");
        }
    }
}

#[test]
fn a_measurement_says_what_those_who_look_cost_and_got() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["bench", "--in-process", "--sessions", "200", "--rate", "400", "--for", "3s", "--observed", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let observed = &report["observed"];
    assert_eq!((&observed["lost"], &report["lost"]), (&0.into(), &0.into()));
    assert!(observed["readings_durable_per_s"].as_u64().unwrap() >= 300, "{report}");
    assert!(observed["pages"].as_u64().unwrap() >= 2, "{report}");
    assert!(observed["page_p50_us"].as_u64().unwrap() > 100, "it takes a while to make a page: {report}");
}
