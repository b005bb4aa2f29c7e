//! A management system behind the gate: chargers that speak OCPP with both.

use crate::ocpp::{Charger, Gate, TIMEOUT, in_runtime, now};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::transport::Socket;
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
    async fn accept(listener: &tokio::net::TcpListener, path: &str) -> Csms {
        let (tcp, _) = tokio::time::timeout(TIMEOUT, listener.accept()).await.expect("the gate dials it").unwrap();
        let mut socket = Socket::plain(tcp);
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
        Csms { socket, websocket, pending: received.split_off(length), calls: Vec::new() }
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
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
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
