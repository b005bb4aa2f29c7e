//! A payment processor and the gate, as a conversation.

use super::samples::*;
use wattstile::message::*;
use wattstile::payment::{Answer, CallbackId, Outcome, ProcessorRef};
use wattstile::units::{HoldId, Mono, TimeSpan};
use wattstile::wire::*;

struct Conversation {
    processor: ProcessorClientLink,
    gate: ProcessorLink,
}

impl Conversation {
    fn begin(mac: Option<MacKey>) -> Conversation {
        Conversation {
            processor: ProcessorClientLink::new(processor_id(), mac.clone(), Mono(0)),
            gate: processor_link(mac),
        }
    }

    fn opened(mac: Option<MacKey>) -> Conversation {
        let mut talk = Conversation::begin(mac);
        talk.processor_sends(&processor_hello("acme-pay")).unwrap();
        talk.gate_sends(&to_processor()[0].1).unwrap();
        talk
    }

    fn processor_sends(&mut self, message: &FromProcessor) -> Result<Vec<FromProcessor>, LinkError> {
        let (mut bytes, mut received) = (Vec::new(), Vec::new());
        self.processor.send(message, Mono(0), &mut bytes).unwrap();
        self.gate.receive(&bytes, now(0), &mut received, &mut Vec::new()).map(|()| received)
    }

    fn gate_sends(&mut self, message: &ToProcessor) -> Result<Vec<ToProcessor>, LinkError> {
        let (mut bytes, mut received) = (Vec::new(), Vec::new());
        self.gate.send(message, now(0), &mut bytes).unwrap();
        self.processor.receive(&bytes, now(0), &mut received, &mut Vec::new()).map(|()| received)
    }
}

#[test]
fn every_message_arrives_as_it_was_said() {
    for mac in [None, Some(MacKey::new(&[7; 32]))] {
        let mut talk = Conversation::begin(mac);
        for (_, message) in from_processor() {
            assert_eq!(talk.processor_sends(&message).unwrap(), [message]);
        }
        for (_, message) in to_processor() {
            assert_eq!(talk.gate_sends(&message).unwrap(), [message]);
        }
        assert_eq!((talk.gate.phase(), talk.processor.phase()), (Phase::Open, Phase::Open));
    }
}

#[test]
fn a_processor_speaks_only_for_itself() {
    let error = Conversation::begin(None).processor_sends(&processor_hello("other-pay")).unwrap_err();
    assert_eq!(error.to_string(), "the Hello names `other-pay`, the certificate `acme-pay`");
    assert_eq!((error.code(), error.blame()), (Code::IdentityDiffers, Blame::Peer));
}

#[test]
fn endless_capabilities_are_refused() {
    let FromProcessor::Hello(mut hello) = processor_hello("acme-pay") else { unreachable!() };
    hello.capabilities.currencies = vec![wattstile::units::Currency::EUR; 256];
    assert!(Conversation::begin(None).processor_sends(&FromProcessor::Hello(hello.clone())).is_ok());
    hello.capabilities.currencies.push(wattstile::units::Currency::EUR);
    let error = Conversation::begin(None).processor_sends(&FromProcessor::Hello(hello)).unwrap_err();
    assert!(error.to_string().ends_with("`currencies` is 257, which is out of range"), "{error}");
}

#[test]
fn another_role_does_not_even_get_a_link() {
    for uri in [CHARGER_URI, SITE_URI, "spiffe://wattstile.example/gate/east"] {
        let error = ProcessorLink::new(&identity(uri), None, Mono(0)).unwrap_err();
        assert_eq!(error, LinkError::WrongRole(identity(uri).role()));
    }
    for uri in [PROCESSOR_URI, "spiffe://wattstile.example/gate/east"] {
        let error = ChargerLink::new(identity(uri), may_speak_for(), Mono(0)).unwrap_err();
        assert_eq!(error, LinkError::WrongRole(identity(uri).role()));
    }
}

#[test]
fn the_hello_comes_first_and_once() {
    let answer = answer(1, Outcome::NotFound);
    let both = processor_bytes(&[processor_hello("acme-pay"), answer], None);
    let hello = processor_bytes(&[processor_hello("acme-pay")], None);
    let early = processor_link(None).receive(&both[hello.len()..], now(0), &mut Vec::new(), &mut Vec::new());
    assert!(matches!(early, Err(LinkError::HelloExpected { found: frame::FrameType::Answer, .. })));
    let twice = Conversation::opened(None).processor_sends(&processor_hello("acme-pay"));
    assert_eq!(twice, Err(LinkError::HelloTwice(Channel::ZERO)));
}

#[test]
fn a_wrong_or_missing_mac_changes_nothing() {
    let right = MacKey::new(&[7; 32]);
    for wrong in [None, Some(MacKey::new(&[8; 32]))] {
        let bytes = processor_bytes(&[processor_hello("acme-pay")], wrong);
        let mut received = Vec::new();
        let error = processor_link(Some(right.clone())).receive(&bytes, now(0), &mut received, &mut Vec::new());
        assert!(matches!(error.unwrap_err().code(), Code::FrameMacMissing | Code::FrameMacWrong));
        assert_eq!(received, []);
    }
}

#[test]
fn an_answer_cannot_be_sent_back_to_its_sender_as_an_operation() {
    // The directions have types of their own, so a reflected frame has the wrong direction.
    let mac = MacKey::new(&[7; 32]);
    let bytes = processor_bytes(&[processor_hello("acme-pay")], Some(mac.clone()));
    let mut processor = ProcessorClientLink::new(processor_id(), Some(mac), Mono(0));
    let error = processor.receive(&bytes, now(0), &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.code(), Code::WrongDirection);
}

#[test]
fn callbacks_beyond_the_window_end_the_link() {
    let mut talk = Conversation::begin(None);
    talk.processor_sends(&processor_hello("acme-pay")).unwrap();
    let terms = Terms { window: 2, ..Terms::PROCESSOR };
    talk.gate_sends(&ToProcessor::HelloAck(ProcessorHelloAck { terms, server_time: AT })).unwrap();
    talk.processor_sends(&answer(1, Outcome::NotFound)).unwrap();
    talk.processor_sends(&answer(2, Outcome::NotFound)).unwrap();
    talk.gate_sends(&ToProcessor::Ack { callback: CallbackId(1) }).unwrap();
    talk.processor_sends(&answer(3, Outcome::NotFound)).unwrap();
    assert_eq!(talk.processor_sends(&answer(4, Outcome::NotFound)), Err(LinkError::WindowExceeded(2)));
}

#[test]
fn one_callback_that_is_repeated_in_flight_is_one_of_the_window() {
    let mut talk = Conversation::begin(None);
    talk.processor_sends(&processor_hello("acme-pay")).unwrap();
    let terms = Terms { window: 2, ..Terms::PROCESSOR };
    talk.gate_sends(&ToProcessor::HelloAck(ProcessorHelloAck { terms, server_time: AT })).unwrap();
    for _ in 0..5_000 {
        talk.processor_sends(&answer(1, Outcome::NotFound)).unwrap();
    }
    talk.processor_sends(&answer(2, Outcome::NotFound)).unwrap();
    // Each repetition is acknowledged: that makes no room beyond the one callback.
    for _ in 0..3 {
        talk.gate_sends(&ToProcessor::Ack { callback: CallbackId(1) }).unwrap();
    }
    talk.processor_sends(&answer(3, Outcome::NotFound)).unwrap();
    assert_eq!(talk.processor_sends(&answer(4, Outcome::NotFound)), Err(LinkError::WindowExceeded(2)));
}

#[test]
fn a_processor_that_no_rule_names_is_refused() {
    let peer = PeerIdentity::new("wattstile.example", Subject::Processor(processor_id())).unwrap();
    let mut link = ProcessorLink::new(&peer, None, Mono(0)).unwrap().unknown();
    let bytes = processor_bytes(&[processor_hello(processor_id().as_str())], None);
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    let error = link.receive(&bytes, now(0), &mut received, &mut reply).unwrap_err();
    assert_eq!((error.code(), received), (Code::PeerUnknown, Vec::new()));
    let mut processor = ProcessorClientLink::new(processor_id(), None, Mono(0));
    let answered = processor.receive(&reply, now(0), &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(
        matches!(&answered, LinkError::PeerLeft(go) if go.code == Code::PeerUnknown && go.text.contains("acme-pay"))
    );
}

#[test]
fn who_has_nothing_to_say_pings() {
    let mut talk = Conversation::opened(None);
    let (mut ping, mut pong, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(talk.gate.next_deadline(), Some(Mono(15_000)));
    talk.gate.on_deadline(Mono(15_000), &mut ping).unwrap();
    talk.processor.receive(&ping, now(15_000), &mut Vec::new(), &mut pong).unwrap();
    talk.gate.receive(&pong, now(15_001), &mut Vec::new(), &mut nothing).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(talk.gate.next_deadline(), Some(Mono(30_000)), "the next ping");

    let mut ping = Vec::new();
    talk.processor.on_deadline(Mono(15_000), &mut ping).unwrap();
    talk.gate.receive(&ping, now(15_002), &mut Vec::new(), &mut nothing).unwrap();
    talk.processor.receive(&nothing, now(15_003), &mut Vec::new(), &mut Vec::new()).unwrap();

    let error = talk.gate.on_deadline(Mono(15_002 + 90_000), &mut Vec::new()).unwrap_err();
    assert_eq!((error.code(), error.blame()), (Code::Silent, Blame::Network));
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut talk = Conversation::opened(None);
    let deadline = AT.saturating_add(TimeSpan::from_secs(5));
    talk.gate_sends(&ToProcessor::Drain(Drain { deadline, text: "restart".into() })).unwrap();
    // Operations in flight are still finished.
    assert_eq!(talk.processor_sends(&answer(1, Outcome::NotFound)).unwrap().len(), 1);
    assert_eq!(talk.gate.next_deadline(), Some(Mono(5_000)));
    let mut farewell = Vec::new();
    let end = talk.gate.on_deadline(Mono(5_000), &mut farewell);
    assert_eq!(end, Err(LinkError::Closed(Code::Draining)));
    let received = talk.processor.receive(&farewell, now(5_000), &mut Vec::new(), &mut Vec::new());
    assert!(matches!(received, Err(LinkError::PeerLeft(GoAway { code: Code::Draining, .. }))));
}

#[test]
fn a_settlement_adds_up_or_is_seen_not_to() {
    let lines = settlement_lines();
    let trailer = SettlementTrailer::of(&lines).unwrap();
    assert_eq!((trailer.lines, trailer.gross, trailer.fee, trailer.net), (2, 158, -104, 54));
    // The text whose SHA-256 it is, as the manual gives it.
    let text = format!("{:032x},1,158,-4,154\n-,3,0,-100,-100\n", op(2).as_u128());
    assert_eq!(trailer.sha256, ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    let mut reordered = lines.clone();
    reordered.reverse();
    assert_ne!(SettlementTrailer::of(&reordered).unwrap(), trailer);
    let huge = SettlementLine { gross: i64::MAX, ..lines[0] };
    assert_eq!(SettlementTrailer::of(&[huge, huge]), None);
}

/// One reference that is a card's number is refused by name; the connection, and the answers of others, go on.
#[test]
fn an_answer_with_a_card_number_is_refused_alone() {
    let mut talk = Conversation::opened(None);
    let answer = |callback, reference: &str| {
        let outcome =
            Outcome::Approved { amount: eur(4_500), processor_ref: ProcessorRef(reference.into()), expires_at: None };
        FromProcessor::Answer(Answer { callback: CallbackId(callback), operation: op(1), hold: HoldId(op(1)), outcome })
    };
    let (mut bytes, mut received, mut reply) = (Vec::new(), Vec::new(), Vec::new());
    talk.processor.send(&answer(1, "4111111111111111"), Mono(0), &mut bytes).unwrap();
    talk.processor.send(&answer(2, "8515131751004933"), Mono(0), &mut bytes).unwrap();
    talk.gate.receive(&bytes, now(0), &mut received, &mut reply).unwrap();
    assert!(
        matches!(received.as_slice(), [FromProcessor::Answer(answer)] if answer.callback == CallbackId(2)),
        "{received:?}"
    );
    let mut answered = Vec::new();
    talk.processor.receive(&reply, now(0), &mut answered, &mut Vec::new()).unwrap();
    let [ToProcessor::Nack { callback: CallbackId(1), code: Code::CardNumber, text }] = answered.as_slice() else {
        panic!("{answered:?}")
    };
    assert!(text.contains("`approved.processor_ref`") || text.contains("`processor_ref`"), "{text}");
    assert!(!text.contains("4111"), "{text}");
}
