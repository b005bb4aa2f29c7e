//! Sessions whose stop does not come, or comes late, and what is noted of sessions.

use super::*;
use crate::session::{Note, StopReason};

impl Station {
    fn boots(&mut self) {
        self.calls("BootNotification", &json!({"chargePointVendor": "V", "chargePointModel": "M"}));
    }

    fn is_free(&mut self) {
        let payload = json!({"connectorId": 1, "errorCode": "NoError", "status": "Available"});
        self.calls("StatusNotification", &payload);
    }

    fn ended(&self, number: usize) -> Option<StopReason> {
        self.sessions()[number].ended().map(|ended| ended.reason)
    }

    fn flags(&self, number: usize) -> Vec<&'static str> {
        self.sessions()[number].flags().collect()
    }

    /// An event of 2.x with its number and further members.
    fn numbered(&mut self, kind: &str, sequence: u32, wh: i64, more: &Value) -> Value {
        let mut payload = json!({"eventType": kind, "timestamp": self.now(), "triggerReason": "MeterValuePeriodic",
            "seqNo": sequence, "transactionInfo": {"transactionId": "tx"}, "evse": {"id": 1},
            "idToken": {"idToken": "ACCT-0001", "type": "ISO14443"},
            "meterValue": [{"timestamp": self.now(), "sampledValue": [{"value": wh}]}]});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.calls("TransactionEvent", &payload)
    }
}

/// A session of 0.3 kWh whose charger lost its connection.
fn cut() -> (Station, i64) {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(60);
    station.values(transaction, "300", None);
    station.pass(60);
    (station.reconnects(), transaction)
}

#[test]
fn a_session_whose_charger_restarted_ends_soon_and_its_late_stop_adjusts_it_14() {
    for boots in [true, false] {
        let (mut station, transaction) = cut();
        if boots {
            station.boots()
        } else {
            station.is_free()
        }
        station.pass(10);
        assert_eq!(station.ended(0), None, "its stop may come now");
        station.pass(10);
        assert_eq!((station.ended(0), station.flags(0)), (Some(StopReason::Unreported), vec!["estimated"]));
        // 0.3 kWh at 0.14 are 0.042.
        assert!(station.captured() == 4 && station.held() > 4_000, "the rest waits for what comes late");
        station = station.crash();
        for _ in 0..2 {
            station.stop(transaction, 600);
            assert_eq!((station.captured(), station.held()), (8, 0), "an adjustment, and once");
            station = station.crash();
        }
        assert_eq!((station.ended(0), station.flags(0)), (Some(StopReason::Local), vec![]));
    }
}

#[test]
fn a_session_whose_stop_never_comes_gives_the_rest_of_its_hold_back_14() {
    let (mut station, _) = cut();
    station.is_free();
    for _ in 0..70 {
        station.pass(60);
    }
    assert_eq!((station.captured(), station.held(), station.flags(0)), (4, 0, vec!["estimated"]));
    assert!(matches!(station.sessions()[0].stage, Stage::Closed(_)));
}

#[test]
fn a_session_that_is_reported_after_a_restart_of_its_charger_goes_on_14() {
    let (mut station, transaction) = cut();
    station.boots();
    station.is_free();
    station.pass(10);
    station.values(transaction, "400", None);
    station.pass(60);
    assert_eq!(station.ended(0), None);
    station.stop(transaction, 700);
    assert_eq!((station.captured(), station.held(), station.flags(0)), (10, 0, vec![]));
}

#[test]
fn a_stop_for_loss_of_power_closes_the_same_session_33() {
    let (mut station, transaction) = cut();
    station.boots();
    let payload =
        json!({"transactionId": transaction, "meterStop": 300, "timestamp": station.now(), "reason": "PowerLoss"});
    station.calls("StopTransaction", &payload);
    assert_eq!((station.ended(0), station.captured(), station.held()), (Some(StopReason::PowerLoss), 4, 0));
    assert_eq!(station.sessions().len(), 1);
}

#[test]
fn a_transaction_that_is_resumed_goes_on_with_the_hold_it_had_33() {
    for (crashes, waits) in [(false, 20), (true, 20), (false, 5)] {
        let mut station = Station::new(Version::V21);
        station.numbered("Started", 0, 1_000, &json!({}));
        station.pass(300);
        station.numbered("Updated", 1, 2_000, &json!({}));
        station = station.reconnects();
        station.boots();
        station.pass(waits);
        assert_eq!(station.ended(0).is_some(), waits > 15);
        if crashes {
            station = station.crash();
        }
        let answer = station.numbered("Updated", 2, 2_000, &json!({"triggerReason": "TxResumed"}));
        assert_eq!(answer["totalCost"].to_string(), "0.14", "{answer}");
        assert_eq!((station.sessions().len(), station.ended(0)), (1, None));
        station.pass(300);
        let answer = station.numbered("Updated", 3, 3_000, &json!({}));
        assert_eq!(answer["totalCost"].to_string(), "0.28");
        if crashes {
            station = station.crash();
        }
        station.pass(300);
        let answer = station.numbered("Ended", 4, 4_000, &json!({}));
        assert_eq!(answer["totalCost"].to_string(), "0.42");
        assert_eq!((station.captured(), station.held(), station.flags(0)), (42, 0, vec![]));
        assert_eq!(station.sessions()[0].payment.holds().len(), 1, "no second hold");
        assert_eq!(station.sessions().len(), 1);
    }
}

#[test]
fn a_transaction_that_is_resumed_when_its_hold_is_over_is_corrected_33() {
    let mut station = Station::new(Version::V21);
    station.numbered("Started", 0, 1_000, &json!({}));
    station.pass(300);
    station.numbered("Updated", 1, 2_000, &json!({}));
    station.boots();
    for _ in 0..70 {
        station.pass(60);
    }
    assert_eq!((station.captured(), station.held()), (14, 0));
    station.numbered("Updated", 2, 2_000, &json!({"triggerReason": "TxResumed"}));
    station.pass(300);
    station.numbered("Ended", 3, 3_000, &json!({}));
    assert_eq!(station.sessions()[0].ended().map(|ended| ended.payable.minor), Some(28), "it is owed");
    assert_eq!((station.sessions().len(), station.held()), (1, 0));
}

#[test]
fn missing_events_are_noted_and_energy_is_that_of_the_meter_16() {
    for (numbers, gap) in [([1, 3, 5, 6], true), ([1, 2, 3, 4], false), ([0, 0, 0, 0], false), ([7, 8, 9, 10], false)] {
        let mut station = Station::new(Version::V201);
        for (kind, (wh, sequence)) in ["Started", "Updated", "Updated", "Ended"]
            .into_iter()
            .zip([1_000, 2_000, 3_000, 4_000].into_iter().zip(numbers))
        {
            station.numbered(kind, sequence, wh, &json!({}));
            station.pass(300);
            if wh == 2_000 {
                station = station.reconnects();
            }
        }
        assert_eq!(station.flags(0), if gap { vec!["gap"] } else { vec![] }, "{numbers:?}");
        assert_eq!((station.energy_wh(), station.captured()), (3_000, 42));
        station = station.crash();
        assert_eq!(station.sessions()[0].has_note(Note::Gap), gap);
    }
}

#[test]
fn a_session_that_was_offline_says_so_13() {
    let mut station = Station::new(Version::V201);
    station.numbered("Started", 0, 1_000, &json!({"offline": true}));
    station.pass(300);
    station.numbered("Ended", 1, 2_000, &json!({}));
    assert_eq!(station.flags(0), ["offline"]);
    // 1.6 has no member for it: the times tell.
    let mut station = Station::new(Version::V16);
    let ago = |station: &Station, seconds: i64| {
        station.scene.now.wall.saturating_add(TimeSpan::from_secs(-seconds)).to_rfc3339()
    };
    let begun = ago(&station, 7_200);
    let (transaction, _) = station.start("ACCT-0001", 0, &begun);
    station.stop(transaction, 1_000);
    let begun = ago(&station, 30);
    let (transaction, _) = station.start("ACCT-0001", 1_000, &begun);
    station.stop(transaction, 1_100);
    assert_eq!((station.flags(0), station.flags(1)), (vec!["offline"], vec![]));
}

#[test]
fn readings_repeated_by_a_charger_whose_clock_is_not_set_are_billed_once_12() {
    let mut station = Station::new(Version::V16);
    let (transaction, _) = station.start("ACCT-0001", 1_000, "1970-01-01T00:10:00Z");
    let readings = json!({"connectorId": 1, "transactionId": transaction, "meterValue": [
        {"timestamp": "1970-01-01T00:15:00Z", "sampledValue": [{"value": "1600"}]},
        {"timestamp": "1970-01-01T00:20:00Z", "sampledValue": [{"value": "2000"}]}]});
    for _ in 0..4 {
        station.pass(300);
        station.calls("MeterValues", &readings);
    }
    station.pass(300);
    let stop = json!({"transactionId": transaction, "meterStop": 3_000, "timestamp": "1970-01-01T00:35:00Z"});
    station.calls("StopTransaction", &stop);
    assert_eq!((station.energy_wh(), station.captured()), (2_000, 28));
}

/// A call of which all that it reports is in the shard before the archive answers.
fn whole_call(station: &mut Station, payload: &Value) -> Vec<Value> {
    let (mut messages, mut reply) = (Vec::new(), Vec::new());
    let text = json!([2, "late", "TransactionEvent", payload]).to_string();
    station.link.receive(text.as_bytes(), station.scene.now, &mut messages, &mut reply).unwrap();
    for Received { message, .. } in messages {
        station.scene.shard.on_charger_message(station.scene.link, message, station.scene.now).unwrap();
    }
    station.scene.settle();
    station.deliver(Vec::new(), &mut reply);
    station.sort_out(reply)
}

#[test]
fn what_comes_late_for_an_archived_session_is_recorded_before_it_is_answered_01() {
    let mut scene = Scene::new();
    scene.archive = Some(std::collections::BTreeMap::new());
    let mut station = Station::in_scene(scene, Version::V201);
    station.numbered("Started", 0, 1_000, &json!({}));
    station.pass(300);
    station.numbered("Updated", 1, 2_000, &json!({}));
    station.boots();
    for _ in 0..70 {
        station.pass(60);
    }
    assert!(station.sessions().is_empty(), "it was archived with its estimate");
    let ended = json!({"eventType": "Ended", "timestamp": station.now(), "triggerReason": "EVDeparted", "seqNo": 2,
        "transactionInfo": {"transactionId": "tx"}, "meterValue": [{"timestamp": station.now(),
        "sampledValue": [{"value": 3_000}]}]});
    // An archive without room takes no part of a call: there is no answer, and the charger repeats all of it.
    station.scene.archive_full = 1;
    assert_eq!(whole_call(&mut station, &ended), Vec::<Value>::new());
    let mut station = station.reconnects();
    let answers = whole_call(&mut station, &ended);
    assert_eq!(answers[0]["totalCost"].to_string(), "0.28", "{answers:?}");
    station.calls("TransactionEvent", &ended);
    let (archived, _) = station.scene.archive.as_ref().unwrap().values().next().unwrap();
    assert_eq!(archived.ended().map(|ended| ended.payable.minor), Some(28));
}
