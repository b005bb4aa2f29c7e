//! Any message survives a round trip, and has one encoding only.

use super::samples::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use wattstile::limits;
use wattstile::message::*;
use wattstile::payment::{
    Answer, CallbackId, Credential, CredentialKind, Decline, DeclineClass, Operation, Outcome, ProcessorRef, Request,
    VoidReason,
};
use wattstile::units::{
    Amount, ChargerId, ConnectorId, Currency, Current, Energy, HoldId, MeterReading, Mono, OpId, Power, SessionId,
    SessionKey, TimeSpan, Timestamp,
};
use wattstile::wire::*;

fn text(max: usize) -> impl Strategy<Value = Box<str>> {
    // Unseen characters arrive as their escapes; a test of its own shows that.
    let seen = any::<char>().prop_filter("seen", |letter| !wattstile::units::screen::is_unseen(*letter));
    vec(seen, 0..max / 4).prop_map(|chars| chars.into_iter().collect::<String>().into_boxed_str())
}

fn amount() -> impl Strategy<Value = Amount> {
    let currency = select(vec!["EUR", "JPY", "KWD", "SEK"]).prop_map(|code| code.parse::<Currency>().unwrap());
    (any::<i64>(), currency).prop_map(|(minor, currency)| Amount::new(minor, currency))
}

fn energy() -> impl Strategy<Value = Energy> {
    (0..=i64::MAX).prop_map(Energy::from_microwatt_hours)
}

fn span() -> impl Strategy<Value = TimeSpan> {
    (0..=i64::MAX).prop_map(TimeSpan::from_ms)
}

fn at() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_unix_ms)
}

fn session() -> impl Strategy<Value = SessionKey> {
    any::<u64>().prop_map(SessionKey)
}

fn connector() -> impl Strategy<Value = ConnectorId> {
    (1..=u16::MAX).prop_map(ConnectorId)
}

fn credential() -> impl Strategy<Value = Credential> {
    let kind = select(CredentialKind::ALL.to_vec());
    // A prefix that no card number has.
    (kind, vec(any::<u8>(), 0..Credential::MAX_TOKEN))
        .prop_map(|(kind, token)| Credential { kind, token: [b"t", token.as_slice()].concat().into() })
}

fn meter_reading() -> impl Strategy<Value = MeterReading> {
    let power = option::of(any::<i64>().prop_map(Power::from_milliwatts));
    let current = option::of(any::<i64>().prop_map(Current::from_milliamperes));
    (1..=u32::MAX, at(), energy(), power, current).prop_map(|(sequence, at, register, power, current)| MeterReading {
        sequence,
        at,
        register,
        power,
        current,
    })
}

/// In mW, as a number of the domain.
const CONNECTOR_POWER: i64 = limits::CONNECTOR_POWER_MAX.cast_signed();

fn any_hello() -> impl Strategy<Value = FromCharger> {
    let connectors = btree_map(1..=u16::MAX, 0..=CONNECTOR_POWER, 0..limits::CONNECTORS_PER_CHARGER);
    let sessions = btree_map(any::<u64>(), any::<u32>(), 0..20);
    (connectors, text(limits::MESSAGE_NAME_MAX), at(), sessions).prop_map(|(connectors, firmware, clock, sessions)| {
        let connector = |(id, mw)| ConnectorInfo { id: ConnectorId(id), power_max: Power::from_milliwatts(mw) };
        let mark = |(key, last_sequence)| SessionMark { session: SessionKey(key), last_sequence };
        FromCharger::Hello(ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new("NL*WST*E0007").unwrap(),
            connectors: connectors.into_iter().map(connector).collect(),
            firmware,
            clock,
            sessions: sessions.into_iter().map(mark).collect(),
        })
    })
}

fn any_from_charger() -> impl Strategy<Value = FromCharger> {
    let reason = select(StopReason::ALL.to_vec());
    let state = select(ConnectorState::ALL.to_vec());
    prop_oneof![
        (session(), connector(), credential(), at(), energy()).prop_map(
            |(session, connector, credential, at, register)| {
                FromCharger::Start(StartSession { session, connector, credential, at, register })
            }
        ),
        (session(), meter_reading()).prop_map(|(session, reading)| FromCharger::Reading { session, reading }),
        (session(), meter_reading(), reason).prop_map(|(session, reading, reason)| FromCharger::Stop {
            session,
            last: MeterReading { power: None, current: None, ..reading },
            reason,
        }),
        (connector(), state, at(), text(limits::MESSAGE_TEXT_MAX)).prop_map(|(connector, state, at, text)| {
            FromCharger::Status(ConnectorStatus { connector, state, at, text })
        }),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    (option::of(amount()), option::of(energy()), option::of(span())).prop_map(|(cost, energy, time)| Limit {
        cost,
        energy,
        time,
    })
}

fn code() -> impl Strategy<Value = Code> {
    any::<u16>().prop_map(Code::from_number)
}

fn any_to_charger() -> impl Strategy<Value = ToCharger> {
    let message_text = || text(limits::MESSAGE_TEXT_MAX);
    let id = any::<u128>().prop_map(SessionId::from_u128);
    let standing = prop_oneof![
        Just(Standing::Unknown),
        any::<u32>().prop_map(|durable| Standing::Open { durable }),
        any::<u32>().prop_map(|durable| Standing::Over { durable }),
    ];
    let position = (session(), standing).prop_map(|(session, standing)| SessionPosition { session, standing });
    prop_oneof![
        (vec(position, 0..9), at()).prop_map(|(sessions, server_time)| {
            ToCharger::HelloAck(ChargerHelloAck { terms: Terms::CHARGER, server_time, sessions })
        }),
        (session(), id, limit(), text(limits::MESSAGE_LONG_TEXT_MAX)).prop_map(|(session, id, limit, price_text)| {
            ToCharger::StartAccepted { session, id, limit, price_text }
        }),
        (session(), code(), message_text()).prop_map(|(session, code, text)| ToCharger::StartRejected {
            session,
            code,
            text
        }),
        (session(), limit()).prop_map(|(session, limit)| ToCharger::LimitChanged { session, limit }),
        (session(), select(StopOrder::ALL.to_vec()), message_text())
            .prop_map(|(session, reason, text)| ToCharger::StopNow { session, reason, text }),
        (session(), code(), option::of(any::<u32>()), message_text()).prop_map(|(session, code, expected, text)| {
            ToCharger::SessionRejected { session, code, expected, text }
        }),
    ]
}

fn op_id() -> impl Strategy<Value = OpId> {
    any::<u128>().prop_map(OpId::from_u128)
}

fn processor_ref() -> impl Strategy<Value = ProcessorRef> {
    text(ProcessorRef::MAX_LEN).prop_map(|text| ProcessorRef(format!("r{text}").into()))
}

fn any_answer() -> impl Strategy<Value = FromProcessor> {
    let class = select(vec![DeclineClass::Soft, DeclineClass::Hard, DeclineClass::Fraud, DeclineClass::State]);
    let outcome = prop_oneof![
        (amount(), processor_ref(), option::of(at())).prop_map(|(amount, processor_ref, expires_at)| {
            Outcome::Approved { amount, processor_ref, expires_at }
        }),
        (class, text(16), option::of(span()))
            .prop_map(|(class, code, retry_after)| { Outcome::Declined(Decline { class, code, retry_after }) }),
        at().prop_map(|decide_by| Outcome::Pending { decide_by }),
        Just(Outcome::NotFound),
        Just(Outcome::Error),
    ];
    (any::<u128>(), op_id(), op_id(), outcome).prop_map(|(callback, operation, hold, outcome)| {
        FromProcessor::Answer(Answer { callback: CallbackId(callback), operation, hold: HoldId(hold), outcome })
    })
}

fn any_operation() -> impl Strategy<Value = ToProcessor> {
    let reason = select(vec![VoidReason::NoStart, VoidReason::OutcomeUnknown, VoidReason::Remainder]);
    let request = prop_oneof![
        (credential(), amount(), any::<bool>(), any::<bool>()).prop_map(
            |(credential, amount, partial_ok, stand_in)| Request::Authorize {
                credential,
                amount,
                partial_ok,
                stand_in,
            }
        ),
        (processor_ref(), amount())
            .prop_map(|(processor_ref, new_total)| Request::Increment { processor_ref, new_total }),
        (processor_ref(), amount())
            .prop_map(|(processor_ref, new_total)| Request::Decrement { processor_ref, new_total }),
        (processor_ref(), amount(), any::<bool>()).prop_map(|(processor_ref, amount, last)| Request::Capture {
            processor_ref,
            amount,
            last
        }),
        (op_id(), option::of(processor_ref()), reason).prop_map(|(authorization, processor_ref, reason)| {
            Request::Void { authorization, processor_ref, reason }
        }),
        (op_id(), processor_ref(), amount()).prop_map(|(capture, processor_ref, amount)| Request::Refund {
            capture,
            processor_ref,
            amount
        }),
        op_id().prop_map(|target| Request::Inquire { target }),
    ];
    (op_id(), op_id(), 1..=u16::MAX, any::<bool>(), at(), request).prop_map(
        |(id, hold, attempt, possible_duplicate, decide_by, request)| {
            let processor = processor_id();
            let hold = HoldId(hold);
            ToProcessor::Operation(Operation { id, hold, processor, attempt, possible_duplicate, decide_by, request })
        },
    )
}

proptest! {
    #[test]
    fn from_a_charger(hello in any_hello(), messages in vec(any_from_charger(), 0..6)) {
        let sent: Vec<FromCharger> = [hello].into_iter().chain(messages).collect();
        let bytes = charger_bytes(&sent);
        let mut incoming = Vec::new();
        charger_link(CHARGER_URI).receive(&bytes, now(0), &mut incoming, &mut Vec::new()).unwrap();
        let incoming: Vec<FromCharger> = incoming.into_iter().map(|received| received.message).collect();
        prop_assert_eq!(&incoming, &sent);
        prop_assert_eq!(charger_bytes(&incoming), bytes, "one way of writing it");
    }

    #[test]
    fn to_a_charger(sent in vec(any_to_charger(), 0..6)) {
        let write = |messages: &[ToCharger]| {
            let (mut link, mut bytes) = (charger_link(CHARGER_URI), Vec::new());
            let hello = charger_bytes(&[hello("NL*WST*E0007")]);
            link.receive(&hello, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
            for message in messages {
                link.send(Channel::ZERO, message, &mut bytes).unwrap();
            }
            bytes
        };
        let bytes = write(&sent);
        let mut incoming = Vec::new();
        ChargerClientLink::new(Mono(0)).receive(&bytes, now(0), &mut incoming).unwrap();
        let incoming: Vec<ToCharger> = incoming.into_iter().map(|received| received.message).collect();
        prop_assert_eq!(&incoming, &sent);
        prop_assert_eq!(write(&incoming), bytes);
    }

    #[test]
    fn between_a_processor_and_the_gate(
        answers in vec(any_answer(), 0..6),
        operations in vec(any_operation(), 0..6),
        key in option::of(any::<[u8; 32]>()),
    ) {
        let mac = key.map(|key| MacKey::new(&key));
        let mut gate = processor_link(mac.clone());
        let sent: Vec<FromProcessor> = [processor_hello("acme-pay")].into_iter().chain(answers).collect();
        let mut incoming = Vec::new();
        gate.receive(&processor_bytes(&sent, mac.clone()), now(0), &mut incoming, &mut Vec::new()).unwrap();
        prop_assert_eq!(incoming, sent);

        let mut bytes = Vec::new();
        for operation in &operations {
            gate.send(operation, now(0), &mut bytes).unwrap();
        }
        let mut processor = ProcessorClientLink::new(processor_id(), mac, Mono(0));
        let mut incoming = Vec::new();
        processor.receive(&bytes, now(0), &mut incoming, &mut Vec::new()).unwrap();
        prop_assert_eq!(incoming, operations);
    }

    /// Whole frames with any content: parsed or refused, and a parsed message can be encoded again.
    #[test]
    fn any_payload_is_parsed_or_refused(
        kind in select(frame::FrameType::ALL.to_vec()),
        payload in vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = Vec::new();
        let append = |out: &mut Vec<u8>| out.extend_from_slice(&payload);
        frame::write_frame(&mut bytes, frame::FrameHead::new(kind, Channel::ZERO), None, append).unwrap();
        let mut incoming = Vec::new();
        let mut link = charger_link(CHARGER_URI);
        link.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
        let _ = link.receive(&bytes, now(0), &mut incoming, &mut Vec::new());
        let again: Vec<FromCharger> = incoming.into_iter().map(|received| received.message).collect();
        let sent: Vec<FromCharger> = [hello("NL*WST*E0007")].into_iter().chain(again).collect();
        let mut incoming = Vec::new();
        charger_link(CHARGER_URI).receive(&charger_bytes(&sent), now(0), &mut incoming, &mut Vec::new()).unwrap();
        prop_assert_eq!(incoming.into_iter().map(|received| received.message).collect::<Vec<_>>(), sent);
    }
}
