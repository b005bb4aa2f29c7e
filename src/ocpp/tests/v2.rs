//! OCPP 2.0.1 and 2.1.

use super::*;
use crate::message::{Begin, ChargerOrder, Funds, OrderNumber, OrderOutcome, StopReason};
use crate::payment::{Credential, CredentialKind};
use crate::units::{ConnectorId, Protocol};

fn event(kind: &str, seconds: u32, name: &str, members: &str) -> String {
    format!(
        r#"{{"eventType":"{kind}","timestamp":"2026-09-21T11:59:{seconds:02}Z","triggerReason":"Authorized","seqNo":0,
            "transactionInfo":{{"transactionId":"{name}"{}}}{members}}}"#,
        if members.contains("Charging") { r#","chargingState":"Charging""# } else { "" }
    )
}

fn value(wh: i64) -> String {
    format!(r#","meterValue":[{{"timestamp":"2026-09-21T12:00:00Z","sampledValue":[{{"value":{wh}}}]}}]"#)
}

const TOKEN: &str = r#","idToken":{"idToken":"ACCT-0001","type":"ISO14443"},"evse":{"id":2,"connectorId":1}"#;

fn begins(scene: &mut Scene) -> Begin {
    match scene.unnumbered().pop() {
        Some(Unnumbered::Begin(begin)) => *begin,
        other => panic!("{other:?}"),
    }
}

/// Answers the fence of the last event.
fn pass(scene: &mut Scene, bill: Option<Bill>) {
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill });
}

#[test]
fn a_session_from_authorize_to_the_final_cost() {
    let mut scene = Scene::new(Version::V201);
    scene.calls("1", "Authorize", r#"{"idToken":{"idToken":"ACCT-0001","type":"ISO14443"}}"#);
    let [Unnumbered::Authorize { ticket, .. }] = &scene.unnumbered()[..] else { panic!("a question") };
    scene.answer(Answer::Authorized { ticket: *ticket, refused: None });
    assert_eq!(scene.hears(), [r#"[3,"1",{"idTokenInfo":{"status":"Accepted"}}]"#]);

    scene.calls("2", "TransactionEvent", &event("Started", 0, "tx-1", &format!("{TOKEN}{}", value(1_000))));
    let begin = begins(&mut scene);
    assert_eq!((begin.name.as_deref(), begin.connector, begin.is_first), (Some("tx-1"), ConnectorId(2), true));
    assert_eq!((begin.register, begin.protocol), (Energy::from_watt_hours(1_000), Protocol::Ocpp201));
    assert_eq!(begin.credential.map(|credential| credential.kind), Some(CredentialKind::Rfid));
    scene.answer(begun(begin.ticket, 17));
    assert_eq!((scene.hears(), scene.unnumbered()), (vec![], vec![]));
    scene.accepts(17);
    pass(&mut scene, bill(17, 0, false));
    let [answer] = &scene.hears()[..] else { panic!("one answer") };
    assert_eq!(payload(answer).to_string(), r#"{"totalCost":0.00,"idTokenInfo":{"status":"Accepted"}}"#);

    scene.calls("3", "TransactionEvent", &event("Updated", 30, "tx-1", &value(1_500)));
    assert_eq!(
        scene.messages[0],
        FromCharger::Unnumbered(Box::new(Unnumbered::Sample { session: named("tx-1"), reading: reading(0, 1_500) }))
    );
    pass(&mut scene, bill(17, 31, false));
    assert_eq!(scene.hears(), [r#"[3,"3",{"totalCost":0.31}]"#]);

    scene.stops(17);
    let [order] = &scene.hears()[..] else { panic!("an order") };
    assert!(order.ends_with(r#""RequestStopTransaction",{"transactionId":"tx-1"}]"#), "{order}");

    scene.calls("4", "TransactionEvent", &event("Ended", 50, "tx-1", &value(2_000)));
    let (session, last) = (named("tx-1"), Some(reading(0, 2_000)));
    let end = Unnumbered::End { session, last, reason: StopReason::Local, credential: None };
    assert_eq!(scene.messages[0], FromCharger::Unnumbered(Box::new(end)));
    pass(&mut scene, bill(17, 62, true));
    assert_eq!(scene.hears(), [r#"[3,"4",{"totalCost":0.62}]"#]);
}

#[test]
fn a_free_session_costs_0_and_one_without_a_known_cost_nothing() {
    for (known, answer) in [
        (bill(17, 0, true), r#"[3,"1",{"totalCost":0.00}]"#),
        (None, r#"[3,"1",{}]"#),
        (bill(17, 5, false), r#"[3,"1",{}]"#),
    ] {
        let mut scene = Scene::new(Version::V21);
        scene.calls("1", "TransactionEvent", &event("Ended", 0, "tx-1", ""));
        pass(&mut scene, known);
        assert_eq!(scene.hears(), [answer]);
    }
}

#[test]
fn a_session_begins_when_its_transaction_has_a_token_and_counts_from_its_first_value() {
    let mut scene = Scene::new(Version::V201);
    scene.calls(
        "1",
        "TransactionEvent",
        &event("Started", 0, "tx-1", &format!(r#","evse":{{"id":2}}{}"#, value(1_000))),
    );
    pass(&mut scene, None);
    assert_eq!(scene.hears(), [r#"[3,"1",{}]"#]);
    scene.calls(
        "2",
        "TransactionEvent",
        &event("Updated", 10, "tx-1", r#","idToken":{"idToken":"A","type":"Central"}"#),
    );
    let begin = begins(&mut scene);
    assert_eq!((begin.connector, begin.register), (ConnectorId(2), Energy::from_watt_hours(1_000)));
    assert_eq!((&*begin.stated, begin.is_first), ("2026-09-21T11:59:00Z", false));
}

#[test]
fn a_token_that_only_an_authorize_had_is_the_one_of_the_session() {
    let mut scene = Scene::new(Version::V201);
    scene.calls("1", "Authorize", r#"{"idToken":{"idToken":"A","type":"Central"}}"#);
    let [Unnumbered::Authorize { ticket, .. }] = &scene.unnumbered()[..] else { panic!("a question") };
    scene.answer(Answer::Authorized { ticket: *ticket, refused: None });
    let charging = |kind, name| event(kind, 0, name, r#","x":"Charging""#);
    scene.calls("2", "TransactionEvent", &charging("Started", "tx-1"));
    let begin = begins(&mut scene);
    assert_eq!((begin.connector, begin.register), (ConnectorId(1), None));
    scene.answer(begun(begin.ticket, 17));
    scene.accepts(17);
    pass(&mut scene, None);
    // Later it is not any more, nor is one that was refused.
    scene.passes(301);
    scene.calls("3", "TransactionEvent", &charging("Started", "tx-2"));
    assert!(matches!(scene.unnumbered()[..], [Unnumbered::Event { .. }, Unnumbered::Fence { .. }]));
}

#[test]
fn a_refused_token_is_refused_in_the_answer_and_its_event_is_reported_all_the_same() {
    for (code, status) in [
        (Code::FundsInsufficient, "NoCredit"),
        (Code::CredentialDeclined, "Blocked"),
        (Code::CredentialNotAccepted, "Unknown"),
        (Code::NoTariff, "NotAtThisLocation"),
        (Code::Busy, "Invalid"),
    ] {
        let mut scene = Scene::new(Version::V21);
        scene.calls("1", "TransactionEvent", &event("Started", 0, "tx-1", TOKEN));
        let begin = begins(&mut scene);
        scene.answer(begun(begin.ticket, 17));
        scene.rejects(17, code);
        pass(&mut scene, None);
        assert_eq!(scene.hears(), [format!(r#"[3,"1",{{"idTokenInfo":{{"status":"{status}"}}}}]"#)]);
    }
    let mut scene = Scene::new(Version::V201);
    scene.calls("1", "TransactionEvent", &event("Started", 0, "tx-1", r#","idToken":{"idToken":"","type":"Central"}"#));
    pass(&mut scene, None);
    assert_eq!(scene.hears(), [r#"[3,"1",{"idTokenInfo":{"status":"Unknown"}}]"#]);
}

#[test]
fn an_event_of_a_known_session_begins_nothing_and_a_repeated_beginning_asks_again() {
    let mut scene = Scene::new(Version::V201);
    scene.answer(Answer::Open { session: SessionKey(17), name: Some("tx-1".into()) });
    scene.calls("1", "TransactionEvent", &event("Updated", 10, "tx-1", &format!("{TOKEN}{}", value(1_000))));
    let messages = scene.unnumbered();
    let [Unnumbered::Sample { .. }, Unnumbered::Event { sequence: Some(0), .. }, Unnumbered::Fence { ticket, .. }] =
        messages[..]
    else {
        panic!("{messages:?}")
    };
    scene.answer(Answer::Passed { ticket, bill: bill(17, 31, false) });
    assert_eq!(scene.hears(), [r#"[3,"1",{"totalCost":0.31,"idTokenInfo":{"status":"Accepted"}}]"#]);
    scene.calls("2", "TransactionEvent", &event("Started", 0, "tx-1", TOKEN));
    assert!(begins(&mut scene).is_first);
}

#[test]
fn a_stop_is_not_ordered_for_a_transaction_that_ended() {
    let mut scene = Scene::new(Version::V201);
    scene.answer(Answer::Open { session: SessionKey(17), name: Some("tx-1".into()) });
    scene.calls("1", "TransactionEvent", &event("Ended", 10, "tx-1", ""));
    pass(&mut scene, bill(17, 31, true));
    scene.hears();
    scene.stops(17);
    assert_eq!(scene.hears(), [""; 0]);
}

fn funds(minor: i64, group: Option<&str>) -> Funds {
    let refused = (minor == 0).then_some(Code::FundsInsufficient);
    Funds { available: Some(Amount::new(minor, Currency::EUR)), refused, group: group.map(Into::into) }
}

#[test]
fn a_prepaid_token_is_not_to_be_cached_and_one_without_money_has_no_credit_18() {
    for (minor, status) in [(100_000, "Accepted"), (0, "NoCredit")] {
        let mut scene = Scene::new(Version::V21);
        scene.calls("1", "Authorize", r#"{"idToken":{"idToken":"A","type":"Central"}}"#);
        let [Unnumbered::Authorize { ticket, .. }] = &scene.unnumbered()[..] else { panic!("a question") };
        scene.answer(Answer::Funds { ticket: *ticket, funds: funds(minor, None) });
        let expected = format!(
            r#"[3,"1",{{"idTokenInfo":{{"status":"{status}","cacheExpiryDateTime":"2026-09-21T12:00:00Z"}}}}]"#
        );
        assert_eq!(scene.hears(), [expected]);
    }
}

#[test]
fn what_an_account_has_is_the_limit_of_the_cost_in_2_1_only_18() {
    for version in [Version::V201, Version::V21] {
        // The second time it is a repetition, and the hold of 45.00 is not in what is available.
        for (minor, is_new) in [(100_000, true), (95_500, false)] {
            let mut scene = Scene::new(version);
            scene.calls("1", "TransactionEvent", &event("Started", 0, "tx-1", TOKEN));
            let ticket = begins(&mut scene).ticket;
            scene.answer(Answer::Begun { ticket, session: SessionKey(17), is_new, funds_follow: true });
            scene.accepts(17);
            assert!(scene.unnumbered().is_empty(), "what the account has is awaited");
            scene.answer(Answer::Funds { ticket, funds: funds(minor, Some("FLEET")) });
            pass(&mut scene, None);
            let [answer] = &scene.hears()[..] else { panic!("one answer") };
            let answer = payload(answer);
            let limit = (version == Version::V21).then(|| r#"{"maxCost":1000.00}"#.to_owned());
            assert_eq!(answer.get("transactionLimit").map(Value::to_string), limit);
            let group = r#"{"idToken":"FLEET","type":"Central"}"#;
            assert_eq!(answer["idTokenInfo"]["groupIdToken"].to_string(), group);
            scene.calls("2", "TransactionEvent", &event("Updated", 9, "tx-1", TOKEN));
            pass(&mut scene, None);
            assert!(!scene.hears()[0].contains("maxCost"), "once");
        }
    }
}

#[test]
fn an_event_that_repeats_the_number_of_an_ordered_start_needs_no_token() {
    let mut scene = Scene::new(Version::V21);
    let credential = Credential { kind: CredentialKind::CardToken, token: b"tok-1".as_slice().into() };
    let order = ChargerOrder::Start { connector: Some(ConnectorId(1)), credential: credential.clone() };
    scene.node(ToCharger::Order { number: OrderNumber { node: 0, number: 9 }, order: Box::new(order) });
    let call: Value = serde_json::from_str(&scene.hears()[0]).unwrap();
    assert_eq!((&call[2], &call[3]["idToken"]["type"]), (&"RequestStartTransaction".into(), &"DirectPayment".into()));
    let id = &call[3]["remoteStartId"];
    scene.says(&format!(r#"[3,{},{{"status":"Accepted"}}]"#, call[1]));
    assert!(matches!(scene.unnumbered()[..], [Unnumbered::Ordered { outcome: OrderOutcome::Accepted, .. }]));
    scene.calls(
        "1",
        "TransactionEvent",
        &format!(
            r#"{{"eventType":"Started","timestamp":"2026-09-21T12:00:00Z","triggerReason":"RemoteStart","seqNo":0,
            "transactionInfo":{{"transactionId":"tx-1","remoteStartId":{id}}},"evse":{{"id":1}}}}"#
        ),
    );
    let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("a beginning") };
    assert_eq!(begin.credential.as_ref(), Some(&credential));
}

#[test]
fn an_ordered_start_is_good_for_one_session_and_not_for_ever() {
    let start = |scene: &mut Scene, id: &Value, name: &str| {
        scene.calls(
            name,
            "TransactionEvent",
            &format!(
                r#"{{"eventType":"Started","timestamp":"2026-09-21T12:00:00Z","triggerReason":"RemoteStart","seqNo":0,
                "transactionInfo":{{"transactionId":"{name}","remoteStartId":{id}}},"evse":{{"id":1}}}}"#
            ),
        );
        scene.unnumbered().into_iter().find_map(|message| match message {
            Unnumbered::Begin(begin) => begin.credential,
            _ => None,
        })
    };
    let order = |scene: &mut Scene| {
        let credential = Credential { kind: CredentialKind::Rfid, token: b"ACCT-0001".as_slice().into() };
        let order = ChargerOrder::Start { connector: None, credential };
        scene.node(ToCharger::Order { number: OrderNumber { node: 0, number: 9 }, order: Box::new(order) });
        let call: Value = serde_json::from_str(scene.hears().last().unwrap()).unwrap();
        scene.says(&format!(r#"[3,{},{{"status":"Accepted"}}]"#, call[1]));
        scene.takes();
        call[3]["remoteStartId"].clone()
    };
    let mut scene = Scene::new(Version::V21);
    let id = order(&mut scene);
    assert!(start(&mut scene, &id, "tx-1").is_some());
    let mut scene = Scene::new(Version::V21);
    let id = order(&mut scene);
    scene.passes(301);
    assert!(start(&mut scene, &id, "tx-1").is_none(), "it came too late");
    let id = order(&mut scene);
    assert!(start(&mut scene, &id, "tx-2").is_some());
    // The session is decided on, so that the next call is taken.
    for ticket in 1..=4 {
        scene.answer(begun(Ticket(ticket), 17));
    }
    scene.accepts(17);
    scene.takes();
    assert!(start(&mut scene, &id, "tx-3").is_none(), "another session");
}
