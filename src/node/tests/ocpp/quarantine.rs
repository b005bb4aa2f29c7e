//! Energy that no one has agreed to pay for, and readings that are not believed.

use super::*;
use crate::node::input::ReviewOrder;
use crate::node::reply::ReplyTo;
use crate::session::{Cause, NotReviewed, Order, Ruled, Ruling, StopReason};
use crate::units::{Energy, Protocol};

impl Station {
    /// Watt hours that are kept of each session.
    fn kept_wh(&self) -> Vec<Option<i64>> {
        let kept = |session: &&Session| session.kept_energy().map(Energy::whole_watt_hours);
        self.sessions().iter().map(kept).collect()
    }

    fn review(&mut self, number: usize, order: ReviewOrder) {
        let id = self.sessions()[number].id;
        self.scene.take(Input::Review(id, order, ReplyTo::NONE));
        self.pass(0);
    }

    fn release(&mut self, number: usize, wh: Option<i64>, account: Option<&str>) {
        let energy = wh.and_then(Energy::from_watt_hours);
        let account = account.map(|account| AccountId::new(account).unwrap());
        self.review(number, ReviewOrder::Release { energy, account });
    }

    fn ruling(&self, number: usize) -> Option<Ruling> {
        self.sessions()[number].quarantine().and_then(|kept| kept.ruled).map(|ruled| ruled.ruling)
    }

    fn owed(&self, number: usize) -> i64 {
        self.sessions()[number].ended().map_or(0, |ended| ended.payable.minor)
    }

    /// A reading of a 1.6 charger that names no transaction.
    fn stray(&mut self, transaction: i64, wh: i64) {
        let payload = json!({"connectorId": 1, "transactionId": transaction,
            "meterValue": [{"timestamp": self.now(), "sampledValue": [{"value": wh.to_string()}]}]});
        assert_eq!(self.calls("MeterValues", &payload), json!({}));
    }
}

#[test]
fn energy_of_no_transaction_is_that_of_the_start_that_comes_late_09() {
    for crashes in [false, true] {
        for (transaction, stop) in [(-1, -1), (0, -1), (4_711, 4_711), (-1, 0)] {
            let mut station = Station::new(Version::V16);
            let begun = station.now();
            station.pass(60);
            station.stray(transaction, 1_100);
            station.pass(60);
            for _ in 0..2 {
                station.stray(transaction, 1_300);
            }
            assert_eq!((station.kept_wh(), station.held()), (vec![Some(200)], 0), "{transaction}");
            station.pass(60);
            for _ in 0..2 {
                station.stop(stop, 1_500);
            }
            assert_eq!((station.kept_wh(), station.ordered.len()), (vec![Some(400)], 0), "{transaction} {stop}");
            if crashes {
                station = station.crash();
            }
            let started = station.start("ACCT-0001", 1_000, &begun);
            assert_eq!(started.1, ACCEPTED);
            let [orphan, session] = station.sessions()[..] else { panic!("two sessions") };
            assert!(matches!(&session.stage, Stage::Closed(ended) if ended.reason == StopReason::Local));
            assert_eq!(
                orphan.quarantine().and_then(|kept| kept.ruled).map(|ruled| ruled.ruling),
                Some(Ruling::Adopted(session.id))
            );
            assert_eq!((station.kept_wh(), station.energy_wh()), (vec![None, None], 500));
            assert_eq!((station.captured(), station.held()), (7, 0), "once");
            station = station.crash();
            assert_eq!(station.start("ACCT-0001", 1_000, &begun), started);
            station.stop(stop, 1_500);
            assert_eq!((station.captured(), station.held()), (7, 0));
        }
    }
}

#[test]
fn energy_of_no_transaction_goes_on_in_the_session_that_adopts_it_09() {
    let mut station = Station::new(Version::V16);
    let begun = station.now();
    station.pass(60);
    station.stray(-1, 1_100);
    let (transaction, _) = station.start("ACCT-0001", 1_000, &begun);
    assert_eq!((station.energy_wh(), station.held()), (100, 4_500));
    station.pass(60);
    station.stray(-1, 1_200);
    station.values(transaction, "1300", None);
    station.pass(60);
    station.stop(transaction, 1_500);
    assert_eq!((station.energy_wh(), station.captured(), station.held()), (500, 7, 0));
    assert_eq!(station.sessions().len(), 2);
}

#[test]
fn energy_of_no_transaction_whose_start_is_refused_is_kept_once_09() {
    let mut station = Station::new(Version::V16);
    let begun = station.now();
    station.pass(60);
    station.stray(-1, 1_100);
    station.pass(60);
    station.stop(-1, 1_400);
    assert_eq!(station.start("NOBODY", 1_000, &begun).1, "Invalid");
    assert_eq!((station.kept_wh(), station.captured(), station.held()), (vec![None, Some(400)], 0, 0));
}

#[test]
fn a_start_of_another_driver_adopts_nothing_09() {
    let mut station = Station::new(Version::V16);
    station.stray(-1, 1_100);
    station.pass(60);
    station.stop(-1, 1_400);
    station.pass(60);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 1_400, &at);
    station.pass(60);
    station.stop(transaction, 1_600);
    assert_eq!((station.kept_wh(), station.energy_wh()), (vec![Some(300), None], 200));
    assert_eq!((station.captured(), station.held()), (3, 0));
    // Another transaction without a number is another one to review.
    station.stray(-1, 1_600);
    station.pass(60);
    station.stop(-1, 1_700);
    station.pass(60);
    station.stray(-1, 1_700);
    station.pass(60);
    station.stray(-1, 1_800);
    assert_eq!(station.kept_wh().len(), 4, "{:?}", station.kept_wh());
}

#[test]
fn a_2_x_transaction_that_never_began_is_kept_and_adopted_by_its_late_beginning_09() {
    let mut station = Station::new(Version::V201);
    let begun = station.now();
    station.pass(60);
    for wh in [1_100, 1_200] {
        assert_eq!(station.event("Updated", "tx", None, Some(wh)), json!({}));
        station.pass(60);
    }
    assert_eq!(station.event("Ended", "tx", None, Some(1_400)), json!({}));
    assert_eq!(station.event("Ended", "tx", None, Some(1_400)), json!({}));
    let session = station.sessions()[0];
    assert_eq!((session.protocol(), session.origin.as_ref().unwrap().name.as_deref()), (Protocol::Ocpp201, Some("tx")));
    assert_eq!(station.kept_wh(), [Some(300)]);
    station = station.crash();
    station.event_at("Started", "tx", (Some("ACCT-0001"), Some(1_000)), &begun);
    assert_eq!((station.kept_wh(), station.energy_wh()), (vec![None, None], 400));
    assert_eq!((station.captured(), station.held()), (6, 0));
}

#[test]
fn what_is_kept_is_billed_once_by_an_order_and_never_by_itself_17() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("NOBODY", 1_000, &at);
    station.pass(600);
    station.values(transaction, "1500", None);
    let zone = jiff::tz::TimeZone::UTC;
    let all = Order::Release { energy: None, by: None };
    let tariff = station.scene.shard.session(station.sessions()[0].id).unwrap().tariff().clone();
    assert_eq!(station.sessions()[0].review(&all, &tariff, &zone), Err(NotReviewed::GoesOn));
    station.pass(600);
    station.stop(transaction, 2_000);
    for _ in 0..30 {
        station.pass(3_600);
    }
    assert_eq!((station.kept_wh(), station.owed(0)), (vec![Some(1_000)], 0));
    station.release(0, None, None);
    assert_eq!(station.ruling(0), None, "no account pays for the card");
    station.release(0, None, Some("ACCT-0001"));
    assert_eq!((station.captured(), station.held(), station.owed(0)), (14, 0, 14));
    for crashes in [false, true] {
        if crashes {
            station = station.crash();
        }
        station.release(0, None, Some("ACCT-0001"));
        station.review(0, ReviewOrder::Drop);
        let released = Ruling::Released(Energy::from_watt_hours(1_000).unwrap());
        assert_eq!((station.ruling(0), station.captured()), (Some(released), 14));
    }
    assert_eq!((station.kept_wh(), station.sessions()[0].meter.energy().whole_watt_hours()), (vec![None], 1_000));
    // Less than all of it, by an account without money: it is owed.
    let at = station.now();
    let (transaction, _) = station.start("NOBODY", 2_000, &at);
    station.pass(3_600);
    station.stop(transaction, 12_000);
    station.release(1, Some(9_000), Some("ACCT-NONE"));
    assert_eq!((station.owed(1), station.captured(), station.held()), (126, 14, 0));
    assert_eq!(station.sessions()[1].payment.shortfall().minor, 126);
}

#[test]
fn a_refused_start_without_energy_leaves_its_connector_to_a_remote_start() {
    use crate::message::ChargerOrder;
    use crate::payment::{Credential, CredentialKind};
    let order = |station: &mut Station| {
        let credential = Credential { kind: CredentialKind::Rfid, token: b"ACCT-0001".as_slice().into() };
        let order = ChargerOrder::Start { connector: Some(ConnectorId(1)), credential };
        let charger = crate::units::ChargerId::new("CP-1").unwrap();
        station.scene.take(Input::OrderCharger(Box::new((charger, order)), ReplyTo::NONE));
        station.pass(0);
        std::mem::take(&mut station.ordered).into_iter().map(|(action, _)| action).collect::<Vec<_>>()
    };
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("NOBODY", 1_000, &at);
    assert_eq!(order(&mut station), ["RemoteStartTransaction"]);
    station.pass(60);
    station.values(transaction, "1200", None);
    station.ordered.clear();
    assert_eq!(order(&mut station), Vec::<String>::new(), "it gives energy: the connector is occupied");
}

#[test]
fn no_more_is_billed_than_what_is_kept_05() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("NOBODY", 1_000, &at);
    station.pass(600);
    station.stop(transaction, 2_000);
    station.release(0, Some(1_001), Some("ACCT-0001"));
    assert_eq!((station.kept_wh(), station.owed(0)), (vec![Some(1_000)], 0), "more than what is kept");
    station.release(0, Some(600), Some("ACCT-0001"));
    assert_eq!((station.kept_wh(), station.owed(0)), (vec![None], 8));
    assert_eq!(station.sessions()[0].paid_by().map(|payer| payer.as_str()), Some("account:ACCT-0001"));
}

#[test]
fn what_is_dropped_is_never_billed_05() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(600);
    station.values(transaction, "500", None);
    station.pass(600);
    station.stop(transaction, 425_742);
    assert_eq!((station.kept_wh(), station.captured(), station.held()), (vec![Some(425_242)], 7, 0));
    station.review(0, ReviewOrder::Drop);
    station = station.crash();
    let ruled = station.sessions()[0].quarantine().unwrap().ruled;
    assert!(matches!(ruled, Some(Ruled { ruling: Ruling::Dropped, .. })));
    station.release(0, None, None);
    assert_eq!((station.kept_wh(), station.captured()), (vec![None], 7));
}

#[test]
fn a_reading_that_was_not_believed_is_billed_as_far_as_an_operator_believes_it_07() {
    let mut station = Station::new(Version::V16);
    let at = station.now();
    let (transaction, _) = station.start("ACCT-0001", 0, &at);
    station.pass(600);
    station.values(transaction, "500", None);
    station.pass(600);
    // 22 kW for ten minutes are 3.67 kWh.
    station.stop(transaction, 10_500);
    assert_eq!((station.kept_wh(), station.captured()), (vec![Some(10_000)], 7));
    station.release(0, Some(2_000), None);
    assert_eq!((station.owed(0), station.kept_wh()), (35, vec![None]), "2.5 kWh at 0.14");
    assert_eq!(station.sessions()[0].meter.energy().whole_watt_hours(), 2_500);
    // Registers that fall, a glitch that is over: there is something to look at, and no energy that could be billed by itself.
    for values in [&["700", "100"][..], &["700", "0", "800"]] {
        let mut station = Station::new(Version::V16);
        let at = station.now();
        let (transaction, _) = station.start("ACCT-0001", 600, &at);
        for value in values {
            station.pass(600);
            station.values(transaction, value, None);
        }
        assert_eq!(station.kept_wh(), [Some(0)]);
        station.stop(transaction, 800);
        station.release(0, None, None);
        assert_eq!(station.ruling(0), None, "there is no energy in it");
    }
}

#[test]
fn a_policy_may_bill_what_was_given_after_a_refused_start_17() {
    let mut station = Station::in_scene(Scene::with(|policy| policy.bills_refused = true), Version::V16);
    let at = station.now();
    let (transaction, status) = station.start("ACCT-NONE", 1_000, &at);
    assert_eq!(status, "Blocked");
    station.pass(600);
    station.stop(transaction, 2_000);
    assert_eq!((station.kept_wh(), station.owed(0), station.captured()), (vec![None], 14, 0));
    assert_eq!(station.sessions()[0].payment.shortfall().minor, 14);
    // Also where the stop is lost, and the next driver comes.
    let at = station.now();
    let (transaction, _) = station.start("ACCT-NONE", 2_000, &at);
    station.pass(600);
    station.values(transaction, "3000", None);
    let at = station.now();
    assert_eq!(station.start("ACCT-0001", 3_000, &at).1, ACCEPTED);
    assert_eq!((station.kept_wh()[1], station.owed(1)), (None, 14));
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
    // One that sends nothing further.
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

#[test]
fn energy_that_was_decided_on_is_not_billed_again_by_a_start_that_comes_later_09() {
    for crashes in [false, true] {
        for (drops, wh) in [(false, None), (false, Some(40)), (true, None)] {
            for version in [Version::V16, Version::V201] {
                let mut station = Station::new(version);
                let begun = station.now();
                let is_16 = version == Version::V16;
                station.pass(60);
                if is_16 {
                    station.stray(-1, 1_050);
                } else {
                    station.event("Updated", "z1", None, Some(1_050));
                }
                station.pass(60);
                if is_16 {
                    station.stop(-1, 1_150);
                } else {
                    station.event("Ended", "z1", None, Some(1_150));
                }
                assert_eq!(station.kept_wh(), [Some(100)]);
                if drops {
                    station.review(0, ReviewOrder::Drop);
                } else {
                    station.release(0, wh, Some("ACCT-0001"));
                }
                let ruled = if drops { 0 } else { wh.unwrap_or(100) };
                let billed = i64::from(!drops);
                assert_eq!((station.kept_wh(), station.owed(0)), (vec![None], billed), "{ruled} Wh at 0.14");
                if crashes {
                    station = station.crash();
                }
                // 1,000 to 1,050 is in no report before the start, 1,150 to 1,250 comes after it.
                let stops = |station: &mut Station, wh| {
                    if is_16 {
                        let (transaction, status) = station.start("ACCT-POOR", 1_000, &begun);
                        assert_eq!(status, ACCEPTED);
                        station.values(transaction, "1100", None);
                        station.pass(60);
                        station.stop(transaction, wh);
                    } else {
                        let answer = station.event_at("Started", "z1", (Some("ACCT-POOR"), Some(1_000)), &begun);
                        assert_eq!(answer["idTokenInfo"]["status"], ACCEPTED);
                        station.event("Updated", "z1", None, Some(1_100));
                        station.pass(60);
                        station.event("Ended", "z1", None, Some(wh));
                    }
                };
                station.pass(60);
                stops(&mut station, 1_250);
                let session = station.sessions()[1];
                assert!(matches!(session.stage, Stage::Closed(_)));
                assert_eq!(session.meter.energy().whole_watt_hours(), 150, "{version:?} {ruled}");
                assert_eq!((station.kept_wh(), station.owed(1), station.held()), (vec![None, None], 2, 0));
                station = station.crash();
                assert_eq!((station.owed(0), station.owed(1)), (billed, 2));
            }
        }
    }
}
