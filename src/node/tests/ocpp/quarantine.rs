//! Energy that no one has agreed to pay for, and readings that are not believed.

use super::*;
use crate::session::{Cause, StopReason};

impl Station {
    /// Watt hours that are kept of each session.
    fn kept_wh(&self) -> Vec<Option<i64>> {
        let kept = |session: &&Session| session.kept_energy().map(crate::units::Energy::whole_watt_hours);
        self.sessions().iter().map(kept).collect()
    }
}

#[test]
fn energy_after_a_refused_start_is_kept_and_its_charger_is_ordered_to_stop_17() {
    for (token, status) in [("NOBODY", "Invalid"), ("ACCT-NONE", "Blocked"), ("BLOCKED", "Blocked"), ("", "Invalid")] {
        let mut station = Station::new(Version::V16);
        if !token.is_empty() {
            let answer = station.calls("Authorize", &json!({"idTag": token}));
            assert_eq!(answer["idTagInfo"]["status"], status, "{token}");
        }
        let at = station.now();
        let (transaction, refused) = station.start(token, 1_000, &at);
        assert_eq!(refused, status, "{token}");
        assert!(station.ordered.is_empty(), "it may stop by itself");
        station.pass(60);
        station.values(transaction, "1200", None);
        let stop = ("RemoteStopTransaction".to_owned(), json!({"transactionId": transaction}));
        assert_eq!(station.ordered, std::slice::from_ref(&stop), "{token}");
        station = station.crash();
        station.pass(60);
        station.values(transaction, "1300", None);
        station.values(transaction, "1300", None);
        assert_eq!(station.ordered, [stop], "{token}: it goes on, also after a restart");
        assert_eq!(station.start(token, 1_000, &at), (transaction, status.to_owned()));
        station.pass(60);
        for _ in 0..2 {
            station.stop(transaction, 1_500);
            station = station.crash();
        }
        let session = station.sessions()[0];
        let Stage::Closed(ended) = &session.stage else { panic!("{:?}", session.stage) };
        assert_eq!((ended.payable.minor, ended.admitted, ended.reason.is_estimate()), (0, false, false));
        assert_eq!((station.kept_wh(), station.energy_wh()), (vec![Some(500)], 0), "{token}");
        assert_eq!((station.captured(), station.held()), (0, 0));
        assert_eq!(station.start(token, 1_000, &at), (transaction, status.to_owned()), "also after its end");
    }
}

#[test]
fn an_event_with_a_refused_token_has_its_status_and_its_energy_is_kept_17() {
    for version in [Version::V201, Version::V21] {
        for (token, status) in [("NOBODY", "Unknown"), ("ACCT-NONE", "NoCredit"), ("BLOCKED", "Blocked")] {
            let mut station = Station::new(version);
            let presented = json!({"idToken": {"idToken": token, "type": "ISO14443"}});
            assert_eq!(station.calls("Authorize", &presented)["idTokenInfo"]["status"], status, "{token}");
            let answer = station.event("Started", "tx", Some(token), Some(1_000));
            assert_eq!(answer["idTokenInfo"]["status"], status, "{token}");
            assert!(answer.get("totalCost").is_none(), "{answer}");
            station.pass(60);
            assert_eq!(station.event("Updated", "tx", None, Some(1_200)), json!({}));
            assert_eq!(station.ordered, [("RequestStopTransaction".to_owned(), json!({"transactionId": "tx"}))]);
            station = station.crash();
            station.pass(60);
            assert_eq!(station.event("Ended", "tx", None, Some(1_400)), json!({}), "nothing that is not known is 0");
            assert_eq!((station.kept_wh(), station.captured(), station.held()), (vec![Some(400)], 0, 0), "{token}");
        }
    }
}

#[test]
fn a_refused_start_without_energy_leaves_nothing_to_review_17() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("NOBODY", 1_000, &at);
    station.stop(transaction, 1_000);
    let session = station.sessions()[0];
    assert!(matches!(&session.stage, Stage::Closed(ended) if ended.reason == StopReason::NotAccepted));
    assert_eq!((station.kept_wh(), station.ordered.len()), (vec![None], 0));
}

#[test]
fn a_refused_session_whose_stop_is_lost_ends_with_the_next_start_and_keeps_what_comes_late_17() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (refused, _) = station.start("NOBODY", 1_000, &at);
    station.pass(60);
    station.values(refused, "1100", None);
    let at = station.now();
    let (second, status) = station.start("ACCT-0001", 1_200, &at);
    assert_eq!((status.as_str(), second > refused), (ACCEPTED, true));
    assert_eq!(station.kept_wh(), [Some(100), None]);
    station = station.crash();
    station.stop(refused, 1_150);
    assert_eq!(station.kept_wh(), [Some(150), None]);
    station.pass(60);
    station.stop(second, 1_500);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (300, 4, 0));
    // One that is never heard of again.
    let at = station.now();
    let (refused, _) = station.start("NOBODY", 2_000, &at);
    station.values(refused, "2050", None);
    for _ in 0..20 {
        station.pass(60);
    }
    let session = station.sessions()[2];
    assert!(matches!(&session.stage, Stage::Closed(ended) if ended.reason == StopReason::Silence));
    assert_eq!(session.quarantine().map(|kept| kept.cause), Some(Cause::Refused(StopReason::NotAccepted)));
    assert_eq!(station.kept_wh()[2], Some(50));
}

#[test]
fn a_card_that_has_expired_is_answered_as_that_17() {
    let mut station = Station::new(Version::V21);
    let started = json!([2, "a", "TransactionEvent", {"eventType": "Started", "timestamp": station.now(),
        "triggerReason": "Authorized", "seqNo": 0, "transactionInfo": {"transactionId": "tx"},
        "idToken": {"idToken": "tok_visa", "type": "DirectPayment"}}]);
    assert!(station.send(&started.to_string()).is_empty(), "it is not decided");
    let authorize = station.scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "54".into(), retry_after: None };
    station.scene.answer(&authorize, Outcome::Declined(decline));
    let mut reply = Vec::new();
    station.deliver(Vec::new(), &mut reply);
    reply.extend(station.wakes());
    let answers = station.sort_out(reply);
    assert_eq!(answers[0]["idTokenInfo"]["status"], "Expired");
    station.pass(60);
    station.event("Ended", "tx", None, Some(1_000));
    assert_eq!(station.sessions()[0].ended().map(|ended| ended.reason), Some(StopReason::Expired));
}
