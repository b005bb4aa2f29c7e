//! OCPP chargers at a shard: text in, text out, and the money held, captured and remembered. The numbers in the names are those
//! of the rules in the manual's page on OCPP.

use super::*;
use crate::message::Received;
use crate::ocpp::{LinkSettings, OcppLink, Version};
use crate::session::{Session, Stage};
use serde_json::{Value, json};

mod concurrent;
mod left;
mod quarantine;

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
fn a_start_that_is_repeated_is_one_session_and_one_hold_02() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let first = station.start("ACCT-0001", 909_000, &at);
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first);
    station = station.reconnects();
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first);
    station.pass(60);
    station.values(first.0, "909300", None);
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first, "also when readings have come");
    station = station.crash();
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first);
    assert_eq!((station.sessions().len(), station.held()), (1, 4_500));
    station.pass(60);
    station.stop(first.0, 909_650);
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first, "after the stop");
    station = station.crash();
    assert_eq!(station.start("ACCT-0001", 909_000, &at), first);
    assert_eq!((station.sessions().len(), station.captured(), station.held()), (1, 9, 0));
}

#[test]
fn a_start_with_a_moved_time_is_the_same_until_a_reading_comes_03() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let first = station.start("ACCT-0001", 909_000, &at);
    station.pass(20);
    let later = station.now();
    assert_eq!(station.start("ACCT-0001", 909_000, &later), first);
    assert_eq!((station.sessions().len(), station.held()), (1, 4_500));
    station.pass(60);
    station.values(first.0, "909300", None);
    station.pass(60);
    // The stop was lost with the charger's memory; the next driver comes.
    let at = station.now();
    let second = station.start("ACCT-0001", 909_400, &at);
    assert!(second.0 > first.0 && second.1 == ACCEPTED);
    let sessions = station.sessions();
    assert!(matches!(&sessions[0].stage, Stage::Closed(ended) if ended.payable.minor == 4), "{:?}", sessions[0].stage);
    assert_eq!((sessions.len(), station.captured(), station.held()), (2, 4, 4_500));
}

#[test]
fn a_stop_that_is_repeated_is_captured_once_04() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 909_000, &at);
    station.pass(60);
    for _ in 0..3 {
        station.stop(transaction, 909_300);
        station = station.crash();
        station.pass(86_400);
    }
    station.values(transaction, "909400", None);
    assert_eq!((station.sessions().len(), station.captured(), station.held()), (1, 4, 0));
}

#[test]
fn content_that_cannot_be_believed_is_answered_05() {
    let mut station = Station::new(Version::V16);
    let (transaction, status) = station.start("ACCT-0001", -5, "0001-01-01T00:00:00Z");
    assert_eq!((transaction > 0, &*status), (true, ACCEPTED));
    station.pass(60);
    for payload in [
        json!({"connectorId": 1, "transactionId": 4_711, "meterValue": [{"timestamp": "x", "sampledValue": [{"value": "-7"}]}]}),
        json!({"connectorId": -1, "transactionId": "abc", "meterValue": 7, "more": {"a": []}}),
        json!({}),
    ] {
        assert_eq!(station.calls("MeterValues", &payload), json!({}));
        station.calls("StopTransaction", &json!({"transactionId": 4_711, "reason": "Boredom", "meterStop": null}));
    }
    let (other, status) = station.start(&"x".repeat(300), 5, "");
    assert_eq!((other > transaction, &*status), (true, "Invalid"));
    let mut station = Station::new(Version::V21);
    assert_eq!(station.calls("TransactionEvent", &json!({})), json!({}));
    assert_eq!(station.calls("TransactionEvent", &json!({"eventType": "Ended", "transactionInfo": 7})), json!({}));
    assert_eq!((station.sessions().len(), station.held()), (0, 0));
}

#[test]
fn the_odometer_is_never_billed_07() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.values(transaction, "424617", None);
    assert_eq!(station.energy_wh(), 0);
    station.pass(60);
    station.values(transaction, "424717", None);
    assert_eq!(station.energy_wh(), 100, "the jump is known now");
    for value in ["0", "424817"] {
        station.pass(60);
        station.values(transaction, value, None);
    }
    assert_eq!(station.energy_wh(), 200, "a glitch in between");
    station.pass(60);
    station.stop(transaction, 424_917);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (300, 4, 0));

    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.stop(transaction, 425_742);
    assert_eq!((station.captured(), station.held()), (0, 0));
}

#[test]
fn units_may_be_mixed_and_missing_08() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    for (value, unit) in [("100", None), ("0.2", Some("kWh")), ("300.5", Some("Wh")), ("0.4000000", Some("kWh"))] {
        station.pass(300);
        station.values(transaction, value, unit);
    }
    assert_eq!(station.energy_wh(), 400);
    station.pass(300);
    station.values(transaction, "0.5", None);
    assert_eq!(station.energy_wh(), 400, "a thousandth without a unit is not believed");
    station.pass(300);
    station.stop(transaction, 1_500);
    assert_eq!(station.energy_wh(), 1_500);
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
fn a_transaction_name_that_comes_back_is_a_new_session_11() {
    let mut station = Station::new(Version::V201);
    for round in 1..=3 {
        let at = station.now();
        station.event_at("Started", "0", (Some("ACCT-0001"), Some(1_000)), &at);
        station.pass(300);
        station.event("Updated", "0", None, Some(1_500));
        station.event_at("Started", "0", (Some("ACCT-0001"), Some(1_000)), &at);
        station.pass(300);
        station.event("Ended", "0", None, Some(2_000));
        station.event_at("Started", "0", (Some("ACCT-0001"), Some(1_000)), &at);
        assert_eq!((station.sessions().len(), station.captured(), station.held()), (round, 14 * round as i64, 0));
        station.pass(60);
    }
    // One that never ended, because the charger lost its power.
    station.event("Started", "0", Some("ACCT-0001"), Some(2_000));
    station.pass(300);
    station.event("Updated", "0", None, Some(2_500));
    station = station.reconnects();
    station.pass(60);
    station.event("Started", "0", Some("ACCT-0001"), Some(2_500));
    assert_eq!((station.sessions().len(), station.captured(), station.held()), (5, 3 * 14 + 7, 4_500));
}

#[test]
fn a_constant_sequence_number_loses_nothing_and_a_repetition_adds_nothing_12() {
    let mut station = Station::new(Version::V201);
    station.event("Started", "tx", Some("ACCT-0001"), Some(0));
    for wh in [500, 1_000, 1_500] {
        station.pass(300);
        for _ in 0..2 {
            station.event("Updated", "tx", None, Some(wh));
        }
    }
    assert_eq!((station.energy_wh(), station.sessions()[0].meter.sequence), (1_500, 3));
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
fn an_update_after_the_end_opens_and_changes_nothing_15() {
    let mut station = Station::new(Version::V201);
    station.event("Started", "tx", Some("ACCT-0001"), Some(0));
    station.pass(300);
    let late = station.now();
    station.pass(300);
    station.event("Ended", "tx", None, Some(1_000));
    station.event_at("Updated", "tx", (None, Some(500)), &late);
    station.event_at("Updated", "tx", (Some("ACCT-0001"), Some(500)), &late);
    station.event("Updated", "tx", Some("ACCT-0001"), Some(5_000));
    assert_eq!((station.sessions().len(), station.captured(), station.held()), (1, 14, 0));
}

#[test]
fn a_refused_token_has_a_number_that_a_repetition_gets_again_17() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    for token in ["NOBODY", "ACCT-NONE", ""] {
        let (transaction, status) = station.start(token, 5, &at);
        assert!(transaction > 0 && status != ACCEPTED, "{token}");
        station = station.crash();
        assert_eq!(station.start(token, 5, &at), (transaction, status.clone()), "{token}");
        station.values(transaction, "100", None);
        station.stop(transaction, 200);
        assert_eq!(station.start(token, 5, &at).0, transaction, "{token}");
    }
    assert_eq!((station.captured(), station.held()), (0, 0));
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
fn a_beginning_without_a_register_counts_from_the_first_reading() {
    let mut station = Station::new(Version::V201);
    station.event("Started", "tx", Some("ACCT-0001"), None);
    station.pass(300);
    station.event("Updated", "tx", None, Some(424_617));
    station.pass(300);
    station.event("Updated", "tx", None, Some(425_617));
    assert_eq!(station.energy_wh(), 1_000);
    station.pass(300);
    station.event("Ended", "tx", None, Some(425_717));
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (1_100, 15, 0));
}

#[test]
fn a_clock_that_is_set_back_makes_no_negative_time_and_loses_no_energy_34() {
    let mut station = Station::new(Version::V201);
    station.event("Started", "tx", Some("ACCT-0001"), Some(0));
    station.pass(600);
    station.event("Updated", "tx", None, Some(1_000));
    station.pass(600);
    let hour_ago = station.scene.now.wall.saturating_add(TimeSpan::from_secs(-3_600)).to_rfc3339();
    station.event_at("Updated", "tx", (None, Some(2_000)), &hour_ago);
    assert_eq!(station.energy_wh(), 2_000);
    station.pass(600);
    station.event_at("Ended", "tx", (None, Some(3_000)), "1970-01-01T00:00:30Z");
    let session = station.sessions()[0];
    assert!(matches!(&session.stage, Stage::Closed(ended) if ended.at == station.scene.now.wall));
    assert_eq!((station.energy_wh(), session.meter.suspects), (3_000, 0));
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
fn a_start_that_is_repeated_on_another_connection_while_it_is_decided_has_one_hold() {
    let mut station = Station::new(Version::V21);
    let started = json!([2, "a", "TransactionEvent", {"eventType": "Started", "timestamp": station.now(),
        "triggerReason": "Authorized", "seqNo": 0, "transactionInfo": {"transactionId": "tx"},
        "idToken": {"idToken": "tok_visa", "type": "DirectPayment"}}]);
    assert!(station.send(&started.to_string()).is_empty(), "it is not decided");
    let authorize = station.scene.asked();
    station = station.reconnects();
    assert!(station.send(&started.to_string()).is_empty());
    station.scene.approve(&authorize);
    let mut reply = Vec::new();
    station.deliver(Vec::new(), &mut reply);
    reply.extend(station.wakes());
    let answers = station.sort_out(reply);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer["idTokenInfo"]["status"], ACCEPTED);
    assert_eq!((station.sessions().len(), station.held()), (1, 4_500));
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
