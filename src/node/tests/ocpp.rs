//! OCPP chargers at a shard: text in, text out, and the money held, captured and remembered. The numbers in the names are those
//! of the rules in the manual's page on OCPP.

use super::*;
use crate::message::Received;
use crate::ocpp::{LinkSettings, OcppLink, Version};
use crate::session::{Session, Stage};
use serde_json::{Value, json};

mod concurrent;
mod left;
mod meter;
mod quarantine;
mod repeated;

/// A charger with its connection.
struct Station {
    scene: Scene,
    link: OcppLink,
    version: Version,
    calls: u32,
    /// Calls of the gate.
    ordered: Vec<(String, Value)>,
}

fn link(version: Version, now: Now) -> OcppLink {
    let settings = LinkSettings {
        charger: ChargerId::new("CP-1").unwrap(),
        version,
        power_max: Power::from_watts(22_000).unwrap(),
        heartbeat: TimeSpan::from_secs(300),
        is_forwarded: false,
    };
    OcppLink::new(settings, now)
}

impl Station {
    /// With the accounts `ACCT-0001` (1,000.00), `ACCT-POOR` (3.00), `ACCT-NONE` (0.00), and one that is closed, whose card is
    /// `BLOCKED`.
    fn new(version: Version) -> Station {
        Station::in_scene(Scene::new(), version)
    }

    fn in_scene(mut scene: Scene, version: Version) -> Station {
        for (account, minor) in [("ACCT-0001", 100_000), ("ACCT-POOR", 300), ("ACCT-NONE", 0), ("BLOCKED", 0)] {
            scene.order(account, |op| account::Command::Open {
                op,
                account: AccountId::new(account).unwrap(),
                currency: Currency::EUR,
                credit_limit: Amount::zero(Currency::EUR),
            });
            if minor > 0 {
                let amount = Amount::new(minor, Currency::EUR);
                scene.order(account, |op| account::Command::TopUp { op, amount, source: account::TopUpSource::Bank });
            }
            let token = account.as_bytes().into();
            let credential = scene.shard.node_config().mark(&Credential { kind: CredentialKind::Rfid, token });
            scene.order(account, |op| account::Command::LinkCredential { op, credential });
        }
        scene.order("BLOCKED", |op| account::Command::Close { op });
        Station::on(scene, version)
    }

    fn on(scene: Scene, version: Version) -> Station {
        let link = link(version, scene.now);
        let mut station = Station { scene, link, version, calls: 0, ordered: Vec::new() };
        let reply = station.wakes();
        station.sort_out(reply);
        station
    }

    /// The connection is lost, and the charger comes back.
    fn reconnects(self) -> Station {
        let Station { mut scene, version, calls, .. } = self;
        scene.shard.disconnected(scene.link.connection);
        scene.link.connection.0 += 1;
        Station { calls, ..Station::on(scene, version) }
    }

    /// The gate is killed and starts again.
    fn crash(self) -> Station {
        let Station { scene, version, calls, .. } = self;
        Station { calls, ..Station::on(scene.crash(), version) }
    }

    fn wakes(&mut self) -> Vec<String> {
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        while self.link.next_deadline().is_some_and(|at| at <= self.scene.now.mono) {
            self.link.on_deadline(self.scene.now, &mut messages, &mut reply).unwrap();
            self.deliver(std::mem::take(&mut messages), &mut reply);
        }
        reply
    }

    fn deliver(&mut self, messages: Vec<Received<FromCharger>>, reply: &mut Vec<String>) {
        for Received { message, .. } in messages {
            match message {
                FromCharger::Hello(hello) => {
                    self.scene.shard.hello(self.scene.link, &hello, self.scene.now).unwrap();
                    self.scene.settle();
                }
                message => self.scene.send(message),
            }
        }
        for message in self.scene.received() {
            self.link.send(&message, self.scene.now, reply);
        }
    }

    /// Says a text, and returns the answers; calls of the gate are accepted and kept.
    fn send(&mut self, text: &str) -> Vec<Value> {
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        self.link.receive(text.as_bytes(), self.scene.now, &mut messages, &mut reply).unwrap();
        self.deliver(messages, &mut reply);
        reply.extend(self.wakes());
        self.sort_out(reply)
    }

    fn sort_out(&mut self, reply: Vec<String>) -> Vec<Value> {
        let mut answers = Vec::new();
        for text in reply {
            let frame: Vec<Value> = serde_json::from_str(&text).unwrap();
            match frame[0].as_i64() {
                Some(2) => {
                    self.ordered.push((frame[2].as_str().unwrap().to_owned(), frame[3].clone()));
                    let answer = json!([3, frame[1], {"status": "Accepted"}]).to_string();
                    answers.extend(self.send(&answer));
                }
                Some(3) => answers.push(frame[2].clone()),
                _ => panic!("{text}"),
            }
        }
        answers
    }

    /// Calls, and returns the one answer.
    fn calls(&mut self, action: &str, payload: &Value) -> Value {
        self.calls += 1;
        let text = json!([2, format!("m{}", self.calls), action, payload]).to_string();
        let answers = self.send(&text);
        let [answer] = &answers[..] else { panic!("{action} {payload}: {answers:?}") };
        answer.clone()
    }

    fn pass(&mut self, seconds: i64) {
        self.scene.pass(seconds);
        let mut reply = Vec::new();
        self.deliver(Vec::new(), &mut reply);
        self.sort_out(reply);
    }

    fn now(&self) -> String {
        self.scene.now.wall.to_rfc3339()
    }

    fn sessions(&self) -> Vec<&Session> {
        let partitions = self.scene.shard.partitions().iter();
        let mut sessions: Vec<&Session> =
            partitions.flat_map(|partition| partition.sessions.iter()).map(|(_, hosted)| hosted.state()).collect();
        sessions.sort_by_key(|session| session.key);
        sessions
    }

    fn captured(&self) -> i64 {
        self.sessions().iter().map(|session| session.payment.captured().minor).sum()
    }

    fn held(&self) -> i64 {
        self.sessions().iter().map(|session| session.payment.authorized().minor).sum()
    }

    /// Energy of the sessions that are paid for.
    fn energy_wh(&self) -> i64 {
        let paid = self.sessions().into_iter().filter(|session| !session.is_unpaid());
        paid.map(|session| session.meter.energy().whole_watt_hours()).sum()
    }
}

/// What a 1.6 charger says.
impl Station {
    fn start(&mut self, token: &str, wh: i64, at: &str) -> (i64, String) {
        let payload = json!({"connectorId": 1, "idTag": token, "meterStart": wh, "timestamp": at});
        let answer = self.calls("StartTransaction", &payload);
        let status = answer["idTagInfo"]["status"].as_str().unwrap().to_owned();
        (answer["transactionId"].as_i64().unwrap(), status)
    }

    fn values(&mut self, transaction: i64, value: &str, unit: Option<&str>) {
        let sampled = json!([{"value": value, "unit": unit}]);
        let payload = json!({"connectorId": 1, "transactionId": transaction,
            "meterValue": [{"timestamp": self.now(), "sampledValue": sampled}]});
        assert_eq!(self.calls("MeterValues", &payload), json!({}));
    }

    fn stop(&mut self, transaction: i64, wh: i64) {
        let payload = json!({"transactionId": transaction, "meterStop": wh, "timestamp": self.now()});
        assert_eq!(self.calls("StopTransaction", &payload), json!({}));
    }
}

/// What a 2.x charger says.
impl Station {
    fn event(&mut self, kind: &str, name: &str, token: Option<&str>, wh: Option<i64>) -> Value {
        let at = self.now();
        self.event_at(kind, name, (token, wh), &at)
    }

    fn event_at(&mut self, kind: &str, name: &str, (token, wh): (Option<&str>, Option<i64>), at: &str) -> Value {
        let mut payload = json!({"eventType": kind, "timestamp": at, "triggerReason": "MeterValuePeriodic", "seqNo": 0,
            "transactionInfo": {"transactionId": name}, "evse": {"id": 1, "connectorId": 1}});
        if let Some(token) = token {
            payload["idToken"] = json!({"idToken": token, "type": "ISO14443"});
        }
        if let Some(wh) = wh {
            payload["meterValue"] = json!([{"timestamp": at, "sampledValue": [{"value": wh}]}]);
        }
        self.calls("TransactionEvent", &payload)
    }
}

const ACCEPTED: &str = "Accepted";

#[test]
fn a_1_6_session_is_held_priced_and_captured_and_its_receipt_is_its_stop() {
    let mut station = Station::new(Version::V16);
    station.calls("BootNotification", &json!({"chargePointVendor": "V", "chargePointModel": "M"}));
    let known = station.calls("Authorize", &json!({"idTag": "ACCT-0001"}));
    assert_eq!(known, json!({"idTagInfo": {"status": ACCEPTED}}));
    let unknown = station.calls("Authorize", &json!({"idTag": "NOBODY"}));
    assert_eq!(unknown, json!({"idTagInfo": {"status": "Invalid"}}));
    let poor = station.calls("Authorize", &json!({"idTag": "ACCT-NONE"}));
    assert_eq!(poor, json!({"idTagInfo": {"status": "Blocked"}}));
    let at = station.now();
    let (transaction, status) = station.start("ACCT-0001", 909_000, &at);
    assert_eq!(status, ACCEPTED);
    assert_eq!((station.held(), station.sessions()[0].key), (4_500, SessionKey(transaction as u64)));
    station.pass(60);
    station.values(transaction, "909300", None);
    assert_eq!(station.energy_wh(), 300);
    station.pass(60);
    station.stop(transaction, 909_650);
    let session = station.sessions()[0];
    let Stage::Closed(ended) = &session.stage else { panic!("{:?}", session.stage) };
    // 0.65 kWh at 0.14 are 0.091.
    assert_eq!((ended.payable.minor, station.captured(), station.held()), (9, 9, 0));
}

#[test]
fn a_2_x_session_has_one_figure_in_answer_receipt_and_capture_06() {
    for version in [Version::V201, Version::V21] {
        let mut station = Station::new(version);
        let answer = station.event("Started", "tx-1", Some("ACCT-0001"), Some(1_000));
        assert_eq!(
            (answer["totalCost"].to_string(), &answer["idTokenInfo"]["status"]),
            ("0.00".into(), &json!(ACCEPTED))
        );
        let limit = (version == Version::V21).then(|| "1000.00".to_owned());
        assert_eq!(answer.get("transactionLimit").map(|limit| limit["maxCost"].to_string()), limit);
        let mut before = 0;
        for wh in [1_100, 1_300, 1_700] {
            station.pass(300);
            let answer = station.event("Updated", "tx-1", None, Some(wh));
            let cost: i64 = answer["totalCost"].to_string().replace('.', "").parse().unwrap();
            assert!(cost >= before && cost <= 4_500, "{answer}");
            before = cost;
        }
        station.pass(300);
        let answer = station.event("Ended", "tx-1", None, Some(3_000));
        assert_eq!(answer.to_string(), r#"{"totalCost":0.28}"#);
        assert_eq!((station.captured(), station.held(), station.sessions().len()), (28, 0, 1));
    }
}

#[test]
fn transaction_ids_are_never_given_twice_10() {
    let mut station = Station::new(Version::V16);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40 {
        if round % 7 == 3 {
            station = station.crash();
        }
        let token = ["ACCT-0001", "NOBODY"][round % 2];
        let at = station.now();
        let (transaction, _) = station.start(token, 909_000 + round as i64, &at);
        assert!(transaction > 0 && i32::try_from(transaction).is_ok() && seen.insert(transaction), "{transaction}");
        station.pass(30);
        station.stop(transaction, 909_000 + round as i64);
    }
    assert_eq!(station.held(), 0);
}

#[test]
fn a_session_that_is_wholly_in_the_past_is_billed_13() {
    let mut station = Station::new(Version::V16);
    let at =
        |station: &Station, ago: i64| station.scene.now.wall.saturating_add(TimeSpan::from_secs(-ago)).to_rfc3339();
    let begun = at(&station, 6 * 3_600);
    let (transaction, status) = station.start("ACCT-0001", 909_000, &begun);
    assert_eq!(status, ACCEPTED);
    station = station.crash();
    for (ago, wh) in [(5 * 3_600, 910_000), (4 * 3_600, 911_000)] {
        let value = json!([{"timestamp": at(&station, ago), "sampledValue": [{"value": wh.to_string()}]}]);
        let payload = json!({"connectorId": 1, "transactionId": transaction, "meterValue": value});
        assert_eq!(station.calls("MeterValues", &payload), json!({}));
        station = station.crash();
    }
    let payload = json!({"transactionId": transaction, "meterStop": 912_000, "timestamp": at(&station, 3 * 3_600)});
    station.calls("StopTransaction", &payload);
    let session = station.sessions()[0];
    let Stage::Closed(ended) = &session.stage else { panic!("{:?}", session.stage) };
    assert_eq!(ended.at.since(session.opened_at), TimeSpan::from_secs(3 * 3_600));
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (3_000, 42, 0));
}

#[test]
fn a_session_is_stopped_before_its_money_ends_19() {
    for version in [Version::V16, Version::V201] {
        let mut station = Station::new(version);
        let (transaction, begun) = match version {
            Version::V16 => {
                let at = station.now();
                let (transaction, status) = station.start("ACCT-POOR", 0, &at);
                assert_eq!(status, ACCEPTED);
                (transaction, json!(transaction))
            }
            Version::V201 | Version::V21 => {
                station.event("Started", "tx", Some("ACCT-POOR"), Some(0));
                (0, json!("tx"))
            }
        };
        let mut wh = 0;
        // 3.00 buys 21.428 kWh.
        while station.ordered.is_empty() && wh < 30_000 {
            wh += 300;
            station.pass(60);
            match version {
                Version::V16 => station.values(transaction, &wh.to_string(), None),
                Version::V201 | Version::V21 => drop(station.event("Updated", "tx", None, Some(wh))),
            }
        }
        let (action, payload) = &station.ordered[0];
        assert_eq!((action.ends_with("StopTransaction"), &payload["transactionId"]), (true, &begun));
        assert!(wh <= 21_428, "{wh}");
        match version {
            Version::V16 => station.stop(transaction, wh),
            Version::V201 | Version::V21 => drop(station.event("Ended", "tx", None, Some(wh))),
        }
        assert!(station.captured() <= 300 && station.captured() > 270, "{}", station.captured());
        assert_eq!(station.held(), 0);
    }
}

#[test]
fn a_stop_is_ordered_again_after_a_restart_of_the_gate_27() {
    let mut station = Station::new(Version::V201);
    station.event("Started", "tx", Some("ACCT-0001"), Some(0));
    let id = station.sessions()[0].id;
    station.scene.take(Input::StopSession(id, crate::session::StopReason::Operator));
    station.pass(0);
    assert_eq!(station.ordered, [("RequestStopTransaction".to_owned(), json!({"transactionId": "tx"}))]);
    station = station.crash();
    let received = station.event("Updated", "tx", None, Some(100));
    assert_eq!(received["totalCost"].to_string(), "0.01");
    assert_eq!(station.ordered.len(), 1, "the new connection knows the name of the transaction");
    assert!(matches!(station.sessions()[0].stage, Stage::Charging { .. }), "it goes on until its charger ends it");
    station.event("Ended", "tx", None, Some(100));
    assert_eq!((station.captured(), station.held()), (1, 0));
}

#[test]
fn a_session_that_ended_on_an_estimate_is_corrected_by_its_late_stop_14() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.values(transaction, "300", None);
    while matches!(station.sessions()[0].stage, Stage::Charging { .. }) {
        station.pass(60);
        assert!(station.scene.now.mono < Mono(3_600_000), "silence is not endless");
    }
    assert!(station.sessions()[0].ended().unwrap().reason.is_estimate());
    let stopped = station.now();
    station = station.crash();
    let payload = json!({"transactionId": transaction, "meterStop": 1_000, "timestamp": stopped});
    station.calls("StopTransaction", &payload);
    station.calls("StopTransaction", &payload);
    station.pass(7_200);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (1_000, 14, 0));
}

#[test]
fn a_charger_that_reports_nothing_before_its_stop_loses_nothing() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(600);
    assert!(matches!(station.sessions()[0].stage, Stage::Charging { .. }));
    station.stop(transaction, 1_000);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (1_000, 14, 0));
    // One whose stop comes when the gate has given it up.
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 1_000, &at);
    for _ in 0..60 {
        station.pass(60);
    }
    assert!(station.sessions()[1].ended().is_some_and(|ended| ended.reason.is_estimate()));
    assert_eq!(station.held(), 0);
    station.stop(transaction, 2_000);
    assert_eq!(station.energy_wh(), 2_000);
    assert_eq!(station.sessions()[1].ended().map(|ended| ended.payable.minor), Some(14), "it is owed");
}

#[test]
fn an_id_that_is_none_is_the_open_session_and_one_of_a_refused_start_is_not_09() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (refused, _) = station.start("NOBODY", 0, &at);
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.values(refused, "300", None);
    assert_eq!(station.energy_wh(), 0);
    station.values(-1, "100", None);
    station.pass(60);
    station.values(transaction + 8, "200", None);
    assert_eq!(station.energy_wh(), 200);
    station.pass(60);
    station.stop(refused, 900);
    station.stop(-1, 300);
    station.stop(-1, 400);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (300, 4, 0));
}

#[test]
fn a_connector_is_known_when_its_state_is_reported() {
    let mut station = Station::new(Version::V16);
    for (connector, status) in [(1, "Available"), (2, "Faulted"), (2, "Available"), (0, "Available"), (65, "Faulted")] {
        let payload = json!({"connectorId": connector, "errorCode": "NoError", "status": status});
        assert_eq!(station.calls("StatusNotification", &payload), json!({}));
    }
    station.calls("BootNotification", &json!({"firmwareVersion": "1.2"}));
    let charger = |station: &Station| {
        let partition = station.scene.shard.partitions().iter().find(|partition| !partition.chargers.is_empty());
        let (_, hosted) = partition.unwrap().chargers.iter().next().unwrap();
        let connectors: Vec<u16> = hosted.state().described.connectors.iter().map(|known| known.id.0).collect();
        (connectors, hosted.state().described.firmware.to_string(), hosted.statuses().to_vec())
    };
    let free = crate::message::ConnectorState::Available;
    let states = vec![(ConnectorId(1), free), (ConnectorId(2), free)];
    assert_eq!(charger(&station), (vec![1, 2], "1.2".to_owned(), states));
    station = station.crash();
    assert_eq!(charger(&station).0, [1, 2]);
}

#[test]
fn a_refused_session_that_gave_energy_is_put_away_after_a_restart() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, status) = station.start("ACCT-NONE", 909_000, &at);
    assert_eq!(status, "Blocked");
    station.pass(60);
    station.values(transaction, "909300", None);
    station.stop(transaction, 909_650);
    let mut station = station.crash();
    assert_eq!(station.sessions().len(), 1);
    station.scene.archive = Some(Default::default());
    station.scene.shard.resume(station.scene.now);
    station.scene.settle();
    assert_eq!((station.sessions().len(), station.scene.archive.as_ref().unwrap().len()), (0, 1));
}
