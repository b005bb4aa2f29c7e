//! A management system behind the gate: chargers that speak OCPP with both.

use crate::common::Served;
use crate::ocpp::{Charger, Gate, TIMEOUT, in_runtime, now};
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wattstile::transport::Socket;
use wattstile::transport::files::{read_certificates, read_key};
use wattstile::transport::pki_folder::PkiFolder;
use wattstile::transport::tls::provider;
use wattstile::transport::websocket::{End, Incoming, Request, WebSocket};

/// A management system, which answers every call of one charger.
struct Csms {
    socket: Socket,
    websocket: WebSocket,
    pending: Vec<u8>,
    /// Calls that came, whole.
    calls: Vec<Value>,
}

impl Csms {
    async fn accept(listener: &TcpListener, path: &str) -> Csms {
        let (tcp, _) = tokio::time::timeout(TIMEOUT, listener.accept()).await.expect("the gate dials it").unwrap();
        let (csms, _) = Csms::upgrade(Socket::plain(tcp), path).await;
        csms
    }

    /// The same on this connection, with what the gate has shown: user and password.
    async fn upgrade(mut socket: Socket, path: &str) -> (Csms, Option<(String, Vec<u8>)>) {
        let mut received = Vec::new();
        let (request, length) = loop {
            if let Some(read) = Request::read(&received).unwrap() {
                break read;
            }
            let mut room = [0; 2_048];
            let fresh = socket.read(&mut room).await.unwrap();
            received.extend_from_slice(&room[..fresh]);
        };
        assert_eq!(request.path, path);
        let mut answer = Vec::new();
        request.accept(Some(&request.protocols[0]), false, &mut answer);
        socket.write_all(&answer).await.unwrap();
        socket.flush().await.unwrap();
        let websocket = WebSocket::new(End::Server, false, 1 << 20, 0);
        (Csms { socket, websocket, pending: received.split_off(length), calls: Vec::new() }, request.basic)
    }

    async fn sends(&mut self, message: &Value) {
        let mut out = Vec::new();
        self.websocket.sender().text(&message.to_string(), &mut out);
        self.socket.write_all(&out).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// The next message that has not come yet.
    async fn receives(&mut self) -> Value {
        while self.calls.is_empty() {
            let mut reply = Vec::new();
            let calls = &mut self.calls;
            let outcome = self.websocket.receive(&self.pending, &mut reply, |incoming| {
                if let Incoming::Text(text) = incoming {
                    calls.push(serde_json::from_str(text).unwrap());
                }
            });
            outcome.unwrap();
            self.socket.write_all(&reply).await.unwrap();
            self.pending.clear();
            if self.calls.is_empty() {
                self.pending.resize(16 * 1_024, 0);
                let fresh = tokio::time::timeout(TIMEOUT, self.socket.read(&mut self.pending)).await;
                let fresh = fresh.expect("a message in time").unwrap();
                assert!(fresh > 0, "the gate closed the connection");
                self.pending.truncate(fresh);
            }
        }
        self.calls.remove(0)
    }
}

#[test]
fn a_management_system_behind_the_gate_gets_what_is_not_about_money_and_calls_the_charger() {
    in_runtime(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("ws://{}/csms", listener.local_addr().unwrap());
        let gate = Gate::start_with(&["--ocpp-forward", &url]);
        let mut charger = Charger::dial(gate.plain, "CP-BEHIND", "ocpp1.6").await;
        let mut csms = Csms::accept(&listener, "/csms/CP-BEHIND").await;
        let boot = json!({ "chargePointModel": "M", "chargePointVendor": "V" });
        assert_eq!(charger.calls("BootNotification", boot).await["status"], "Accepted");
        let copy = csms.receives().await;
        assert_eq!(
            (&copy[0], &copy[2], &copy[3]["chargePointVendor"]),
            (&json!(2), &json!("BootNotification"), &json!("V"))
        );
        // What is not about money is answered there.
        let asked = charger.calls("DataTransfer", json!({ "vendorId": "acme", "data": "7" }));
        let answers = async {
            let call = csms.receives().await;
            assert_eq!((&call[2], &call[3]["data"]), (&json!("DataTransfer"), &json!("7")));
            csms.sends(&json!([3, call[1], { "status": "Accepted", "data": "8" }])).await;
        };
        let (answer, ()) = tokio::join!(asked, answers);
        assert_eq!(answer, json!({ "status": "Accepted", "data": "8" }));
        // Its calls reach the charger, whose answer comes back under its own id.
        csms.sends(&json!([2, "m1", "ClearCache", {}])).await;
        charger.is_ordered("ClearCache").await;
        assert_eq!(csms.receives().await, json!([3, "m1", { "status": "Accepted" }]));
        // Money is answered here, also when it is away.
        let started = charger.starts("ACCT-0004", &now()).await;
        assert_eq!(started["idTagInfo"]["status"], "Accepted", "{started}");
        drop(csms);
        charger.meters(&started["transactionId"], 1_010).await;
        let mut answer = json!({});
        let until = Instant::now() + TIMEOUT;
        while answer["status"] != "UnknownVendorId" && Instant::now() < until {
            answer = charger.calls("DataTransfer", json!({ "vendorId": "acme" })).await;
        }
        assert_eq!(answer["status"], "UnknownVendorId", "the gate answers itself");
        let mut csms = Csms::accept(&listener, "/csms/CP-BEHIND").await;
        charger.calls("Heartbeat", json!({})).await;
        assert_eq!(csms.receives().await[2], "Heartbeat", "it is dialled again");
        let stop = json!({ "transactionId": started["transactionId"], "meterStop": 1_020, "timestamp": now() });
        charger.calls("StopTransaction", stop).await;
        let session = gate.closed_session_of("CP-BEHIND");
        assert_eq!(session["energy_kwh"], "0.02", "{session}");
    });
}

/// A management system's own authority below a folder, and the TLS of its server.
fn authority(folder: &Path, name: &str) -> Arc<ServerConfig> {
    let folder = folder.join(name);
    let at = wattstile::host::wall_clock();
    PkiFolder::open_or_create(&folder, "csms.test", &["localhost".to_owned()], at).unwrap();
    let (chain, key) =
        (read_certificates(&folder.join("server.pem")).unwrap(), read_key(&folder.join("server.key")).unwrap());
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// A gate before a management system at `wss://`, and a charger with its password.
struct Before {
    gate: Served,
    csms: TcpListener,
    charger: Charger,
}

async fn before(folder: &Path, authority: &str) -> Before {
    let passwords = folder.join("ocpp.passwords");
    let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["ocpp", "password", "CP-1", "--json", "--file"])
        .arg(&passwords)
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let csms = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let plain = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let set = [
        format!("ocpp.insecure_listen={plain}"),
        format!("ocpp.passwords_file={}", passwords.display()),
        format!("ocpp.forward=wss://localhost:{}/csms", csms.local_addr().unwrap().port()),
        format!("ocpp.forward_ca_file={}", folder.join(authority).join("root.pem").display()),
    ];
    let gate = Served::start(&set.each_ref().map(String::as_str));
    let socket = Socket::plain(TcpStream::connect(plain).await.unwrap());
    let charger = Charger::open_as(socket, "CP-1", "ocpp2.0.1", document["password"].as_str()).await;
    Before { gate, csms, charger }
}

#[test]
fn a_management_system_is_reached_by_tls_with_the_password_of_the_charger() {
    let folder = tempfile::tempdir().unwrap();
    let server = authority(folder.path(), "csms");
    in_runtime(async {
        let Before { gate: _gate, csms, mut charger } = before(folder.path(), "csms").await;
        let (tcp, _) = tokio::time::timeout(TIMEOUT, csms.accept()).await.expect("the gate dials it").unwrap();
        let mut socket = Socket::server(tcp, server).unwrap();
        socket.handshake().await.unwrap();
        let (mut csms, shown) = Csms::upgrade(socket, "/csms/CP-1").await;
        let (user, password) = shown.expect("a password");
        assert!(user == "CP-1" && password.len() >= 16, "{user}");
        let boot = json!({ "reason": "PowerUp", "chargingStation": { "vendorName": "V", "model": "M" } });
        assert_eq!(charger.calls("BootNotification", boot).await["status"], "Accepted");
        assert_eq!(csms.receives().await[2], "BootNotification");
        let asked = charger.calls("DataTransfer", json!({ "vendorId": "acme", "data": "7" }));
        let answers = async {
            let call = csms.receives().await;
            csms.sends(&json!([3, call[1], { "status": "Accepted", "data": "8" }])).await;
        };
        let (answer, ()) = tokio::join!(asked, answers);
        assert_eq!(answer, json!({ "status": "Accepted", "data": "8" }));
    });
}

#[test]
fn a_management_system_that_cannot_be_recognised_gets_nothing_and_the_charger_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = authority(folder.path(), "impostor");
    authority(folder.path(), "csms");
    in_runtime(async {
        let Before { gate, csms, mut charger } = before(folder.path(), "csms").await;
        let (tcp, _) = tokio::time::timeout(TIMEOUT, csms.accept()).await.expect("the gate dials it").unwrap();
        let mut socket = Socket::server(tcp, server).unwrap();
        assert!(socket.handshake().await.is_err(), "the gate ends the handshake");
        let boot = json!({ "reason": "PowerUp", "chargingStation": { "vendorName": "V", "model": "M" } });
        assert_eq!(charger.calls("BootNotification", boot).await["status"], "Accepted");
        let answer = charger.calls("DataTransfer", json!({ "vendorId": "acme" })).await;
        assert_eq!(answer["status"], "UnknownVendorId");
        let until = Instant::now() + TIMEOUT;
        while !gate.log().contains("the management system is away") {
            assert!(Instant::now() < until, "{}", gate.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
