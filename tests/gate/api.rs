//! Version 1 of the API, against a running gate: its document and its answers, lists with filters and in other forms, orders
//! with idempotency keys, and the audit trail.

use crate::common::Served;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use wattstile::app::demo::{Demo, DemoSettings, OcppSettings};

const TIMEOUT: Duration = Duration::from_secs(90);

struct Api {
    address: SocketAddr,
    token: String,
}

struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Api {
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answered {
        let mut request = agent().get(format!("http://{}/api/v1/{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answered(request.header("Authorization", format!("Bearer {}", self.token)).call().unwrap())
    }

    fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answered {
        let mut request = agent().post(format!("http://{}/api/v1/{path}", self.address));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        answered(request.header("Authorization", format!("Bearer {}", self.token)).send(body.to_string()).unwrap())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

fn answered(mut answer: ureq::http::Response<ureq::Body>) -> Answered {
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let text = answer.body_mut().read_to_string().unwrap();
    Answered { status: answer.status().as_u16(), headers, text }
}

fn verb(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).arg("--data").arg(data).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

/// Whether a document has the members that its schema has, and no other.
fn check(document: &Value, schema: &Value, schemas: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return check(document, &schemas[name], schemas, at);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let of_all: Vec<String> = parts.iter().flat_map(|part| members(part, schemas)).collect();
        for name in document.as_object().unwrap().keys() {
            assert!(of_all.contains(name), "{at}.{name} is not in the document of the API");
        }
        return;
    }
    if let Some(either) = schema["anyOf"].as_array() {
        if !document.is_null() {
            check(document, &either[0], schemas, at);
        }
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match document {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{at} is {kind}, not {kinds:?}");
    if let Some(items) = document.as_array() {
        items.iter().for_each(|item| check(item, &schema["items"], schemas, &format!("{at}[]")));
    }
    if let (Some(found), Some(known)) = (document.as_object(), schema["properties"].as_object()) {
        for (name, value) in found {
            let member = known.get(name).unwrap_or_else(|| panic!("{at}.{name} is not in the document of the API"));
            check(value, member, schemas, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(found.contains_key(name.as_str().unwrap()), "{at}.{name} is missing");
        }
    }
}

fn members(schema: &Value, schemas: &Value) -> Vec<String> {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let schema = name.map_or(schema, |name| &schemas[name]);
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn answers_are_as_the_document_of_the_api_has_them() {
    let place = tempfile::tempdir().unwrap();
    let settings = DemoSettings {
        directory: place.path().to_path_buf(),
        chargers: 8,
        speed: 600,
        seed: 11,
        tariff: None,
        ocpp: OcppSettings::default(),
        reporting: None,
    };
    let mut demo = Demo::start(&settings).unwrap();
    let console = demo.console.as_ref().unwrap();
    let api = Api { address: console.address, token: console.token.clone() };
    let begun = Instant::now();
    while demo.standing().fleet.tally.receipts < 4 {
        assert!(begun.elapsed() < TIMEOUT, "no receipts");
        std::thread::sleep(Duration::from_millis(50));
    }
    let document = api.get("openapi.json", &[]).json();
    let schemas = &document["components"]["schemas"];
    let mut lists = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let content = &operations["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let Some(path) = path.strip_prefix("/api/v1/") else { continue };
        let needs = path.contains('{') || path.starts_with("settlement/batch") && path != "settlement/batches";
        if needs || operations["get"].is_null() || content.is_null() || path == "openapi.json" {
            continue;
        }
        let given = api.get(path, &[]);
        assert_eq!(given.status, 200, "{path}: {}", given.text);
        check(&given.json(), content, schemas, path);
        lists += usize::from(given.json()["items"].is_array());
    }
    assert!(lists >= 15, "{lists}");
    for list in [
        "sessions",
        "holds",
        "operations",
        "receipts",
        "invoices",
        "accounts",
        "processors",
        "chargers",
        "settlements",
        "ledger/trial-balance",
    ] {
        let page = api.get(list, &[]).json();
        assert!(page["items"].is_array() && page.get("next").is_some(), "{list}");
    }

    // Filters.
    let rows = |path: &str| api.get(path, &[]).json()["items"].as_array().unwrap().clone();
    let paid = rows("sessions?state=closed&limit=1000").into_iter().find(|row| row["captured"] != "0.00");
    let paid = paid.expect("a session was paid");
    let (id, charger, at) =
        (paid["id"].as_str().unwrap(), paid["charger"].as_str().unwrap(), paid["started_at"].as_str().unwrap());
    let found = rows(&format!("sessions?q={}&limit=1000", id[4..30].to_uppercase()));
    assert!(found.len() == 1 && found[0]["id"] == *id, "{found:?}");
    assert!(rows(&format!("sessions?charger={charger}&limit=1000")).iter().all(|row| row["charger"] == *charger));
    let since = rows(&format!("sessions?since={}&limit=1000", at.replace('+', "%2B")));
    assert!(since.iter().any(|row| row["id"] == *id));
    assert!(since.iter().all(|row| row["started_at"].as_str().unwrap() >= at), "{since:?}");
    assert!(rows(&format!("sessions?until={at}&limit=1000")).iter().all(|row| row["id"] != *id));
    assert_eq!(rows("sessions?processor=none"), Vec::<Value>::new());
    // The first drivers may all have paid by wallet.
    let begun = Instant::now();
    let of_cards = loop {
        let found = rows("operations?processor=acme-cards&kind=capture&limit=1000");
        if !found.is_empty() {
            break found;
        }
        assert!(begun.elapsed() < TIMEOUT, "no capture of a card");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(of_cards.iter().all(|row| row["kind"] == "capture" && row["processor"] == "acme-cards"));
    assert_eq!(rows("processors?state=up").len(), 2);
    assert_eq!(api.get("sessions?state=nothing", &[]).status, 400);
    assert_eq!(api.get("holds?since=soon", &[]).json()["code"], "unknown_parameter");
    assert_eq!(api.get("sessions?since=soon", &[]).json()["parameter"], "since");

    // The same page in other forms.
    let receipts = rows("receipts?limit=3");
    assert!(receipts.iter().all(|row| row["total"].is_string() && row["session"].is_string()), "{receipts:?}");
    let lines = api.get("receipts?limit=3&format=jsonl", &[]).text;
    assert_eq!(lines.lines().count(), receipts.len());
    let table = api.get("receipts?limit=3&format=csv", &[]);
    assert_eq!(table.text.lines().count(), receipts.len() + 1);
    assert!(table.text.starts_with("number,session,issued_at,charger,"), "{}", table.text);
    assert!(table.headers["content-type"].starts_with("text/csv"));

    // Pages of operations join up.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("operations?limit=7{after}"), &[]).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert!(seen.len() > 8 && seen.windows(2).all(|pair| pair[0] > pair[1]), "each once, the newest first");

    // A tag of an answer that has not changed.
    let sheet = api.get(&format!("receipts/{id}.json"), &[]);
    let tag = sheet.headers["etag"].as_str();
    let again = api.get(&format!("receipts/{id}.json"), &[("If-None-Match", tag)]);
    assert_eq!((again.status, again.text.as_str()), (304, ""));

    // One refund, however often it is sent.
    let wish = json!({ "amount": "0.01" });
    let first = api.post(&format!("sessions/{id}/refund"), Some("refund-1"), &wish);
    assert_eq!(first.status, 200, "{}", first.text);
    let second = api.post(&format!("sessions/{id}/refund"), Some("refund-1"), &wish);
    assert_eq!((second.status, second.json()), (200, first.json()));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(api.post(&format!("sessions/{id}/refund"), Some("refund-1"), &json!({ "amount": "0.02" })).status, 422);
    let refunds = |id: &str| {
        let operations = api.get(&format!("sessions/{id}"), &[]).json()["operations"].as_array().unwrap().clone();
        operations.iter().filter(|row| row["kind"] == "refund").count()
    };
    assert_eq!(refunds(id), 1);

    // Each order is in the audit trail, which is whole.
    let trail = rows("audit?limit=1000");
    let about: Vec<&Value> = trail.iter().filter(|row| row["key"] == "refund-1").collect();
    assert_eq!(about.len(), 1, "a repetition is no order of its own: {trail:?}");
    assert_eq!((about[0]["status"].as_u64(), about[0]["who"].as_str()), (Some(200), Some("command-line")));
    assert!(about[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    let (code, out, _) = verb(place.path(), &["audit", "verify", "--json"]);
    let checked: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && checked["fault"].is_null() && checked["records"].as_u64() >= Some(2), "{out}");
    assert!(verb(place.path(), &["audit", "ls"]).1.contains("/refund"));
    demo.finish(TIMEOUT);
    assert!(verb(place.path(), &["audit", "ls", "--limit", "1"]).1.contains("/refund"), "also without a gate");
}

/// The gate is killed between an order and its repetition.
#[test]
fn an_order_is_one_order_over_a_kill() {
    let mut gate = Served::start(&[]);
    let api = |gate: &Served| {
        let console = gate.console();
        Api { address: console.address, token: console.token }
    };
    let open = json!({ "account": "driver-1", "currency": "EUR" });
    assert_eq!(api(&gate).post("accounts", Some("open-1"), &open).status, 200);
    let wish = json!({ "amount": "25.00" });
    let first = api(&gate).post("accounts/driver-1/topup", Some("top-1"), &wish);
    assert_eq!(first.status, 200, "{}", first.text);
    gate.kill();
    // The outcome of the last order did not reach the disk.
    let file = gate.data_dir().join("data/audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 20;
    std::fs::write(&file, &text[..cut]).unwrap();
    gate.start_again();
    let paid = |gate: &Served| api(gate).get("accounts/driver-1", &[]).json()["paid"].as_str().unwrap().to_owned();
    let second = api(&gate).post("accounts/driver-1/topup", Some("top-1"), &wish);
    assert_eq!((second.status, second.json()["operation"].clone()), (200, first.json()["operation"].clone()));
    assert_eq!(paid(&gate), "25.00");
    gate.kill();
    gate.start_again();
    assert_eq!(api(&gate).post("accounts/driver-1/topup", Some("top-1"), &wish).json(), second.json());
    assert_eq!(api(&gate).post("accounts/driver-1/topup", Some("top-2"), &wish).status, 200);
    assert_eq!(paid(&gate), "50.00");
    let (code, out, error) = verb(gate.data_dir(), &["audit", "verify"]);
    assert_eq!(code, 0, "{out}{error}");

    // A change of the trail is found, and so is a refused order in it.
    let viewer = verb(gate.data_dir(), &["token", "create", "--name", "eve", "--role", "viewer", "--json"]).1;
    let viewer: Value = serde_json::from_str(&viewer).unwrap();
    let console = gate.console();
    let eve = Api { address: console.address, token: viewer["token"].as_str().unwrap().to_owned() };
    assert_eq!(eve.post("accounts/driver-1/topup", None, &wish).status, 403);
    let listed = api(&gate).get("audit", &[]).json();
    assert_eq!((listed["items"][0]["who"].as_str(), listed["items"][0]["status"].as_u64()), (Some("eve"), Some(403)));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(viewer["token"].as_str().unwrap()));
    std::fs::write(&file, text.replacen("25.00", "26.00", 1)).unwrap();
    assert_eq!(verb(gate.data_dir(), &["audit", "verify"]).0, 65);
}
