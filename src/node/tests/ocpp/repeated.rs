//! What an OCPP charger sends twice, late, or under a name that it had before.

use super::*;

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
