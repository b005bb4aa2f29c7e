//! OCPP 1.6.

use super::*;
use crate::message::{
    ChargerOrder, ConnectorState, ConnectorStatus, Funds, OrderNumber, OrderOutcome, ReceiptNotice, StopReason,
    Triggered,
};
use crate::payment::{Credential, CredentialKind};
use crate::units::{ConnectorId, Cost, Protocol};

const START: &str = r#"{"connectorId":2,"idTag":"ACCT-0001","meterStart":1000,"timestamp":"2026-09-21T11:59:00Z"}"#;

fn card(token: &str) -> Option<Credential> {
    Some(Credential { kind: CredentialKind::Rfid, token: token.as_bytes().into() })
}

#[test]
fn a_session_from_boot_to_stop() {
    let mut scene = Scene::new(Version::V16);
    scene.calls("1", "BootNotification", r#"{"chargePointVendor":"V","chargePointModel":"M","firmwareVersion":"1.2"}"#);
    let [FromCharger::Hello(hello), FromCharger::Unnumbered(started)] = &scene.takes()[..] else {
        panic!("a hello with the firmware")
    };
    assert_eq!(**started, Unnumbered::Restarted);
    assert_eq!((&*hello.firmware, hello.charger.as_str()), ("1.2", "CP-1"));
    scene.calls("2", "StatusNotification", r#"{"connectorId":2,"errorCode":"NoError","status":"Preparing"}"#);
    let status = ConnectorStatus {
        connector: ConnectorId(2),
        state: ConnectorState::Occupied,
        at: scene.now.wall,
        text: "".into(),
    };
    assert_eq!(scene.unnumbered(), [Unnumbered::Status { status, power_max: Power::from_watts(350_000).unwrap() }]);
    scene.hears();

    scene.calls("3", "Authorize", r#"{"idTag":"ACCT-0001"}"#);
    let [Unnumbered::Authorize { ticket, credential }] = &scene.unnumbered()[..] else { panic!("a question") };
    assert_eq!(Some(credential), card("ACCT-0001").as_ref());
    scene.answer(Answer::Authorized { ticket: *ticket, refused: None });
    assert_eq!(scene.hears(), [r#"[3,"3",{"idTagInfo":{"status":"Accepted"}}]"#]);

    scene.calls("4", "StartTransaction", START);
    let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("a beginning") };
    assert_eq!(
        (begin.connector, &begin.credential, begin.protocol),
        (ConnectorId(2), &card("ACCT-0001"), Protocol::Ocpp16)
    );
    assert_eq!((begin.register, begin.at), (Energy::from_watt_hours(1_000), reading(-60, 0).at));
    assert_eq!((&*begin.stated, begin.is_first), ("2026-09-21T11:59:00Z", true));
    scene.answer(begun(begin.ticket, 17));
    scene.accepts(17);
    assert_eq!(scene.hears(), [r#"[3,"4",{"transactionId":17,"idTagInfo":{"status":"Accepted"}}]"#]);

    scene.calls(
        "5",
        "MeterValues",
        r#"{"connectorId":2,"transactionId":17,"meterValue":[
            {"timestamp":"2026-09-21T11:59:30Z","sampledValue":[{"value":"1200"}]},
            {"timestamp":"2026-09-21T12:00:00Z","sampledValue":[{"value":"1.5","unit":"kWh"},{"value":"50","measurand":"SoC"}]}]}"#,
    );
    let session = SessionName::Number(SessionKey(17), Some(ConnectorId(2)));
    let sample = |seconds, wh| Unnumbered::Sample { session: session.clone(), reading: reading(seconds, wh) };
    let messages = scene.unnumbered();
    assert_eq!(messages[..2], [sample(-30, 1_200), sample(0, 1_500)]);
    let [_, _, Unnumbered::Fence { ticket, session: Some(fenced) }] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((fenced, scene.hears()), (&session, vec![]), "nothing is answered before it is durable");
    scene.answer(Answer::Passed { ticket: *ticket, bill: bill(17, 21, false) });
    assert_eq!(scene.hears(), [r#"[3,"5",{}]"#]);

    scene.passes(60);
    scene.calls(
        "6",
        "StopTransaction",
        r#"{"transactionId":"17","meterStop":"2000","timestamp":"2026-09-21T12:01:00.123Z","reason":"EVDisconnected",
            "idTag":"ACCT-0001","transactionData":[{"timestamp":"2026-09-21T11:59:00Z","sampledValue":[
            {"value":"1000","context":"Transaction.Begin"}]}]}"#,
    );
    let messages = scene.unnumbered();
    let mut last = reading(60, 2_000);
    // A clock that is ahead of the gate's says nothing.
    (last.at, last.sequence) = (Timestamp::from_unix_ms(NOON + 60_000), MeterReading::UNTIMED);
    assert_eq!(
        messages[0],
        Unnumbered::End {
            session: SessionName::Number(SessionKey(17), None),
            last: Some(last),
            reason: StopReason::EvDisconnected,
            credential: card("ACCT-0001"),
        },
        "a clock that is ahead is the gate's"
    );
    let Some(Unnumbered::Fence { ticket, .. }) = messages.last() else { panic!("{messages:?}") };
    scene.answer(Answer::Passed { ticket: *ticket, bill: bill(17, 45, true) });
    assert_eq!(scene.hears(), [r#"[3,"6",{"idTagInfo":{"status":"Accepted"}}]"#]);
}

#[test]
fn a_refused_token_has_a_transaction_id_and_its_reason() {
    for (code, status) in [
        (Code::CredentialNotAccepted, "Invalid"),
        (Code::CredentialDeclined, "Blocked"),
        (Code::FundsInsufficient, "Blocked"),
        (Code::ConnectorOccupied, "ConcurrentTx"),
        (Code::NoTariff, "Invalid"),
    ] {
        let mut scene = Scene::new(Version::V16);
        scene.calls("1", "StartTransaction", START);
        let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("a beginning") };
        scene.answer(begun(begin.ticket, 33));
        scene.rejects(33, code);
        assert_eq!(scene.hears(), [format!(r#"[3,"1",{{"transactionId":33,"idTagInfo":{{"status":"{status}"}}}}]"#)]);
    }
    let mut scene = Scene::new(Version::V16);
    scene.calls("1", "Authorize", r#"{"idTag":""}"#);
    assert_eq!(scene.hears(), [r#"[3,"1",{"idTagInfo":{"status":"Invalid"}}]"#]);
}

#[test]
fn readings_without_a_transaction_are_of_the_connector_and_those_of_the_charger_of_nothing() {
    for (members, expected) in [
        (r#""connectorId":2,"#, Some(SessionName::Connector(ConnectorId(2)))),
        (r#""connectorId":2,"transactionId":-1,"#, Some(SessionName::Connector(ConnectorId(2)))),
        (r#""connectorId":2,"transactionId":0,"#, Some(SessionName::Connector(ConnectorId(2)))),
        (r#""connectorId":"2","transactionId":null,"#, Some(SessionName::Connector(ConnectorId(2)))),
        (r#""connectorId":0,"transactionId":17,"#, Some(SessionName::Number(SessionKey(17), None))),
        (r#""connectorId":0,"#, None),
        ("", None),
    ] {
        let mut scene = Scene::new(Version::V16);
        scene.calls("1", "MeterValues", &format!(r#"{{{members}"meterValue":{{"sampledValue":[{{"value":9}}]}}}}"#));
        match (expected, scene.unnumbered().as_slice()) {
            (None, []) => assert_eq!(scene.hears(), [r#"[3,"1",{}]"#]),
            (Some(expected), [Unnumbered::Sample { session, reading: found }, Unnumbered::Fence { .. }]) => {
                let untimed = MeterReading { sequence: MeterReading::UNTIMED, ..reading(0, 9) };
                assert_eq!((session, *found), (&expected, untimed), "{members}");
            }
            (expected, messages) => panic!("{members}: {expected:?} {messages:?}"),
        }
    }
}

#[test]
fn power_state_of_charge_and_other_noise_change_nothing_and_are_answered() {
    let mut scene = Scene::new(Version::V16);
    scene.calls(
        "1",
        "MeterValues",
        r#"{"connectorId":1,"transactionId":17,"meterValue":[{"timestamp":"2026-09-21T12:00:00Z","sampledValue":[
            {"value":"7000","measurand":"Power.Active.Import","unit":"W"},{"value":"50","measurand":"SoC"},
            {"value":"5","measurand":"Energy.Active.Import.Interval","context":"Sample.Clock"}]}]}"#,
    );
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: bill(17, 1, false) });
    assert_eq!(scene.hears(), [r#"[3,"1",{}]"#]);
}

#[test]
fn a_stop_without_anything_is_a_stop() {
    let mut scene = Scene::new(Version::V16);
    scene.calls("1", "StopTransaction", r#"{"transactionId":17}"#);
    let session = SessionName::Number(SessionKey(17), None);
    assert_eq!(
        scene.unnumbered()[0],
        Unnumbered::End { session, last: None, reason: StopReason::Local, credential: None }
    );
}

#[test]
fn the_tokens_of_an_account_have_one_parent_30() {
    let mut scene = Scene::new(Version::V16);
    scene.calls("1", "StartTransaction", START);
    let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("a beginning") };
    let ticket = begin.ticket;
    let funds = |group: &str| Funds { available: None, refused: None, group: Some(group.into()) };
    scene.answer(Answer::Funds { ticket, funds: funds("FLEET") });
    scene.answer(Answer::Begun { ticket, session: SessionKey(17), is_new: true, funds_follow: true });
    scene.accepts(17);
    assert_eq!(
        scene.hears(),
        [r#"[3,"1",{"transactionId":17,"idTagInfo":{"status":"Accepted","parentIdTag":"FLEET"}}]"#]
    );
    scene.calls("2", "Authorize", r#"{"idTag":"A"}"#);
    let [Unnumbered::Authorize { ticket, .. }] = &scene.unnumbered()[..] else { panic!("a question") };
    scene.answer(Answer::Funds { ticket: *ticket, funds: funds("a name that is too long for a parent") });
    assert_eq!(scene.hears(), [r#"[3,"2",{"idTagInfo":{"status":"Accepted"}}]"#]);
}

fn order(scene: &mut Scene, number: u64, order: ChargerOrder) {
    let number = OrderNumber { node: 0, number };
    scene.node(ToCharger::Order { number, order: Box::new(order) });
}

fn ordered(number: u64, outcome: OrderOutcome) -> Unnumbered {
    Unnumbered::Ordered { number: OrderNumber { node: 0, number }, outcome }
}

fn start_with(token: &str) -> ChargerOrder {
    ChargerOrder::Start { connector: Some(ConnectorId(2)), credential: card(token).unwrap() }
}

#[test]
fn a_session_is_ordered_and_the_word_of_the_charger_comes_back() {
    let mut scene = Scene::new(Version::V16);
    order(&mut scene, 5, start_with("ACCT-0001"));
    let [call] = &scene.hears()[..] else { panic!("one call") };
    let call: Value = serde_json::from_str(call).unwrap();
    assert_eq!(call[2], "RemoteStartTransaction");
    assert_eq!(call[3], serde_json::json!({"idTag": "ACCT-0001", "connectorId": 2}));
    // A second one waits for the answer to the first.
    let trigger = ChargerOrder::Trigger { message: Triggered::Status, connector: Some(ConnectorId(2)) };
    order(&mut scene, 6, trigger);
    assert_eq!(scene.hears(), Vec::<String>::new());
    scene.says(&format!(r#"[3,{},{{"status":"Accepted"}}]"#, call[1]));
    assert_eq!(scene.unnumbered(), [ordered(5, OrderOutcome::Accepted)]);
    let [call] = &scene.hears()[..] else { panic!("the next call") };
    let call: Value = serde_json::from_str(call).unwrap();
    assert_eq!((&call[2], &call[3]["requestedMessage"]), (&"TriggerMessage".into(), &"StatusNotification".into()));
    scene.says(&format!(r#"[4,{},"NotSupported","",{{}}]"#, call[1]));
    let unsupported = OrderOutcome::NotPossible("the charger does not support the order".into());
    assert_eq!(scene.unnumbered(), [ordered(6, unsupported)]);
}

#[test]
fn an_order_that_cannot_be_carried_out_says_so() {
    let mut scene = Scene::new(Version::V16);
    order(&mut scene, 1, start_with("a-token-of-more-than-twenty"));
    let [Unnumbered::Ordered { outcome: OrderOutcome::NotPossible(why), .. }] = &scene.unnumbered()[..] else {
        panic!("not possible")
    };
    assert!(why.contains("20 characters"), "{why}");
    order(&mut scene, 2, start_with("ACCT-0001"));
    scene.passes(29);
    scene.wakes().unwrap();
    assert_eq!(scene.takes(), []);
    scene.passes(1);
    scene.wakes().unwrap();
    assert_eq!(scene.unnumbered(), [ordered(2, OrderOutcome::Unanswered)]);
    order(&mut scene, 3, start_with("ACCT-0001"));
    let id = serde_json::from_str::<Value>(scene.hears().last().unwrap()).unwrap()[1].clone();
    scene.says(&format!(r#"[3,{id},{{"status":"Rejected"}}]"#));
    assert_eq!(scene.unnumbered(), [ordered(3, OrderOutcome::Refused("Rejected".into()))]);
}

/// Boots a charger, which answers whether it shows costs.
fn boot_with_display(scene: &mut Scene, shows: &str) {
    scene.calls("boot", "BootNotification", r#"{"chargePointVendor":"V","chargePointModel":"M"}"#);
    let heard = scene.hears();
    let [_, asked] = &heard[..] else { panic!("an answer and a question: {heard:?}") };
    let asked: Value = serde_json::from_str(asked).unwrap();
    assert_eq!((&asked[2], &asked[3]["key"][0]), (&"GetConfiguration".into(), &"CustomDisplayCostAndPrice".into()));
    let key = format!(r#"{{"key":"CustomDisplayCostAndPrice","readonly":true,"value":"{shows}"}}"#);
    scene.says(&format!(r#"[3,{},{{"configurationKey":[{key}]}}]"#, asked[1]));
    scene.takes();
}

/// The data of a message for a display; the charger answers it.
fn displayed(scene: &mut Scene, message: &str, status: &str) -> Value {
    let heard = scene.hears();
    let call = heard.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()).find(|call| call[0] == 2);
    let call = call.unwrap_or_else(|| panic!("{message} in {heard:?}"));
    assert_eq!((&call[2], &call[3]["messageId"]), (&"DataTransfer".into(), &message.into()));
    assert_eq!(call[3]["vendorId"], "org.openchargealliance.costmsg");
    scene.says(&format!(r#"[3,{},{{"status":"{status}"}}]"#, call[1]));
    serde_json::from_str(call[3]["data"].as_str().unwrap()).unwrap()
}

/// A start, admitted at a price.
fn begin_at_price(scene: &mut Scene) {
    scene.calls("4", "StartTransaction", START);
    let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("a beginning") };
    scene.answer(begun(begin.ticket, 17));
    let id = SessionId::new(scene.now.wall, PartitionId(0), 17);
    let (limit, price_text) = (Limit::default(), "EUR 0.42 per kWh".into());
    scene.node(ToCharger::StartAccepted { session: SessionKey(17), id, limit, price_text });
}

const METER: &str = r#"{"connectorId":2,"transactionId":17,"meterValue":[
    {"timestamp":"2026-09-21T11:59:30Z","sampledValue":[{"value":"1200.9"}]}]}"#;

#[test]
fn a_display_shows_the_price_the_running_cost_and_what_the_receipt_says() {
    let mut scene = Scene::new(Version::V16);
    boot_with_display(&mut scene, "true");
    begin_at_price(&mut scene);
    let price = displayed(&mut scene, "SetUserPrice", "Accepted");
    assert_eq!(price, serde_json::json!({"idToken": "ACCT-0001", "priceText": "EUR 0.42 per kWh"}));
    scene.calls("5", "MeterValues", METER);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: bill(17, 84, false) });
    let running = displayed(&mut scene, "RunningCost", "Accepted");
    assert_eq!((&running["transactionId"], &running["meterValue"]), (&17.into(), &1_200.into()));
    assert_eq!(running["cost"].to_string(), "0.84");
    // The next one only after a while.
    scene.calls("6", "MeterValues", METER);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: bill(17, 85, false) });
    assert_eq!(scene.hears(), [r#"[3,"6",{}]"#]);
    scene.node(ToCharger::Receipt(ReceiptNotice {
        session: SessionKey(17),
        total: Amount::new(91, Currency::EUR),
        cost: Cost::zero(Currency::EUR),
        receipt: "R-1".into(),
        url: "https://gate/r/1".into(),
    }));
    let last = displayed(&mut scene, "FinalCost", "Accepted");
    assert_eq!((last["cost"].to_string().as_str(), &last["qrCodeText"]), ("0.91", &"https://gate/r/1".into()));
}

#[test]
fn a_charger_without_display_or_that_refuses_a_message_gets_none() {
    let mut scene = Scene::new(Version::V16);
    boot_with_display(&mut scene, "false");
    begin_at_price(&mut scene);
    assert_eq!(scene.hears().len(), 1, "the answer alone");
    let mut scene = Scene::new(Version::V16);
    boot_with_display(&mut scene, "true");
    begin_at_price(&mut scene);
    displayed(&mut scene, "SetUserPrice", "UnknownVendorId");
    scene.calls("5", "MeterValues", METER);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: bill(17, 84, false) });
    assert_eq!(scene.hears(), [r#"[3,"5",{}]"#]);
}

#[test]
fn a_stop_does_not_wait_behind_a_display() {
    let mut scene = Scene::new(Version::V16);
    boot_with_display(&mut scene, "true");
    begin_at_price(&mut scene);
    scene.hears();
    // The price is not answered; then comes the stop.
    scene.stops(17);
    assert_eq!(scene.hears(), Vec::<String>::new(), "one call at a time");
    scene.passes(5);
    scene.wakes().unwrap();
    assert!(scene.hears().iter().any(|text| text.contains("RemoteStopTransaction")));
}

#[test]
fn a_stop_is_ordered_again_until_the_charger_reports_it() {
    let mut scene = Scene::new(Version::V16);
    begin_at_price(&mut scene);
    scene.hears();
    scene.stops(17);
    for _ in 0..3 {
        let heard = scene.hears();
        let [stop] = &heard[..] else { panic!("one stop: {heard:?}") };
        let stop: Value = serde_json::from_str(stop).unwrap();
        assert_eq!(stop[2], "RemoteStopTransaction");
        scene.says(&format!(r#"[3,{},{{"status":"Rejected"}}]"#, stop[1]));
        scene.passes(9);
        scene.wakes().unwrap();
        assert_eq!(scene.hears(), Vec::<String>::new(), "not before ten seconds");
        scene.passes(1);
        scene.wakes().unwrap();
    }
    scene.hears();
    scene.node(ToCharger::Receipt(ReceiptNotice {
        session: SessionKey(17),
        total: Amount::new(91, Currency::EUR),
        cost: Cost::zero(Currency::EUR),
        receipt: "R-1".into(),
        url: "".into(),
    }));
    scene.passes(30);
    scene.wakes().unwrap();
    assert_eq!(scene.hears(), Vec::<String>::new(), "it is over");
}

#[test]
fn an_order_that_waits_too_long_is_withdrawn_and_not_sent_later() {
    let mut scene = Scene::new(Version::V16);
    order(&mut scene, 1, start_with("ACCT-0001"));
    scene.hears();
    scene.passes(5);
    order(&mut scene, 2, start_with("ACCT-0002"));
    scene.passes(25);
    scene.wakes().unwrap();
    // The first was not answered; the second is sent with five seconds left.
    assert_eq!(scene.unnumbered(), [ordered(1, OrderOutcome::Unanswered)]);
    assert_eq!(scene.hears().len(), 1);
    order(&mut scene, 3, start_with("ACCT-0003"));
    scene.passes(30);
    scene.wakes().unwrap();
    let outcomes = scene.unnumbered();
    assert!(outcomes.contains(&ordered(2, OrderOutcome::Unanswered)), "{outcomes:?}");
    let withdrawn = |message: &Unnumbered| matches!(message, Unnumbered::Ordered { outcome: OrderOutcome::NotPossible(why), .. } if why.contains("not sent"));
    assert!(outcomes.iter().any(withdrawn), "{outcomes:?}");
    assert_eq!(scene.hears(), Vec::<String>::new(), "it is not sent later");
}

#[test]
fn the_text_of_a_signed_value_is_no_register() {
    let mut scene = Scene::new(Version::V16);
    let signed = r#"{"connectorId":2,"transactionId":17,"meterValue":[
        {"timestamp":"2026-09-21T11:59:30Z","sampledValue":[{"value":"99999","format":"SignedData"}]}]}"#;
    scene.calls("1", "MeterValues", signed);
    assert!(matches!(scene.unnumbered()[..], [Unnumbered::Fence { .. }]));
}
