//! Registers, units and clocks of OCPP chargers.

use super::*;

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
