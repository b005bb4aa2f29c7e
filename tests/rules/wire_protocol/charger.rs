//! A charger and the gate, as a conversation.

use super::samples::*;
use wattstile::limits;
use wattstile::message::*;
use wattstile::payment::{Credential, CredentialKind};
use wattstile::units::{Energy, MeterReading, Mono, SessionKey};
use wattstile::wire::*;

/// Both ends of one connection.
struct Conversation {
    charger: ChargerClientLink,
    gate: ChargerLink,
}

impl Conversation {
    fn begin() -> Conversation {
        Conversation { charger: ChargerClientLink::new(Mono(0)), gate: charger_link(CHARGER_URI) }
    }

    /// Sends a message of the charger; returns what the gate's machines receive, and the charger's messages from the
    /// link.
    fn on_charger_message(&mut self, message: &FromCharger) -> (Vec<FromCharger>, Vec<ToCharger>) {
        let mut bytes = Vec::new();
        self.charger.send(Channel::ZERO, message, Mono(0), &mut bytes).unwrap();
        self.bytes_to_gate(&bytes)
    }

    fn bytes_to_gate(&mut self, bytes: &[u8]) -> (Vec<FromCharger>, Vec<ToCharger>) {
        let (mut incoming, mut reply) = (Vec::new(), Vec::new());
        self.gate.receive(bytes, now(0), &mut incoming, &mut reply).unwrap();
        (incoming.into_iter().map(|received| received.message).collect(), self.bytes_to_charger(&reply))
    }

    fn gate_sends(&mut self, message: &ToCharger) -> Vec<ToCharger> {
        let mut bytes = Vec::new();
        self.gate.send(Channel::ZERO, message, &mut bytes).unwrap();
        self.bytes_to_charger(&bytes)
    }

    fn bytes_to_charger(&mut self, bytes: &[u8]) -> Vec<ToCharger> {
        let mut incoming = Vec::new();
        self.charger.receive(bytes, now(0), &mut incoming).unwrap();
        incoming.into_iter().map(|received| received.message).collect()
    }
}

#[test]
fn a_session_from_hello_to_receipt() {
    let mut talk = Conversation::begin();
    assert_eq!(talk.gate.phase(), Phase::AwaitingHello);
    for (_, message) in from_charger() {
        assert_eq!(talk.on_charger_message(&message), (vec![message], vec![]));
    }
    assert_eq!(talk.gate.phase(), Phase::Open);
    assert_eq!(talk.gate.charger(Channel::ZERO).unwrap().as_str(), "NL*WST*E0007");
    for (_, message) in to_charger() {
        assert_eq!(talk.gate_sends(&message), [message]);
    }
    assert_eq!(talk.charger.phase(), Phase::Open);
}

#[test]
fn readings_in_one_frame_arrive_one_by_one_and_in_order() {
    let mut talk = Conversation::begin();
    talk.on_charger_message(&hello("NL*WST*E0007"));
    let readings: Vec<MeterReading> = (1..=1_200).map(reading).collect();
    let mut bytes = Vec::new();
    talk.charger
        .send_readings(Channel::ZERO, MeterValues { session: SessionKey(42), readings: &readings }, Mono(0), &mut bytes)
        .unwrap();
    let (incoming, _) = talk.bytes_to_gate(&bytes);
    let expected: Vec<_> =
        readings.into_iter().map(|reading| FromCharger::Reading { session: SessionKey(42), reading }).collect();
    assert_eq!(incoming, expected);
}

#[test]
fn the_running_cost_is_told_to_the_ninth_decimal_and_unknown_is_not_zero() {
    let mut talk = Conversation::begin();
    talk.on_charger_message(&hello("NL*WST*E0007"));
    let ack = |cost: Option<&str>| {
        let cost = cost.map(|cost| {
            wattstile::units::Cost::from_major(cost.parse().unwrap(), wattstile::units::Currency::EUR).unwrap()
        });
        ToCharger::MeterAck(MeterAck { session: SessionKey(42), up_to: 1, cost })
    };
    for (sent, incoming) in [
        (Some("0"), Some("0")),
        (Some("1.583540000"), Some("1.58354")),
        (Some("0.0000000005"), Some("0")),
        (Some("0.0000000015"), Some("0.000000002")),
        (Some("-0.0000000016"), Some("-0.000000002")),
        (None, None),
        // Beyond what the message can hold: not known, rather than wrong.
        (Some("9300000000"), None),
    ] {
        assert_eq!(talk.gate_sends(&ack(sent)), [ack(incoming)], "{sent:?}");
    }
}

#[test]
fn a_heartbeat_is_answered_by_the_link_with_the_gates_clock() {
    let mut talk = Conversation::begin();
    talk.on_charger_message(&hello("NL*WST*E0007"));
    talk.gate_sends(&to_charger()[0].1);
    let at = talk.charger.next_deadline().unwrap();
    assert_eq!(at, Mono(15_000), "half a heartbeat after the charger's last word");
    let mut bytes = Vec::new();
    talk.charger.on_deadline(now(15_000), &mut bytes).unwrap();
    let (incoming, answer) = talk.bytes_to_gate(&bytes);
    assert_eq!(incoming, []);
    assert_eq!(answer, [ToCharger::HeartbeatAck { server_time: AT }]);
    assert_eq!(talk.charger.next_deadline(), Some(Mono(30_000)));
}

#[test]
fn the_hello_ack_carries_the_hellos_number() {
    let mut gate = charger_link(CHARGER_URI);
    let mut bytes = charger_bytes(&[hello("NL*WST*E0007")]);
    bytes[12..20].copy_from_slice(&77_u64.to_be_bytes());
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]).to_be_bytes();
    bytes[end..].copy_from_slice(&crc);
    gate.receive(&bytes, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let mut answer = Vec::new();
    gate.send(Channel::ZERO, &to_charger()[0].1, &mut answer).unwrap();
    assert_eq!(answer[12..20], 77_u64.to_be_bytes());
}

#[test]
fn a_card_number_is_refused_at_the_door_and_goes_no_further() {
    let mut talk = Conversation::begin();
    talk.on_charger_message(&hello("NL*WST*E0007"));
    let FromCharger::Start(mut start) = start() else { unreachable!() };
    start.credential = Credential { kind: CredentialKind::CardToken, token: b"4111111111111111".as_slice().into() };
    let (incoming, answer) = talk.on_charger_message(&FromCharger::Start(start));
    assert_eq!(incoming, []);
    let [ToCharger::StartRejected { session: SessionKey(42), code: Code::CardNumber, text }] = answer.as_slice() else {
        panic!("{answer:?}");
    };
    assert!(!text.contains("4111"));
}

#[test]
fn the_charger_may_not_speak_before_its_hello_nor_after_the_goodbye() {
    let mut talk = Conversation::begin();
    let mut bytes = Vec::new();
    let early = talk.charger.send(Channel::ZERO, &start(), Mono(0), &mut bytes);
    assert_eq!(early, Err(SendError::ChannelUnknown(Channel::ZERO)));
    talk.on_charger_message(&hello("NL*WST*E0007"));
    talk.gate.send(Channel::ZERO, &ToCharger::GoAway(go_away()), &mut bytes).unwrap();
    assert_eq!(talk.gate.phase(), Phase::Closed(Code::Unlisted(901)));
    assert_eq!(talk.gate.send(Channel::ZERO, &to_charger()[0].1, &mut bytes), Err(SendError::Closed));
    let late = talk.gate.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new());
    assert_eq!(late, Err(LinkError::Closed(Code::Unlisted(901))));
    assert_eq!(
        talk.charger.receive(&bytes, now(0), &mut Vec::new()),
        Err(LinkError::PeerLeft(go_away())),
        "with the time to wait before dialling again"
    );
    assert_eq!(talk.charger.send(Channel::ZERO, &start(), Mono(0), &mut Vec::new()), Err(SendError::Closed));
}

#[test]
fn a_silent_charger_is_given_up_and_told() {
    let mut gate = charger_link(CHARGER_URI);
    let mut reply = Vec::new();
    let hello_by = Mono(limits::HELLO_TIMEOUT.ms().unsigned_abs());
    assert_eq!(gate.next_deadline(), Some(hello_by));
    assert_eq!(gate.on_deadline(Mono(hello_by.0 - 1), &mut reply), Ok(()));
    assert_eq!(gate.on_deadline(hello_by, &mut reply), Err(LinkError::HelloTimeout));
    assert_eq!(code_of(&reply), Code::HelloTimeout);
    assert_eq!(gate.next_deadline(), None);

    let mut gate = charger_link(CHARGER_URI);
    gate.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(1_000), &mut Vec::new(), &mut Vec::new()).unwrap();
    let three_heartbeats = Mono(1_000 + 90_000);
    assert_eq!(gate.next_deadline(), Some(three_heartbeats));
    let mut reply = Vec::new();
    assert!(matches!(gate.on_deadline(three_heartbeats, &mut reply), Err(LinkError::Silent(_))));
    assert_eq!(code_of(&reply), Code::Silent);
}

#[test]
fn bytes_that_trickle_are_no_sign_of_life() {
    let mut gate = charger_link(CHARGER_URI);
    let bytes = charger_bytes(&[hello("NL*WST*E0007"), start()]);
    let hello_len = charger_bytes(&[hello("NL*WST*E0007")]).len();
    gate.receive(&bytes[..hello_len], now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    // One byte of the next frame every second.
    for (second, byte) in (1_u64..).zip(&bytes[hello_len..hello_len + 10]) {
        gate.receive(&[*byte], now(second * 1_000), &mut Vec::new(), &mut Vec::new()).unwrap();
    }
    assert_eq!(gate.next_deadline(), Some(Mono(11_000)), "ten seconds after the frame's first byte");
    assert_eq!(gate.on_deadline(Mono(11_000), &mut Vec::new()), Err(LinkError::FrameTimeout));
}

/// The code of the GoAway with which a reply ends.
pub fn code_of(reply: &[u8]) -> Code {
    let mut client = ChargerClientLink::new(Mono(0));
    match client.receive(reply, now(0), &mut Vec::new()) {
        Err(LinkError::PeerLeft(go)) => go.code,
        other => panic!("no GoAway: {other:?}"),
    }
}

#[test]
fn a_register_is_never_negative_on_the_wire() {
    let mut talk = Conversation::begin();
    talk.on_charger_message(&hello("NL*WST*E0007"));
    let negative = MeterReading { register: Energy::from_microwatt_hours(-1), ..reading(1) };
    let (incoming, _) = talk.on_charger_message(&FromCharger::Reading { session: SessionKey(42), reading: negative });
    assert!(matches!(
        incoming[..],
        [FromCharger::Reading { reading: MeterReading { register: Energy::ZERO, .. }, .. }]
    ));
}
