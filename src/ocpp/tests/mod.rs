//! Conversations between a charger and its link, with a node that answers what the test says.

mod forwarding;
mod v16;
mod v2;

use super::{LinkSettings, OcppError, OcppLink, Version};
use crate::limits;
use crate::message::{
    Answer, Bill, ChargerHello, Code, FromCharger, Limit, Numbering, Received, SessionName, StopOrder, Ticket,
    ToCharger, Unnumbered,
};
use crate::units::{
    Amount, ChargerId, Currency, Energy, MeterReading, Mono, Now, PartitionId, Power, SessionId, SessionKey, TimeSpan,
    Timestamp,
};
use serde_json::Value;

/// 2026-09-21T12:00:00Z
const NOON: i64 = 1_789_992_000_000;

/// A charger on a connection, and the clock.
struct Scene {
    link: OcppLink,
    now: Now,
    messages: Vec<FromCharger>,
    received: Vec<String>,
}

impl Scene {
    fn new(version: Version) -> Scene {
        Scene::with(version, false)
    }

    /// A scene whose gate has a management system behind it.
    fn with_behind(version: Version) -> Scene {
        Scene::with(version, true)
    }

    fn with(version: Version, is_forwarded: bool) -> Scene {
        let now = Now { wall: Timestamp::from_unix_ms(NOON), mono: Mono(1_000) };
        let settings = LinkSettings {
            charger: ChargerId::new("CP-1").unwrap(),
            version,
            power_max: Power::from_watts(350_000).unwrap(),
            heartbeat: TimeSpan::from_secs(300),
            is_forwarded,
        };
        let mut scene = Scene { link: OcppLink::new(settings, now), now, messages: Vec::new(), received: Vec::new() };
        scene.wakes().unwrap();
        let [FromCharger::Hello(ChargerHello { numbering: Numbering::Gate(_), .. })] = scene.takes()[..] else {
            panic!("a link introduces its charger");
        };
        scene
    }

    fn try_says(&mut self, text: &str) -> Result<(), OcppError> {
        let mut messages = Vec::new();
        let outcome = self.link.receive(text.as_bytes(), self.now, &mut messages, &mut self.received);
        self.messages.extend(messages.into_iter().map(|Received { message, .. }| message));
        outcome
    }

    fn says(&mut self, text: &str) {
        self.try_says(text).unwrap();
    }

    fn calls(&mut self, id: &str, action: &str, payload: &str) {
        self.says(&format!(r#"[2,"{id}","{action}",{payload}]"#));
    }

    fn wakes(&mut self) -> Result<(), OcppError> {
        let mut messages = Vec::new();
        let outcome = self.link.on_deadline(self.now, &mut messages, &mut self.received);
        self.messages.extend(messages.into_iter().map(|Received { message, .. }| message));
        outcome
    }

    /// The node answers; what may go on goes on.
    fn node(&mut self, message: ToCharger) {
        self.link.send(&message, self.now, &mut self.received);
        if self.link.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.wakes().unwrap();
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.node(ToCharger::Answer(answer));
    }

    fn passes(&mut self, seconds: i64) {
        let span = TimeSpan::from_secs(seconds);
        self.now = Now { wall: self.now.wall.saturating_add(span), mono: self.now.mono.after(span) };
    }

    /// What the node got since the last call.
    fn takes(&mut self) -> Vec<FromCharger> {
        std::mem::take(&mut self.messages)
    }

    /// The same, where only messages are expected whose sessions the gate numbers.
    fn unnumbered(&mut self) -> Vec<Unnumbered> {
        let unnumbered = |message| match message {
            FromCharger::Unnumbered(message) => *message,
            other => panic!("{other:?}"),
        };
        self.takes().into_iter().map(unnumbered).collect()
    }

    /// What the charger got since the last call.
    fn hears(&mut self) -> Vec<String> {
        std::mem::take(&mut self.received)
    }

    /// The same, without calls of the gate.
    fn answers(&mut self) -> Vec<String> {
        self.hears().into_iter().filter(|message| !message.starts_with("[2,")).collect()
    }

    /// The ticket of the last fence that the node got.
    fn fence(&mut self) -> Ticket {
        match self.unnumbered().pop() {
            Some(Unnumbered::Fence { ticket, .. }) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn accepts(&mut self, session: u64) {
        let id = SessionId::new(self.now.wall, PartitionId(0), session);
        let limit = Limit { cost: Some(Amount::new(4_500, Currency::EUR)), ..Limit::default() };
        self.node(ToCharger::StartAccepted { session: SessionKey(session), id, limit, price_text: "".into() });
    }

    fn rejects(&mut self, session: u64, code: Code) {
        self.node(ToCharger::StartRejected { session: SessionKey(session), code, text: "".into() });
    }

    fn stops(&mut self, session: u64) {
        let (session, reason) = (SessionKey(session), StopOrder::MoneyExhausted);
        self.node(ToCharger::StopNow { session, reason, text: "".into() });
    }
}

fn begun(ticket: Ticket, session: u64) -> Answer {
    Answer::Begun { ticket, session: SessionKey(session), is_new: true, funds_follow: false }
}

fn bill(session: u64, minor: i64, is_final: bool) -> Option<Bill> {
    Some(Bill { session: SessionKey(session), cost: Amount::new(minor, Currency::EUR), is_final })
}

fn reading(seconds: i64, wh: i64) -> MeterReading {
    MeterReading {
        sequence: 0,
        at: Timestamp::from_unix_ms(NOON + seconds * 1_000),
        register: Energy::from_watt_hours(wh).unwrap(),
        power: None,
        current: None,
    }
}

fn named(name: &str) -> SessionName {
    SessionName::Text(name.into())
}

fn payload(text: &str) -> Value {
    let frame: Vec<Value> = serde_json::from_str(text).unwrap();
    frame.into_iter().nth(2).unwrap()
}

#[test]
fn the_highest_version_that_both_speak_is_chosen() {
    let chosen = |offered: &str| Version::chosen(offered.split(','));
    assert_eq!(chosen("ocpp1.6, ocpp2.0.1, ocpp2.1"), Some(Version::V21));
    assert_eq!(chosen("ocpp2.0.1,ocpp1.6"), Some(Version::V201));
    assert_eq!(chosen("ocpp1.5,ocpp1.6"), Some(Version::V16));
    assert_eq!((chosen("ocpp1.5"), chosen("")), (None, None));
}

#[test]
fn a_broken_message_is_refused_and_the_connection_goes_on() {
    for (version, code) in [(Version::V16, "FormationViolation"), (Version::V21, "RpcFrameworkError")] {
        let mut scene = Scene::new(version);
        for text in ["", "{", "[2", "null", "[2,\"1\"", &"[".repeat(300_000)] {
            scene.says(text);
            let [refused] = &scene.hears()[..] else { panic!("one answer") };
            assert!(refused.starts_with(&format!(r#"[4,"-1","{code}","#)), "{refused}");
        }
        scene.calls("7", "Heartbeat", "{}");
        assert_eq!(scene.hears(), [r#"[3,"7",{"currentTime":"2026-09-21T12:00:00Z"}]"#]);
        assert_eq!(scene.takes(), []);
    }
}

#[test]
fn calls_that_are_not_served_are_refused_and_all_others_answered() {
    for (version, action, answer) in [
        (
            Version::V16,
            "BootNotification",
            r#"[3,"1",{"currentTime":"2026-09-21T12:00:00Z","interval":300,"status":"Accepted"}]"#,
        ),
        (
            Version::V201,
            "BootNotification",
            r#"[3,"1",{"currentTime":"2026-09-21T12:00:00Z","interval":300,"status":"Accepted"}]"#,
        ),
        (Version::V16, "StatusNotification", r#"[3,"1",{}]"#),
        (Version::V16, "SecurityEventNotification", r#"[3,"1",{}]"#),
        (Version::V16, "FirmwareStatusNotification", r#"[3,"1",{}]"#),
        (Version::V16, "DataTransfer", r#"[3,"1",{"status":"UnknownVendorId"}]"#),
        (Version::V21, "StatusNotification", r#"[3,"1",{}]"#),
        (Version::V21, "NotifyReport", r#"[3,"1",{}]"#),
        (Version::V201, "NotifyEvent", r#"[3,"1",{}]"#),
        (Version::V201, "LogStatusNotification", r#"[3,"1",{}]"#),
        (Version::V201, "MeterValues", r#"[3,"1",{}]"#),
        (Version::V201, "GetCertificateStatus", r#"[4,"1","NotSupported","this is not served here",{}]"#),
        (Version::V201, "VatNumberValidation", r#"[4,"1","NotImplemented","this is not served here",{}]"#),
        (Version::V21, "VatNumberValidation", r#"[4,"1","NotSupported","this is not served here",{}]"#),
        (Version::V16, "TransactionEvent", r#"[4,"1","NotImplemented","this is not served here",{}]"#),
        (Version::V16, "Dance", r#"[4,"1","NotImplemented","this is not served here",{}]"#),
    ] {
        let mut scene = Scene::new(version);
        scene.calls("1", action, "{}");
        assert_eq!(scene.answers(), [answer], "{action}");
    }
}

#[test]
fn calls_are_answered_in_their_order_and_those_behind_a_beginning_wait() {
    let mut scene = Scene::new(Version::V16);
    scene.calls(
        "1",
        "StartTransaction",
        r#"{"connectorId":1,"idTag":"A","meterStart":5,"timestamp":"2026-09-21T11:59:00Z"}"#,
    );
    scene.calls("2", "MeterValues", r#"{"connectorId":1,"transactionId":17,"meterValue":[{"timestamp":"2026-09-21T11:59:30Z","sampledValue":[{"value":"9"}]}]}"#);
    scene.calls("3", "Heartbeat", "{}");
    let [Unnumbered::Begin(begin)] = &scene.unnumbered()[..] else { panic!("only the beginning") };
    let ticket = begin.ticket;
    scene.answer(begun(ticket, 17));
    assert_eq!((scene.hears(), scene.unnumbered()), (vec![], vec![]));
    scene.accepts(17);
    assert_eq!(scene.hears(), [r#"[3,"1",{"transactionId":17,"idTagInfo":{"status":"Accepted"}}]"#]);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: bill(17, 3, false) });
    assert_eq!(scene.hears(), [r#"[3,"2",{}]"#, r#"[3,"3",{"currentTime":"2026-09-21T12:00:00Z"}]"#]);
}

#[test]
fn a_call_that_is_repeated_while_it_is_under_way_has_one_answer() {
    let mut scene = Scene::new(Version::V16);
    for _ in 0..3 {
        scene.calls("1", "StopTransaction", r#"{"transactionId":17,"meterStop":9,"timestamp":"2026-09-21T11:59:00Z"}"#);
    }
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: None });
    assert_eq!(scene.hears(), [r#"[3,"1",{}]"#]);
    // Its answer may be lost: then it is answered again.
    scene.calls("1", "StopTransaction", r#"{"transactionId":17,"meterStop":9,"timestamp":"2026-09-21T11:59:00Z"}"#);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: None });
    assert_eq!(scene.hears(), [r#"[3,"1",{}]"#]);
}

#[test]
fn a_flood_of_calls_and_a_call_without_answer_end_the_connection() {
    let mut scene = Scene::new(Version::V16);
    let stop = |id: usize| format!(r#"[2,"{id}","StopTransaction",{{"transactionId":{id}}}]"#);
    (1..=crate::limits::OCPP_CALLS_WAITING).for_each(|id| scene.says(&stop(id)));
    assert_eq!(scene.try_says(&stop(1_000)), Err(OcppError::TooManyCalls));

    let mut scene = Scene::new(Version::V16);
    scene.says(&stop(1));
    scene.passes(89);
    assert_eq!(scene.wakes(), Ok(()));
    scene.passes(1);
    assert_eq!(scene.wakes(), Err(OcppError::Unanswered));
}

#[test]
fn the_gate_has_one_call_at_a_time_and_does_not_wait_for_ever() {
    let mut scene = Scene::new(Version::V16);
    scene.answer(Answer::Open { session: SessionKey(17), name: None });
    scene.answer(Answer::Open { session: SessionKey(33), name: None });
    scene.stops(17);
    scene.stops(33);
    scene.stops(17);
    let [first] = &scene.hears()[..] else { panic!("one call") };
    assert!(first.ends_with(r#""RemoteStopTransaction",{"transactionId":17}]"#), "{first}");
    let id = serde_json::from_str::<Vec<Value>>(first).unwrap()[1].as_str().unwrap().to_owned();
    assert!(id.len() <= 36, "{id}");
    scene.says(r#"[3,"another",{"status":"Accepted"}]"#);
    assert_eq!(scene.hears(), [""; 0]);
    scene.says(&format!(r#"[4,"{id}","NotImplemented","",{{}}]"#));
    let [second] = &scene.hears()[..] else { panic!("the next call") };
    assert!(second.ends_with(r#"{"transactionId":33}]"#) && !second.contains(&id), "{second}");
    scene.stops(17);
    assert_eq!(scene.hears(), [""; 0], "it was ordered a moment ago");
    scene.passes(30);
    scene.stops(17);
    scene.wakes().unwrap();
    let [third] = &scene.hears()[..] else { panic!("no answer came to the second") };
    assert!(third.ends_with(r#"{"transactionId":17}]"#), "{third}");
    // The charger's own calls are answered meanwhile.
    scene.calls("1", "Heartbeat", "{}");
    assert_eq!(scene.hears().len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_payload_is_too_odd_for_an_answer(
        action in "(StartTransaction|StopTransaction|MeterValues|Authorize|StatusNotification|BootNotification|TransactionEvent|Heartbeat)",
        payload in "(null|7|\"x\"|\\[\\]|\\[\\{\\}\\]|\\{\\}|\\{\"idTag\":(null|7|\\{\\}|\"\"),\"transactionId\":(-1|0|\"x\"|1e9),\"meterValue\":(\\[\\]|7|\\{\\})\\}|\\{\"transactionInfo\":(7|\\{\\}),\"idToken\":(7|null|\\{\\}),\"evse\":\\{\"id\":0\\}\\})",
    ) {
        for version in Version::ALL {
            let mut scene = Scene::new(version);
            scene.calls("1", &action, &payload);
            for _ in 0..4 {
                for message in scene.takes() {
                    match message {
                        FromCharger::Unnumbered(message) => match *message {
                            Unnumbered::Begin(begin) => {
                                scene.answer(begun(begin.ticket, 17));
                                scene.rejects(17, Code::CredentialNotAccepted);
                            }
                            Unnumbered::Fence { ticket, .. } => scene.answer(Answer::Passed { ticket, bill: None }),
                            Unnumbered::Authorize { ticket, .. } => {
                                scene.answer(Answer::Authorized { ticket, refused: Some(Code::CredentialDeclined) });
                            }
                            Unnumbered::Status { .. }
                            | Unnumbered::Restarted
                            | Unnumbered::Event { .. }
                            | Unnumbered::Resumed { .. }
                            | Unnumbered::Sample { .. }
                            | Unnumbered::End { .. }
                            | Unnumbered::Ordered { .. }
                            | Unnumbered::Signed { .. } => {}
                        },
                        FromCharger::Hello(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            let received = scene.answers();
            proptest::prop_assert_eq!(received.len(), 1);
            let served = match &*action {
                "StartTransaction" | "StopTransaction" => version == Version::V16,
                "TransactionEvent" => version != Version::V16,
                _ => true,
            };
            proptest::prop_assert_eq!(received[0].starts_with("[3,\"1\","), served, "{}", received[0]);
        }
    }
}

#[test]
fn chargers_call_at_intervals_of_their_own_37() {
    let interval = |number: u32| super::heartbeat_of(&ChargerId::new(&format!("CP-{number}")).unwrap()).whole_secs();
    let mut intervals: Vec<i64> = (0..500).map(interval).collect();
    assert_eq!(intervals[7], interval(7), "the same one each time");
    intervals.sort_unstable();
    assert!(intervals[0] >= 240 && intervals[499] <= 300);
    intervals.dedup();
    assert!(intervals.len() > 50, "they are spread");
}
