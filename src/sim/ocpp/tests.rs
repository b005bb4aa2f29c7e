//! Simulated OCPP chargers in conversation with a gate that answers by hand.

use super::*;
use crate::sim::charger::Settings;
use crate::sim::driver::{Habits, Visitors};
use crate::units::{ChargerId, Energy, Power};

const START: i64 = 1_790_000_000_000;
const KWH: i64 = 1_000_000_000;

fn at(seconds: i64) -> Now {
    Now { wall: Timestamp::from_unix_ms(START + seconds * 1_000), mono: Mono(seconds.unsigned_abs() * 1_000) }
}

/// A charger, and the messages that it sent.
struct Scene {
    charger: Charger,
    ocpp: OcppCharger,
    seconds: i64,
    sent: Vec<Value>,
}

impl Scene {
    fn new(version: Version, manners: Manners) -> Scene {
        let energy = Energy::from_microwatt_hours(22 * KWH);
        let habits = Habits {
            pause_max: TimeSpan::ZERO,
            energy: (energy, energy),
            idle_max: TimeSpan::ZERO,
            ..Habits::default()
        };
        let settings = Settings {
            id: ChargerId::new("SIM-1").unwrap(),
            connectors: vec![Power::from_milliwatts(22_000_000)],
            interval: TimeSpan::from_secs(60),
            visitors: Visitors::Random(habits),
            seed: 5,
            kept_max: 100,
        };
        let charger = Charger::new(settings, at(0).wall);
        let settings = OcppSettings { version, manners, currency: Currency::EUR };
        let ocpp = OcppCharger::new(settings, at(0).wall);
        let mut scene = Scene { charger, ocpp, seconds: 0, sent: Vec::new() };
        scene.connects();
        scene
    }

    fn connects(&mut self) {
        self.ocpp.connected(&mut self.charger, at(self.seconds));
        self.drives();
    }

    fn loses_its_connection(&mut self) {
        self.ocpp.disconnected(&mut self.charger, at(self.seconds).mono);
    }

    fn drives(&mut self) {
        let mut out = Vec::new();
        self.charger.advance(at(self.seconds));
        self.ocpp.drive(&mut self.charger, at(self.seconds), &mut out).unwrap();
        self.sent.extend(out.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()));
    }

    fn passes(&mut self, seconds: i64) {
        self.seconds += seconds;
        self.drives();
    }

    /// Answers the oldest call, which has to be this one, and returns its payload.
    fn answers(&mut self, action: &str, answer: &Value) -> Value {
        let call = self.sent.remove(0);
        assert_eq!(call[2], action, "{call}");
        let (text, mut out) = (json!([3, call[1], answer]).to_string(), Vec::new());
        self.ocpp.receive(&mut self.charger, &text, at(self.seconds), &mut out);
        assert!(out.is_empty(), "{out:?}");
        self.drives();
        call[3].clone()
    }

    fn boots(&mut self) {
        self.answers("BootNotification", &json!({"status": "Accepted", "interval": 300, "currentTime": ""}));
    }

    /// Answers states of connectors until another message comes.
    fn shows(&mut self) {
        while self.sent.first().is_some_and(|call| call[2] == "StatusNotification" || call[2] == "Authorize") {
            match self.sent[0][2].as_str() {
                Some("Authorize") => self.answers("Authorize", &json!({"idTagInfo": {"status": "Accepted"}})),
                _ => self.answers("StatusNotification", &json!({})),
            };
        }
    }
}

#[test]
fn a_session_of_1_6_from_boot_to_stop() {
    let mut scene = Scene::new(Version::V16, Manners::GOOD);
    scene.boots();
    scene.shows();
    let start = scene.answers("StartTransaction", &json!({"transactionId": 17, "idTagInfo": {"status": "Accepted"}}));
    let first = start["meterStart"].as_i64().unwrap();
    scene.shows();
    scene.passes(60);
    let values = scene.answers("MeterValues", &json!({}));
    assert_eq!((&values["transactionId"], &values["connectorId"]), (&json!(17), &json!(1)));
    let wh: i64 = values["meterValue"][0]["sampledValue"][0]["value"].as_str().unwrap().parse().unwrap();
    assert!(wh > first && scene.charger.unacknowledged() == 0, "{values}");

    // The gate orders a stop, and the answer to the stop ends the session.
    let (order, mut out) = (json!([2, "w1", "RemoteStopTransaction", {"transactionId": 17}]).to_string(), Vec::new());
    scene.ocpp.receive(&mut scene.charger, &order, at(scene.seconds), &mut out);
    assert_eq!(out, [r#"[3,"w1",{"status":"Accepted"}]"#]);
    scene.drives();
    scene.shows();
    let stop = scene.answers("StopTransaction", &json!({}));
    assert_eq!((&stop["reason"], stop["transactionId"].as_i64()), (&json!("Remote"), Some(17)));
    let [ended] = &scene.ocpp.take_ended()[..] else { panic!("one session ended") };
    assert_eq!(ended.energy_wh, stop["meterStop"].as_i64().unwrap() - first);
    assert_eq!((scene.charger.tally().ended, &ended.name), (1, &Name::Number(17)));
}

#[test]
fn a_session_of_2_1_stops_at_its_limit_and_knows_its_total() {
    let mut scene = Scene::new(Version::V21, Manners::GOOD);
    scene.boots();
    scene.shows();
    let limit = json!({"idTokenInfo": {"status": "Accepted"}, "transactionLimit": {"maxCost": 3.00}});
    let start = scene.answers("TransactionEvent", &limit);
    assert_eq!((&start["eventType"], &start["seqNo"]), (&json!("Started"), &json!(0)));
    scene.shows();
    scene.passes(60);
    scene.answers("TransactionEvent", &json!({"totalCost": 1.50}));
    scene.passes(60);
    let update = scene.answers("TransactionEvent", &json!({"totalCost": 3.00}));
    assert_eq!(update["seqNo"], 2);
    scene.passes(60);
    scene.shows();
    let end = scene.answers("TransactionEvent", &json!({"totalCost": 3.07}));
    assert_eq!(
        (&end["eventType"], &end["transactionInfo"]["stoppedReason"]),
        (&json!("Ended"), &json!("LocalOutOfCredit"))
    );
    assert_eq!(scene.ocpp.take_ended()[0].total, Some(Amount::new(307, Currency::EUR)));
}

#[test]
fn what_is_not_answered_is_repeated_as_the_manners_say_and_then_the_charger_hangs_up() {
    for (repeats, same_id, same_time) in
        [(Repeats::SameId, true, true), (Repeats::NewId, false, true), (Repeats::NewTime, false, false)]
    {
        let mut scene = Scene::new(Version::V16, Manners { repeats, ..Manners::GOOD });
        scene.boots();
        scene.shows();
        let first = scene.sent.remove(0);
        scene.passes(30);
        let again = scene.sent.remove(0);
        assert_eq!(again[2], "StartTransaction");
        assert_eq!((first[1] == again[1], first[3]["timestamp"] == again[3]["timestamp"]), (same_id, same_time));
        scene.passes(30);
        scene.sent.clear();
        scene.seconds += 30;
        let now = at(scene.seconds);
        assert_eq!(scene.ocpp.drive(&mut scene.charger, now, &mut Vec::new()), Err(Unanswered));
    }
}

#[test]
fn a_session_that_began_offline_is_reported_in_its_order() {
    let mut scene = Scene::new(Version::V16, Manners { starts_offline: true, readings_per_call: 8, ..Manners::GOOD });
    scene.loses_its_connection();
    scene.passes(0);
    scene.passes(30);
    scene.passes(120);
    assert!(scene.charger.unacknowledged() > 0 && scene.sent.len() == 1, "energy flows");
    scene.sent.clear();
    scene.connects();
    scene.boots();
    scene.shows();
    let start = scene.answers("StartTransaction", &json!({"transactionId": 4, "idTagInfo": {"status": "Accepted"}}));
    assert_eq!(start["timestamp"], at(0).wall.to_rfc3339());
    scene.shows();
    let values = scene.answers("MeterValues", &json!({}));
    assert_eq!(values["meterValue"].as_array().unwrap().len(), 2);
    assert_eq!(scene.charger.unacknowledged(), 0);
}

#[test]
fn a_session_that_began_offline_is_reported_although_its_driver_is_refused_later() {
    let manners = Manners { starts_offline: true, hides_token: true, readings_per_call: 8, ..Manners::GOOD };
    let mut scene = Scene::new(Version::V16, manners);
    scene.loses_its_connection();
    for seconds in [0, 30, 120] {
        scene.passes(seconds);
    }
    scene.sent.clear();
    scene.connects();
    scene.boots();
    scene.answers("StatusNotification", &json!({}));
    let refused = json!({"idTagInfo": {"status": "Blocked"}});
    scene.answers("Authorize", &refused);
    let begun = json!({"transactionId": 4, "idTagInfo": {"status": "Invalid"}});
    scene.answers("StartTransaction", &begun);
    let ended = loop {
        if let Some(ended) = scene.ocpp.take_ended().pop() {
            break ended;
        }
        let action = scene.sent[0][2].as_str().expect("it does not fall silent").to_owned();
        scene.answers(&action, &json!({}));
    };
    assert!(ended.is_refused && ended.energy_wh > 0, "{ended:?}");
}

#[test]
fn energy_and_times_are_written_in_many_ways_and_are_the_same() {
    let reading = MeterReading {
        sequence: 2,
        at: at(0).wall,
        register: Energy::from_microwatt_hours(1_500_900_000),
        power: None,
        current: None,
    };
    let written = |version, manners: Manners| {
        let scene = Scene::new(version, manners);
        let mut ocpp = scene.ocpp.clone();
        let start = scene.charger.asked().next().unwrap();
        ocpp.transaction(&start).name = Some(Name::Number(3));
        let transaction = ocpp.transactions.values().next().unwrap();
        let (_, payload) = ocpp.readings(transaction, &[reading]);
        payload["meterValue"][0].clone()
    };
    let value = |version, energy| written(version, Manners { energy, ..Manners::GOOD })["sampledValue"][0].clone();
    assert_eq!(value(Version::V16, EnergyStyle::Wh)["value"], "1500");
    assert_eq!(value(Version::V16, EnergyStyle::Kwh)["value"], "1.500");
    assert_eq!(value(Version::V16, EnergyStyle::Bare).get("unit"), None);
    let multiplied = value(Version::V201, EnergyStyle::Multiplied);
    assert_eq!(
        (multiplied["value"].to_string(), &multiplied["unitOfMeasure"]["multiplier"]),
        ("1.500".into(), &json!(3))
    );
    let time = |clock| written(Version::V16, Manners { clock, ..Manners::GOOD })["timestamp"].clone();
    assert_eq!(time(ClockStyle::NoZone), at(0).wall.to_rfc3339().trim_end_matches('Z'));
    assert!(time(ClockStyle::Nanoseconds).as_str().unwrap().ends_with(".000000000Z"));
    assert_eq!(time(ClockStyle::Unset), "1970-01-01T00:00:00Z");
}

#[test]
fn a_name_comes_back_after_a_reset_only_with_bad_manners() {
    for (names_come_back, expected) in [(true, true), (false, false)] {
        let mut scene = Scene::new(Version::V201, Manners { names_come_back, ..Manners::GOOD });
        let mut name_of_next = || {
            scene.boots();
            scene.shows();
            let event = scene.answers("TransactionEvent", &json!({"idTokenInfo": {"status": "Accepted"}}));
            scene.sent.clear();
            scene.loses_its_connection();
            scene.charger.forget_everything(at(scene.seconds), false);
            scene.ocpp.forget_everything(at(scene.seconds).wall);
            scene.seconds += 60;
            scene.connects();
            event["transactionInfo"]["transactionId"].clone()
        };
        let (first, second) = (name_of_next(), name_of_next());
        assert_eq!(first == second, expected, "{first} {second}");
    }
}

#[test]
fn a_third_of_a_fleet_speaks_every_version() {
    let of = |percent, versions| {
        (1..=40).filter_map(|number| version_of_share(number, percent, versions)).collect::<Vec<_>>()
    };
    assert_eq!(of(33, 3).len(), 13);
    assert_eq!(of(33, 3)[..4], [Version::V21, Version::V201, Version::V16, Version::V21]);
    assert!((of(0, 3).len(), of(100, 3).len()) == (0, 40) && !of(100, 2).contains(&Version::V16));
}
