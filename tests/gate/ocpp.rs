//! Chargers that speak OCPP over WebSocket at a running gate: whole sessions, with their money, and after a kill.

use crate::common::Served;
use crate::common::driven::charger;
use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wattstile::host::wall_clock;
use wattstile::transport::files::{read_certificates, read_key};
use wattstile::transport::pki::Certified;
use wattstile::transport::websocket::Incoming;
use wattstile::transport::{Connector, Opened, Socket, Trust, Wanted, open_websocket};

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The demonstration without simulated chargers, open for those that speak OCPP.
pub struct Gate {
    folder: tempfile::TempDir,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    demo: Child,
}

impl Gate {
    pub fn start() -> Gate {
        Gate::start_with(&[])
    }

    pub fn start_with(more: &[&str]) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let (plain, secure) = (free(), free());
        let demo = demo(folder.path(), plain, secure, more);
        let gate = Gate { folder, plain, secure, demo };
        gate.is_open();
        gate
    }

    /// Waits until both listeners are open.
    fn is_open(&self) {
        let until = Instant::now() + TIMEOUT * 2;
        while [self.plain, self.secure].iter().any(|address| std::net::TcpStream::connect(address).is_err()) {
            assert!(Instant::now() < until, "the listeners open within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The process is killed without notice, and started again on its data.
    fn is_killed(&mut self) {
        self.demo.kill().unwrap();
        self.demo.wait().unwrap();
        self.demo = demo(self.folder.path(), self.plain, self.secure, &[]);
        self.is_open();
    }

    fn verb(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        let until = Instant::now() + TIMEOUT;
        loop {
            let output = self.command(arguments).output().unwrap();
            // The console opens a moment after the listeners, and shows the gate a moment later.
            let is_starting = String::from_utf8_lossy(&output.stderr).contains("the gate is starting");
            let is_early = output.status.code() == Some(75) || is_starting;
            if !is_early || Instant::now() > until {
                return output;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The same, beside a charger that answers.
    fn ordering(&self, arguments: &[&str]) -> std::thread::JoinHandle<std::process::Output> {
        let mut command = self.command(arguments);
        std::thread::spawn(move || command.output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
        command.args(arguments).args(["--json", "--data"]).arg(self.folder.path().join("demo"));
        command
    }

    /// The one session of a charger, once it is closed and its money is settled.
    pub fn closed_session_of(&self, charger: &str) -> Value {
        let until = Instant::now() + TIMEOUT;
        loop {
            let sessions = self.sessions_of(charger);
            let [session] = sessions.as_slice() else { panic!("one session: {sessions:?}") };
            if session["state"] == "closed" && session["held"] == "0.00" {
                return session.clone();
            }
            assert!(Instant::now() < until, "it is settled within {TIMEOUT:?}: {session}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The directory of the demonstration.
    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("demo")
    }

    /// A folder with a new certificate of this charger, its key and the authorities.
    pub fn certificate(&self, charger: &str) -> PathBuf {
        let issued = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(["cert", "issue", "charger", charger, "--pki"])
            .arg(self.directory().join("pki"))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
        self.folder.path().join(charger)
    }

    fn sessions_of(&self, charger: &str) -> Vec<Value> {
        let list = self.verb(&["session", "ls"]);
        let sessions = list["items"].as_array().unwrap();
        sessions.iter().filter(|session| session["charger"] == charger).cloned().collect()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

/// An address that nothing listens at.
fn free() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn demo(folder: &Path, plain: SocketAddr, secure: SocketAddr, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["demo", "--quiet", "--chargers", "0", "--speed", "1", "--for", "10min", "--data"])
        .arg(folder.join("demo"))
        .args(["--ocpp", &plain.to_string(), "--ocpp-tls", &secure.to_string()])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A charger that a test drives call by call.
pub struct Charger {
    socket: Socket,
    opened: Opened,
    calls: u32,
    /// Calls of the gate, which were answered with "Accepted".
    orders: Vec<(String, Value)>,
}

impl Charger {
    pub async fn dial(address: SocketAddr, id: &str, version: &str) -> Charger {
        Charger::open(Socket::plain(TcpStream::connect(address).await.unwrap()), id, version).await
    }

    pub async fn open(socket: Socket, id: &str, version: &str) -> Charger {
        Charger::open_as(socket, id, version, None).await
    }

    /// The same with a password.
    pub async fn open_as(mut socket: Socket, id: &str, version: &str, password: Option<&str>) -> Charger {
        let path = format!("/ocpp/{id}");
        let protocols = [version];
        let wanted = Wanted {
            host: "localhost",
            path: &path,
            protocols: &protocols,
            basic: password.map(|password| (id, password)),
            compression: true,
            nonce: [3; 16],
        };
        let opened = open_websocket(&mut socket, wanted, 1 << 20).await.unwrap();
        assert_eq!(opened.protocol.as_deref(), Some(version));
        Charger { socket, opened, calls: 0, orders: Vec::new() }
    }

    async fn sends(&mut self, message: &Value) {
        let mut out = Vec::new();
        self.opened.websocket.sender().text(&message.to_string(), &mut out);
        self.socket.write_all(&out).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// The answer to a call. Calls of the gate that come before are answered and noted.
    pub async fn calls(&mut self, action: &str, payload: Value) -> Value {
        self.calls += 1;
        let id = format!("c{}", self.calls);
        self.sends(&json!([2, id, action, payload])).await;
        loop {
            let message = self.receives().await;
            if message[0] == 3 && message[1] == id {
                return message[2].clone();
            }
            assert_eq!(message[0], 2, "an answer to something else: {message}");
        }
    }

    /// The next message; a call of the gate is answered and noted.
    async fn receives(&mut self) -> Value {
        let mut bytes = std::mem::take(&mut self.opened.early);
        loop {
            let (mut texts, mut reply) = (Vec::new(), Vec::new());
            let outcome = self.opened.websocket.receive(&bytes, &mut reply, |incoming| {
                if let Incoming::Text(text) = incoming {
                    texts.push(serde_json::from_str::<Value>(text).unwrap());
                }
            });
            outcome.unwrap();
            self.socket.write_all(&reply).await.unwrap();
            let mut last = None;
            for message in texts {
                if message[0] == 2 {
                    self.orders.push((message[2].as_str().unwrap().to_owned(), message[3].clone()));
                    self.sends(&json!([3, message[1], { "status": "Accepted" }])).await;
                }
                last = last.filter(|kept: &Value| kept[0] != 2).or(Some(message));
            }
            if let Some(message) = last {
                return message;
            }
            bytes.resize(16 * 1_024, 0);
            let fresh = tokio::time::timeout(TIMEOUT, self.socket.read(&mut bytes)).await;
            let fresh = fresh.expect("an answer in time").unwrap();
            assert!(fresh > 0, "the gate closed the connection");
            bytes.truncate(fresh);
        }
    }

    /// The payload of the next order of this kind.
    pub async fn is_ordered(&mut self, action: &str) -> Value {
        loop {
            if let Some(place) = self.orders.iter().position(|(ordered, _)| ordered == action) {
                return self.orders.remove(place).1;
            }
            self.receives().await;
        }
    }

    /// A reading of OCPP 1.6, in watt hours.
    pub async fn meters(&mut self, transaction: &Value, wh: i64) {
        let reading = json!({ "timestamp": now(), "sampledValue": [{ "value": wh.to_string() }] });
        let payload = json!({ "connectorId": 1, "transactionId": transaction, "meterValue": [reading] });
        assert_eq!(self.calls("MeterValues", payload).await, json!({}));
    }

    pub async fn starts(&mut self, token: &str, at: &str) -> Value {
        let payload = json!({ "connectorId": 1, "idTag": token, "meterStart": 1_000, "timestamp": at });
        self.calls("StartTransaction", payload).await
    }

    /// An event of OCPP 2.0.1.
    async fn reports(&mut self, kind: &str, number: u32, wh: i64, more: Value) -> Value {
        let mut event = json!({
            "eventType": kind, "timestamp": now(), "triggerReason": "MeterValuePeriodic", "seqNo": number,
            "transactionInfo": { "transactionId": "tx-1" }, "evse": { "id": 1, "connectorId": 1 },
            "meterValue": [{ "timestamp": now(), "sampledValue": [{ "value": wh }] }],
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.calls("TransactionEvent", event).await
    }
}

pub fn now() -> String {
    wall_clock().to_rfc3339()
}

pub fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_charger_of_1_6_charges_and_its_account_pays_what_the_receipt_says() {
    let gate = Gate::start();
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-16", "ocpp1.6").await;
        let boot = json!({ "chargePointModel": "M", "chargePointVendor": "V" });
        assert_eq!(charger.calls("BootNotification", boot).await["status"], "Accepted");
        let started = charger.starts("ACCT-0001", &now()).await;
        assert_eq!(started["idTagInfo"]["status"], "Accepted", "{started}");
        let transaction = started["transactionId"].clone();
        assert!(transaction.as_i64().is_some_and(|id| id > 0), "{started}");
        for wh in [1_010, 1_020, 1_030] {
            charger.meters(&transaction, wh).await;
        }
        let stop =
            json!({ "transactionId": transaction, "meterStop": 1_040, "timestamp": now(), "idTag": "ACCT-0001" });
        let stopped = charger.calls("StopTransaction", stop.clone()).await;
        assert_eq!(stopped["idTagInfo"]["status"], "Accepted", "{stopped}");
        assert_eq!(charger.calls("StopTransaction", stop).await["idTagInfo"]["status"], "Accepted", "again");
    });
    let session = gate.closed_session_of("CP-16");
    assert_eq!((&session["energy_kwh"], &session["protocol"]), (&json!("0.04"), &json!("ocpp1.6")), "{session}");
    // 0.50 and 0.04 kWh of 0.42 (by night 0.36), with 21 % tax.
    assert!(["0.63", "0.62"].iter().any(|amount| session["captured"] == *amount), "{session}");
    let account = gate.verb(&["account", "show", "ACCT-0001"]);
    assert!(["999.37", "999.38"].iter().any(|amount| account["available"] == *amount), "{account}");
}

#[test]
fn an_operator_starts_a_session_from_afar_and_stops_it() {
    let gate = Gate::start();
    let refused = gate.run(&["charger", "start", "CP-AWAY", "1", "--token", "ACCT-0002"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-RC", "ocpp1.6").await;
        charger.calls("BootNotification", json!({ "chargePointModel": "M", "chargePointVendor": "V" })).await;
        let unknown = gate.ordering(&["charger", "start", "CP-RC", "1", "--token", "NOBODYS-CARD"]);
        assert_eq!(unknown.join().unwrap().status.code(), Some(4), "a token that would be refused is not sent");
        let started = gate.ordering(&["charger", "start", "CP-RC", "1", "--token", "ACCT-0002", "--wait", "30s"]);
        let order = charger.is_ordered("RemoteStartTransaction").await;
        assert_eq!(order, json!({ "idTag": "ACCT-0002", "connectorId": 1 }));
        let begun = charger.starts("ACCT-0002", &now()).await;
        assert_eq!(begun["idTagInfo"]["status"], "Accepted", "{begun}");
        let started = started.join().unwrap();
        let started: Value = serde_json::from_slice(&started.stdout).unwrap();
        assert_eq!(started["accepted"], true, "{started}");
        let session = started["session"].as_str().unwrap().to_owned();
        charger.meters(&begun["transactionId"], 1_010).await;
        let occupied = gate.run(&["charger", "start", "CP-RC", "1", "--token", "ACCT-0003"]);
        assert_eq!(occupied.status.code(), Some(4), "{occupied:?}");
        let stopping = gate.ordering(&["session", "stop", &session]);
        let stop = charger.is_ordered("RemoteStopTransaction").await;
        assert_eq!(stop["transactionId"], begun["transactionId"]);
        assert!(stopping.join().unwrap().status.success());
        let stop = json!({ "transactionId": begun["transactionId"], "meterStop": 1_020, "timestamp": now(), "reason": "Remote" });
        charger.calls("StopTransaction", stop).await;
    });
    let session = gate.closed_session_of("CP-RC");
    assert_eq!(session["energy_kwh"], "0.02", "{session}");
}

#[test]
fn a_charger_of_2_0_1_over_mutual_tls_is_shown_the_cost_that_is_captured() {
    let gate = Gate::start();
    let certificate = gate.certificate("CP-201");
    let issued = |name: &str| certificate.join(name);
    let (chain, key) = (read_certificates(&issued("charger.pem")).unwrap(), read_key(&issued("key.pem")).unwrap());
    let roots = read_certificates(&issued("ca.pem")).unwrap();
    let connector = Connector::new(&Trust::new(&roots, "localhost").unwrap(), Certified { chain, key }).unwrap();
    let total = in_runtime(async {
        let mut other = connector.connect(gate.secure).await.unwrap();
        let protocols = ["ocpp2.0.1"];
        let wanted = Wanted {
            host: "localhost",
            path: "/ocpp/CP-202",
            protocols: &protocols,
            basic: None,
            compression: false,
            nonce: [3; 16],
        };
        let denied = open_websocket(&mut other, wanted, 1_000).await;
        assert!(denied.is_err_and(|error| error.to_string().ends_with("403")), "another charger's address");

        let mut charger = Charger::open(connector.connect(gate.secure).await.unwrap(), "CP-201", "ocpp2.0.1").await;
        let boot = json!({ "reason": "PowerUp", "chargingStation": { "model": "M", "vendorName": "V" } });
        assert_eq!(charger.calls("BootNotification", boot).await["status"], "Accepted");
        let token = json!({ "idToken": { "idToken": "ACCT-0002", "type": "ISO14443" } });
        let started = charger.reports("Started", 0, 1_000, token).await;
        assert_eq!(started["idTokenInfo"]["status"], "Accepted", "{started}");
        charger.reports("Updated", 1, 1_020, json!({})).await;
        let ended = charger.reports("Ended", 2, 1_040, json!({})).await;
        ended["totalCost"].clone()
    });
    let session = gate.closed_session_of("CP-201");
    assert_eq!(session["protocol"], "ocpp2.0.1", "{session}");
    assert_eq!(format!("{:.2}", total.as_f64().unwrap()), session["captured"].as_str().unwrap(), "{session}");
}

#[test]
fn an_account_with_one_euro_is_stopped_before_its_money_ends() {
    let gate = Gate::start();
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-POOR", "ocpp1.6").await;
        let started = charger.starts("ACCT-POOR", &now()).await;
        assert_eq!(started["idTagInfo"]["status"], "Accepted", "{started}");
        let transaction = started["transactionId"].clone();
        let mut wh = 1_000;
        let until = Instant::now() + TIMEOUT;
        while charger.orders.is_empty() {
            assert!(Instant::now() < until, "it is ordered to stop");
            // 288 kW.
            tokio::time::sleep(Duration::from_millis(500)).await;
            wh += 40;
            charger.meters(&transaction, wh).await;
        }
        assert_eq!(charger.orders[0], ("RemoteStopTransaction".to_owned(), json!({ "transactionId": transaction })));
        let stop = json!({ "transactionId": transaction, "meterStop": wh, "timestamp": now(), "reason": "Remote" });
        charger.calls("StopTransaction", stop).await;
    });
    let session = gate.closed_session_of("CP-POOR");
    let captured = session["captured"].as_str().unwrap();
    assert!(("0.60".."1.01").contains(&captured), "{session}");
    for (token, status) in [("ACCT-NONE", "Blocked"), ("RFID-BLOCKED", "Blocked"), ("NOBODY", "Invalid")] {
        let started = in_runtime(async {
            let mut charger = Charger::dial(gate.plain, "CP-NONE", "ocpp1.6").await;
            charger.starts(token, &now()).await
        });
        assert_eq!(started["idTagInfo"]["status"], status, "{token}: {started}");
    }
}

#[test]
fn energy_after_a_refused_start_is_listed_for_review_and_billed_by_an_order() {
    let gate = Gate::start();
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-REVIEW", "ocpp1.6").await;
        let started = charger.starts("NOBODY", &now()).await;
        assert_eq!(started["idTagInfo"]["status"], "Invalid", "{started}");
        let transaction = started["transactionId"].clone();
        charger.meters(&transaction, 1_050).await;
        let stop = json!({ "transactionId": transaction, "meterStop": 1_100, "timestamp": now() });
        charger.calls("StopTransaction", stop).await;
        assert_eq!(charger.orders, [("RemoteStopTransaction".to_owned(), json!({ "transactionId": transaction }))]);
    });
    let session = gate.closed_session_of("CP-REVIEW");
    let id = session["id"].as_str().unwrap();
    assert_eq!((&session["flags"], &session["captured"]), (&json!(["quarantined"]), &json!("0.00")), "{session}");
    let listed = gate.verb(&["session", "quarantine", "ls"]);
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["quarantined_kwh"]), (&json!(id), &json!("0.1")));
    let order = ["session", "quarantine", "release", id, "--account", "ACCT-0002"];
    let dry = gate.verb(&[&order[..], &["--dry-run"]].concat());
    assert_eq!((&dry["dry_run"], &dry["energy_kwh"]), (&json!(true), &json!("0.1")), "{dry}");
    for _ in 0..2 {
        let released = gate.verb(&order);
        assert_eq!((&released["ruling"], &released["energy_kwh"]), (&json!("released"), &json!("0.1")), "{released}");
    }
    let until = Instant::now() + TIMEOUT;
    while gate.closed_session_of("CP-REVIEW")["captured"] != dry["payable"] {
        assert!(Instant::now() < until, "it is captured: {dry}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let account = gate.verb(&["account", "show", "ACCT-0002"]);
    assert_ne!(account["available"], "1000.00", "{account}");
    let sheet = gate.verb(&["session", "show", id]);
    assert_eq!((&sheet["quarantine"]["ruling"], &sheet["flags"]), (&json!("released"), &json!([])), "{sheet}");
    assert_eq!(gate.verb(&["session", "quarantine", "ls"])["items"], json!([]));
}

/// Number of kills; more by `WATTSTILE_OCPP_KILLS`.
fn kills() -> u32 {
    std::env::var("WATTSTILE_OCPP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn killed_the_moment_an_answer_leaves_the_gate_has_what_it_acknowledged() {
    let mut gate = Gate::start();
    let at = now();
    let mut wh = 1_000;
    let mut transaction = Value::Null;
    for kill in 0..kills() {
        in_runtime(async {
            let mut charger = Charger::dial(gate.plain, "CP-KILL", "ocpp1.6").await;
            // The same start again, since its answer may have been lost.
            let started = charger.starts("ACCT-0004", &at).await;
            assert_eq!(started["idTagInfo"]["status"], "Accepted", "{started}");
            if kill > 0 {
                assert_eq!(started["transactionId"], transaction, "one session, one number");
            }
            transaction = started["transactionId"].clone();
            if kill % 2 == 1 {
                wh += 10;
                charger.meters(&transaction, wh).await;
            }
        });
        gate.is_killed();
        let sessions = gate.sessions_of("CP-KILL");
        let [session] = sessions.as_slice() else { panic!("one session: {sessions:?}") };
        let kwh: f64 = session["energy_kwh"].as_str().unwrap().parse().unwrap();
        assert!((kwh * 1_000.0 - (wh - 1_000) as f64).abs() < 0.001, "{wh}: {session}");
    }
    let stop = json!({ "transactionId": transaction, "meterStop": wh + 10, "timestamp": now() });
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-KILL", "ocpp1.6").await;
        charger.calls("StopTransaction", stop.clone()).await;
    });
    gate.is_killed();
    in_runtime(async {
        let mut charger = Charger::dial(gate.plain, "CP-KILL", "ocpp1.6").await;
        charger.calls("StopTransaction", stop).await;
    });
    let captured = gate.closed_session_of("CP-KILL")["captured"].clone();
    let account = gate.verb(&["account", "show", "ACCT-0004"]);
    let paid: f64 = 1_000.0 - account["available"].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(format!("{paid:.2}"), captured.as_str().unwrap(), "charged once: {account}");
}

#[test]
fn a_served_gate_lets_chargers_in_by_certificate_or_by_password() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("ocpp.passwords");
    let password = |charger: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(["ocpp", "password", charger, "--json", "--file"])
            .arg(&passwords)
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["password"].as_str().unwrap().to_owned()
    };
    let secret = password("CP-1");
    let (secure, plain) = (free(), free());
    let set = [
        format!("ocpp.listen={secure}"),
        format!("ocpp.insecure_listen={plain}"),
        format!("ocpp.passwords_file={}", passwords.display()),
    ];
    let mut gate = Served::start(&set.each_ref().map(String::as_str));
    let own = gate.certified(&charger("CP-2"));
    let named = Connector::new(gate.trust(), own).unwrap();
    let unnamed = Connector::nameless(gate.trust()).unwrap();
    let opens = |mut socket: Socket, id: &'static str, secret: Option<String>| async move {
        let (path, protocols) = (format!("/ocpp/{id}"), ["ocpp2.0.1"]);
        let basic = secret.as_deref().map(|secret| (id, secret));
        let wanted =
            Wanted { host: "localhost", path: &path, protocols: &protocols, basic, compression: true, nonce: [3; 16] };
        open_websocket(&mut socket, wanted, 1_000).await.map(|_| ()).map_err(|error| error.to_string())
    };
    let ends = |outcome: Result<(), String>, status: &str| outcome.is_err_and(|error| error.ends_with(status));
    in_runtime(async {
        let tcp = || async { Socket::plain(TcpStream::connect(plain).await.unwrap()) };
        // A certificate is enough, and counts only for its own charger.
        assert_eq!(opens(named.connect(secure).await.unwrap(), "CP-2", None).await, Ok(()));
        assert!(ends(opens(named.connect(secure).await.unwrap(), "CP-1", Some(secret.clone())).await, "403"));
        // So is a password, with TLS and, on this machine, without.
        assert_eq!(opens(unnamed.connect(secure).await.unwrap(), "CP-1", Some(secret.clone())).await, Ok(()));
        assert_eq!(opens(tcp().await, "CP-1", Some(secret.clone())).await, Ok(()));
        assert!(ends(opens(unnamed.connect(secure).await.unwrap(), "CP-1", Some("guess".to_owned())).await, "401"));
        assert!(ends(opens(unnamed.connect(secure).await.unwrap(), "CP-2", None).await, "404"));
        assert!(ends(opens(tcp().await, "CP-9", Some(secret.clone())).await, "404"));
        // A new password counts at once, and the old one does not any more.
        let fresh = password("CP-1");
        assert!(ends(opens(tcp().await, "CP-1", Some(secret)).await, "401"));
        assert_eq!(opens(tcp().await, "CP-1", Some(fresh)).await, Ok(()));
    });
    assert_eq!(gate.terminate(), Some(0), "{}", gate.log());
}

#[test]
fn a_charger_with_a_password_shows_it() {
    let gate = Gate::start();
    let folder = gate.folder.path().join("demo/ocpp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("CP-KEY.password"), "correct horse\n").unwrap();
    let protocols = ["ocpp1.6"];
    let opens = |basic| async move {
        let mut socket = Socket::plain(TcpStream::connect(gate.plain).await.unwrap());
        let wanted = Wanted {
            host: "localhost",
            path: "/ocpp/CP-KEY",
            protocols: &protocols,
            basic,
            compression: false,
            nonce: [3; 16],
        };
        open_websocket(&mut socket, wanted, 1_000).await.map(|_| ()).map_err(|error| error.to_string())
    };
    in_runtime(async {
        assert_eq!(opens(Some(("CP-KEY", "correct horse"))).await, Ok(()));
        for wrong in [None, Some(("CP-KEY", "guess")), Some(("CP-OTHER", "correct horse"))] {
            assert!(opens(wrong).await.is_err_and(|error| error.ends_with("401")), "{wrong:?}");
        }
    });
}

#[test]
fn a_third_of_the_demonstrations_chargers_speak_ocpp() {
    let folder = tempfile::tempdir().unwrap();
    let verb = |arguments: &[&str]| -> Value {
        let output =
            Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let demo = verb(&["demo", "--dir", "d", "--chargers", "12", "--speed", "300", "--for", "10s", "--json"]);
    assert_eq!((&demo["chargers"], &demo["ocpp_chargers"]), (&json!(12), &json!(3)), "{demo}");
    assert!(demo["ocpp_sessions_ended"].as_u64().unwrap() >= 3, "{demo}");
    for none in ["sessions_open", "held_minor", "shortfall_minor", "books_imbalance_minor"] {
        assert_eq!(demo[none], 0, "{none} in {demo}");
    }
    let listed = verb(&["session", "ls", "--limit", "1000", "--json", "--data", "d"]);
    for protocol in ["native", "ocpp1.6", "ocpp2.0.1", "ocpp2.1"] {
        let paid = |session: &&Value| session["protocol"] == protocol && session["captured"] != "0.00";
        let sessions = listed["items"].as_array().unwrap();
        assert!(sessions.iter().filter(paid).count() > 0, "{protocol} in {listed}");
    }
}

#[test]
fn ocpp_chargers_of_the_load_generator_lose_nothing_and_come_back_after_a_cut() {
    let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["bench", "--ocpp", "--connections", "20", "--rate", "200", "--for", "2s", "--storm", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!((&report["mode"], &report["sessions_live"], &report["lost"]), (&json!("ocpp"), &json!(20), &json!(0)));
    assert!(report["readings_recorded"].as_u64().unwrap() >= 380, "{report}");
    let storm = &report["storm"];
    assert_eq!((&storm["returned"], &storm["sessions_failed"]), (&json!(20), &json!(0)), "{report}");
    assert!(report["native"]["ocpp_percent"].as_u64().unwrap() >= 50, "{report}");
}

/// A meter that signs in the Open Charge Metering Format.
struct Meter {
    pair: EcdsaKeyPair,
}

impl Meter {
    fn new() -> Meter {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Meter { pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap() }
    }

    fn key(&self) -> String {
        hex::encode(self.pair.public_key().as_ref())
    }

    fn signs(&self, from_kwh: &str, to_kwh: &str) -> String {
        let payload = format!(
            r#"{{"FV":"1.0","PG":"T1","RD":[{{"TM":"2026-09-21T12:00:00,000+0200 S","TX":"B","RV":{from_kwh},"RU":"kWh"}},{{"TX":"E","RV":{to_kwh}}}]}}"#
        );
        let signature = self.pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        format!(r#"OCMF|{payload}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"{}"}}"#, hex::encode(signature.as_ref()))
    }
}

#[test]
fn what_a_meter_signed_is_kept_verified_and_handed_to_the_driver() {
    let (mut gate, meter, other) = (Gate::start(), Meter::new(), Meter::new());
    let key_file = gate.folder.path().join("meter.hex");
    std::fs::write(&key_file, meter.key()).unwrap();
    let registered = gate.verb(&["charger", "meter-key", "CP-SIGNS", key_file.to_str().unwrap()]);
    assert_eq!(registered["meter_key"]["is_verifiable"], true, "{registered}");
    std::fs::write(&key_file, "no key").unwrap();
    let refused = gate.run(&["charger", "meter-key", "CP-SIGNS", key_file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    // The key is a fact: it is there after a kill.
    gate.is_killed();
    let (text, foreign) = (meter.signs("1.0", "1.02"), other.signs("1.0", "1.02"));
    in_runtime(async {
        for (id, text) in [("CP-SIGNS", &text), ("CP-UNKNOWN", &text)] {
            let mut charger = Charger::dial(gate.plain, id, "ocpp1.6").await;
            let started = charger.starts("ACCT-0005", &now()).await;
            let transaction = &started["transactionId"];
            charger.meters(transaction, 1_010).await;
            let signed = json!({ "value": text, "format": "SignedData", "context": "Transaction.End" });
            let data = json!([{ "timestamp": now(), "sampledValue": [{ "value": "1020" }, signed] }]);
            let stop = json!({ "transactionId": transaction, "meterStop": 1_020, "timestamp": now(), "transactionData": data });
            charger.calls("StopTransaction", stop).await;
        }
        let mut charger = Charger::dial(gate.plain, "CP-SIGNS", "ocpp2.0.1").await;
        let token = json!({ "idToken": { "idToken": "ACCT-0006", "type": "ISO14443" } });
        charger.reports("Started", 0, 1_020, token).await;
        let data = base64::engine::general_purpose::STANDARD.encode(&foreign);
        let signed =
            json!({ "signedMeterData": data, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": other.key() });
        let value = json!({ "timestamp": now(), "sampledValue": [{ "value": 1_030, "signedMeterValue": signed }] });
        charger.reports("Ended", 1, 1_030, json!({ "meterValue": [value] })).await;
    });
    let mut by_flag = std::collections::BTreeMap::new();
    for charger in ["CP-SIGNS", "CP-UNKNOWN"] {
        for session in gate.sessions_of(charger) {
            let id = session["id"].as_str().unwrap().to_owned();
            let shown = gate.verb(&["session", "show", &id]);
            let verification = shown["signed_values"][0]["verification"].as_str().unwrap().to_owned();
            assert_eq!(session["energy_kwh"], if verification == "forged" { "0.01" } else { "0.02" }, "{session}");
            by_flag.insert(verification, (id, session["flags"].clone()));
        }
    }
    let flag_of = |verification: &str| by_flag[verification].1.clone();
    assert_eq!(flag_of("verified"), json!(["signed_verified"]));
    assert_eq!(flag_of("no_key"), json!(["signed_unverified"]));
    assert_eq!(flag_of("forged"), json!(["signed_unverified"]), "a key that comes along proves nothing");
    let exported = gate.verb(&["receipt", "show", &by_flag["verified"].0, "--signed-values"]);
    assert_eq!(exported["values"][0]["data"], text.as_str(), "byte for byte");
    assert!(exported["meter_key"]["der"].as_str().unwrap().ends_with(&meter.key()));
}
