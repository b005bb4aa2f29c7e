//! One session at a time, idle cars, and limits of chargers.

use super::*;
use crate::session::{Cause, StopReason};

impl Station {
    fn shows(&mut self, status: &str) {
        let payload = json!({"connectorId": 1, "errorCode": "NoError", "status": status});
        assert_eq!(self.calls("StatusNotification", &payload), json!({}));
    }

    /// The status that a start at a connector is answered.
    fn starts_at(&mut self, connector: u16, token: &str, wh: i64) -> (i64, String) {
        let payload = json!({"connectorId": connector, "idTag": token, "meterStart": wh, "timestamp": self.now()});
        let answer = self.calls("StartTransaction", &payload);
        let status = answer["idTagInfo"]["status"].as_str().unwrap().to_owned();
        (answer["transactionId"].as_i64().unwrap(), status)
    }

    fn authorized(&mut self, token: &str) -> String {
        self.calls("Authorize", &json!({"idTag": token}))["idTagInfo"]["status"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_second_session_of_an_account_that_pays_for_one_is_refused_29() {
    let mut station = Station::in_scene(Scene::with(|policy| policy.one_session = true), Version::V16);
    let at = station.now();
    let (first, status) = station.start("ACCT-0001", 0, &at);
    assert_eq!(status, ACCEPTED);
    assert_eq!(station.start("ACCT-0001", 0, &at), (first, ACCEPTED.to_owned()), "it is the same start");
    station.pass(60);
    station.values(first, "300", None);
    assert_eq!(station.authorized("ACCT-0001"), ACCEPTED, "it may be the driver who ends it");
    let (second, status) = station.starts_at(2, "ACCT-0001", 5_000);
    assert_eq!(status, "ConcurrentTx");
    station = station.crash();
    station.pass(60);
    station.stop(second, 5_200);
    station.stop(first, 500);
    let [paid, refused] = station.sessions()[..] else { panic!("two sessions") };
    assert_eq!(refused.quarantine().map(|kept| kept.cause), Some(Cause::Refused(StopReason::Concurrent)));
    assert_eq!(refused.kept_energy().map(|energy| energy.whole_watt_hours()), Some(200), "both energies are there");
    assert_eq!((paid.meter.energy().whole_watt_hours(), station.captured(), station.held()), (500, 7, 0));
    let (_, status) = station.starts_at(2, "ACCT-0001", 5_200);
    assert_eq!(status, ACCEPTED, "the first one is over");

    let mut station = Station::new(Version::V16);
    for connector in [1, 2] {
        assert_eq!(station.starts_at(connector, "ACCT-0001", 0).1, ACCEPTED, "without the rule");
    }
}

#[test]
fn an_authorization_elsewhere_is_refused_while_the_account_pays_29() {
    let mut station = Station::in_scene(Scene::with(|policy| policy.one_session = true), Version::V16);
    station.starts_at(1, "ACCT-0001", 0);
    station.scene.shard.disconnected(station.scene.link.connection);
    let mut elsewhere = Station::on(station.scene, Version::V16);
    let settings = LinkSettings {
        charger: ChargerId::new("CP-2").unwrap(),
        version: Version::V16,
        power_max: Power::from_watts(22_000).unwrap(),
        heartbeat: TimeSpan::from_secs(300),
        is_forwarded: false,
    };
    elsewhere.scene.link.connection.0 += 1;
    elsewhere.link = OcppLink::new(settings, elsewhere.scene.now);
    assert_eq!(elsewhere.authorized("ACCT-0001"), "ConcurrentTx");
    assert_eq!(elsewhere.starts_at(1, "ACCT-0001", 0).1, "ConcurrentTx");
    assert_eq!(elsewhere.authorized("ACCT-POOR"), ACCEPTED);
}

const IDLE: &str = r#"{ "country_code": "NL", "party_id": "WST", "id": "IDLE", "currency": "EUR",
    "elements": [{ "price_components": [
        { "type": "ENERGY", "price": 0.50, "step_size": 1 }, { "type": "PARKING_TIME", "price": 6.00, "step_size": 60 }] }],
    "last_updated": "2026-01-01T00:00:00Z" }"#;

#[test]
fn a_car_that_takes_no_energy_pays_for_its_time_until_it_is_unplugged_36() {
    for status in ["SuspendedEV", "SuspendedEVSE", "Finishing"] {
        let house = house_of(Policy::default(), IDLE);
        let scene = Scene::in_house(MemoryStore::new(64), house, Scene::beginning());
        let mut station = Station::in_scene(scene, Version::V16);
        let at = station.now();
        let (transaction, _) = station.start("ACCT-0001", 0, &at);
        station.pass(600);
        station.values(transaction, "2000", None);
        station.shows(status);
        for _ in 0..120 {
            station.pass(60);
            assert!(matches!(station.sessions()[0].stage, Stage::Charging { .. }), "{status}: the car is there");
        }
        station.stop(transaction, 2_000);
        // 2 kWh at 0.50, and two hours at 6.00.
        assert_eq!((station.captured(), station.held()), (1_300, 0), "{status}");
    }
}

#[test]
fn a_silent_session_without_a_car_ends_36() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.values(transaction, "300", None);
    station.shows("SuspendedEV");
    station.scene.shard.disconnected(station.scene.link.connection);
    for _ in 0..20 {
        station.scene.pass(60);
    }
    assert!(station.sessions()[0].ended().is_some_and(|ended| ended.reason == StopReason::Silence));
}

#[test]
fn a_limit_of_the_charger_above_that_of_the_gate_is_overruled_20() {
    let mut station = Station::new(Version::V21);
    let started = station.event("Started", "tx", Some("ACCT-POOR"), Some(0));
    assert_eq!(started["transactionLimit"]["maxCost"].to_string(), "3.00");
    let event = |station: &mut Station, trigger: &str, state: &str, limit: Option<f64>, wh: i64| {
        station.pass(60);
        let payload = json!({"eventType": "Updated", "timestamp": station.now(), "triggerReason": trigger, "seqNo": 1,
            "transactionInfo": {"transactionId": "tx", "chargingState": state, "transactionLimit": {"maxCost": limit}},
            "meterValue": [{"timestamp": station.now(), "sampledValue": [{"value": wh}]}]});
        station.calls("TransactionEvent", &payload)
    };
    assert!(event(&mut station, "LimitSet", "Charging", Some(3.0), 100).get("transactionLimit").is_none(), "an echo");
    assert!(event(&mut station, "LimitSet", "Charging", Some(2.5), 200).get("transactionLimit").is_none());
    let overruled = event(&mut station, "LimitSet", "Charging", Some(50.0), 300);
    assert_eq!(overruled["transactionLimit"]["maxCost"].to_string(), "3.00");
    let reached = event(&mut station, "CostLimitReached", "SuspendedEVSE", None, 400);
    assert_eq!((reached["totalCost"].to_string(), reached.get("transactionLimit")), ("0.06".to_owned(), None));
    station.event("Ended", "tx", None, Some(400));
    assert_eq!((station.captured(), station.held()), (6, 0));
}
