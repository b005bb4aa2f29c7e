//! One message of every type, and the two ends of links between which they travel.

use std::sync::Arc;
use wattstile::message::*;
use wattstile::payment::{
    Answer, CallbackId, Capabilities, Credential, CredentialKind, Decline, DeclineClass, Notification,
    NotificationKind, Operation, Outcome, ProcessorRef, Request, VoidReason,
};
use wattstile::units::{
    Amount, ChargerId, ConnectorId, Cost, Currency, Current, Energy, HoldId, MeterReading, Mono, Now, OpId, Power,
    ProcessorId, SessionId, SessionKey, TimeSpan, Timestamp,
};
use wattstile::wire::*;

/// 2026-11-22T18:00:00Z.
pub const AT: Timestamp = Timestamp::from_unix_ms(1_795_370_400_000);

pub const CHARGER_URI: &str = "spiffe://wattstile.example/charger/NL*WST*E0007";
pub const SITE_URI: &str = "spiffe://wattstile.example/site/depot-3";
pub const PROCESSOR_URI: &str = "spiffe://wattstile.example/processor/acme-pay";

pub fn now(ms: u64) -> Now {
    Now { wall: AT.saturating_add(TimeSpan::from_ms(ms.try_into().unwrap())), mono: Mono(ms) }
}

pub fn identity(uri: &str) -> PeerIdentity {
    PeerIdentity::parse(uri).unwrap()
}

/// Site `depot-3` has the chargers `depot-3-…`.
pub fn may_speak_for() -> MaySpeakFor {
    Arc::new(|site, charger| charger.as_str().starts_with(&format!("{site}-")))
}

pub fn charger_link(uri: &str) -> ChargerLink {
    ChargerLink::new(identity(uri), may_speak_for(), Mono(0)).unwrap()
}

pub fn processor_link(mac: Option<MacKey>) -> ProcessorLink {
    ProcessorLink::new(&identity(PROCESSOR_URI), mac, Mono(0)).unwrap()
}

pub fn processor_id() -> ProcessorId {
    ProcessorId::new("acme-pay").unwrap()
}

pub fn eur(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

pub fn hello(charger: &str) -> FromCharger {
    FromCharger::Hello(ChargerHello {
        numbering: Default::default(),
        charger: ChargerId::new(charger).unwrap(),
        connectors: vec![
            ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() },
            ConnectorInfo { id: ConnectorId(2), power_max: Power::from_watts(150_000).unwrap() },
        ],
        firmware: "acme 4.2.1".into(),
        clock: AT,
        sessions: vec![SessionMark { session: SessionKey(41), last_sequence: 17 }],
    })
}

pub fn credential() -> Credential {
    Credential { kind: CredentialKind::CardToken, token: b"tok_visa_4242".as_slice().into() }
}

pub fn start() -> FromCharger {
    FromCharger::Start(StartSession {
        session: SessionKey(42),
        connector: ConnectorId(2),
        credential: credential(),
        at: AT,
        register: Energy::from_watt_hours(1_234_567).unwrap(),
    })
}

pub fn reading(sequence: u32) -> MeterReading {
    MeterReading {
        sequence,
        at: AT.saturating_add(TimeSpan::from_secs(60 * i64::from(sequence))),
        register: Energy::from_watt_hours(1_234_567 + 183 * i64::from(sequence)).unwrap(),
        power: Power::from_watts(11_000),
        current: Some(Current::from_milliamperes(16_000)),
    }
}

/// Every message of a charger, the Hello first.
pub fn from_charger() -> Vec<(&'static str, FromCharger)> {
    let session = SessionKey(42);
    vec![
        ("charger_hello", hello("NL*WST*E0007")),
        ("start_session", start()),
        ("meter_values", FromCharger::Reading { session, reading: reading(1) }),
        (
            "meter_values_bare",
            FromCharger::Reading { session, reading: MeterReading { power: None, current: None, ..reading(2) } },
        ),
        (
            "stop_session",
            FromCharger::Stop {
                session,
                last: MeterReading { power: None, current: None, ..reading(3) },
                reason: StopReason::EvDisconnected,
            },
        ),
        (
            "connector_status",
            FromCharger::Status(ConnectorStatus {
                connector: ConnectorId(1),
                state: ConnectorState::Faulted,
                at: AT,
                text: "contactor".into(),
            }),
        ),
    ]
}

/// Every message to a charger, except the GoAway that ends a link.
pub fn to_charger() -> Vec<(&'static str, ToCharger)> {
    let session = SessionKey(42);
    let limit = Limit {
        cost: Some(eur(4_500)),
        energy: Energy::from_watt_hours(60_000),
        time: Some(TimeSpan::from_secs(4 * 3_600)),
    };
    let cost = Cost::from_major("1.58354".parse().unwrap(), Currency::EUR).unwrap();
    vec![
        (
            "charger_hello_ack",
            ToCharger::HelloAck(ChargerHelloAck {
                terms: Terms::CHARGER,
                server_time: AT,
                sessions: vec![
                    SessionPosition { session: SessionKey(39), standing: Standing::Unknown },
                    SessionPosition { session: SessionKey(40), standing: Standing::Over { durable: 90 } },
                    SessionPosition { session: SessionKey(41), standing: Standing::Open { durable: 15 } },
                ],
            }),
        ),
        (
            "start_accepted",
            ToCharger::StartAccepted { session, id: session_id(), limit, price_text: "0.49 EUR/kWh".into() },
        ),
        (
            "start_rejected",
            ToCharger::StartRejected { session, code: Code::CredentialDeclined, text: "card expired".into() },
        ),
        ("meter_ack", ToCharger::MeterAck(MeterAck { session, up_to: 17, cost: Some(cost) })),
        ("meter_ack_no_cost", ToCharger::MeterAck(MeterAck { session, up_to: 17, cost: None })),
        ("limit_changed", ToCharger::LimitChanged { session, limit: Limit { energy: None, time: None, ..limit } }),
        (
            "stop_now",
            ToCharger::StopNow { session, reason: StopOrder::MoneyExhausted, text: "authorized amount used".into() },
        ),
        (
            "session_rejected",
            ToCharger::SessionRejected {
                session,
                code: Code::SequenceGap,
                expected: Some(18),
                text: "18 first".into(),
            },
        ),
        (
            "receipt",
            ToCharger::Receipt(ReceiptNotice {
                session,
                total: eur(158),
                cost,
                receipt: "2026-000042".into(),
                url: "https://gate.example/r/2026-000042".into(),
            }),
        ),
        ("heartbeat_ack", ToCharger::HeartbeatAck { server_time: AT }),
    ]
}

pub fn session_id() -> SessionId {
    SessionId::from_u128(0x019a_ac3b_1c00_0007_1234_5678_9abc_0000)
}

pub fn op(ordinal: u16) -> OpId {
    session_id().payment().operation(ordinal)
}

pub fn hold() -> HoldId {
    HoldId(op(1))
}

pub fn reference() -> ProcessorRef {
    ProcessorRef("auth_7f3a".into())
}

pub fn capabilities() -> Capabilities {
    Capabilities {
        credentials: vec![CredentialKind::CardToken, CredentialKind::WalletToken],
        currencies: vec![Currency::EUR, "SEK".parse().unwrap()],
        inquiry_authoritative_after: Some(TimeSpan::from_secs(120)),
        overcapture_percent: 15,
        inflight_max: 256,
        ..Capabilities::everything(Currency::EUR)
    }
}

pub fn processor_hello(processor: &str) -> FromProcessor {
    FromProcessor::Hello(ProcessorHello {
        processor: ProcessorId::new(processor).unwrap(),
        instance: "acme-pay-2".into(),
        capabilities: capabilities(),
        clock: AT,
    })
}

pub fn answer(callback: u128, outcome: Outcome) -> FromProcessor {
    FromProcessor::Answer(Answer { callback: CallbackId(callback), operation: op(1), hold: hold(), outcome })
}

pub fn settlement_lines() -> Vec<SettlementLine> {
    vec![
        SettlementLine { operation: Some(op(2)), kind: SettlementKind::Capture, gross: 158, fee: -4, net: 154 },
        SettlementLine { operation: None, kind: SettlementKind::Fee, gross: 0, fee: -100, net: -100 },
    ]
}

/// Every message of a processor, the Hello first, except the GoAway that ends a link.
pub fn from_processor() -> Vec<(&'static str, FromProcessor)> {
    let lines = settlement_lines();
    vec![
        ("processor_hello", processor_hello("acme-pay")),
        (
            "answer_approved",
            answer(
                1,
                Outcome::Approved {
                    amount: eur(4_500),
                    processor_ref: reference(),
                    expires_at: Some(AT.saturating_add(TimeSpan::from_secs(7 * 86_400))),
                },
            ),
        ),
        (
            "answer_declined",
            answer(
                2,
                Outcome::Declined(Decline {
                    class: DeclineClass::Soft,
                    code: "51".into(),
                    retry_after: Some(TimeSpan::from_secs(60)),
                }),
            ),
        ),
        ("answer_pending", answer(3, Outcome::Pending { decide_by: AT })),
        ("answer_not_found", answer(4, Outcome::NotFound)),
        ("answer_error", answer(5, Outcome::Error)),
        (
            "notification",
            FromProcessor::Notification(Notification {
                callback: CallbackId(6),
                hold: hold(),
                kind: NotificationKind::CaptureFailed,
                amount: eur(158),
                occurred_at: AT,
            }),
        ),
        (
            "settlement_batch",
            FromProcessor::Settlement(SettlementPart {
                callback: CallbackId(7),
                batch: 0xb47c,
                part: 1,
                value_day: 20_780,
                currency: Currency::EUR,
                trailer: SettlementTrailer::of(&lines),
                lines,
            }),
        ),
        ("credit", FromProcessor::Credit { operations: 64 }),
        ("processor_drain", FromProcessor::Drain(Drain { deadline: AT, text: "deploying".into() })),
    ]
}

pub fn operation(ordinal: u16, request: Request) -> ToProcessor {
    ToProcessor::Operation(Operation {
        id: op(ordinal),
        hold: hold(),
        processor: processor_id(),
        attempt: 1,
        possible_duplicate: false,
        decide_by: AT.saturating_add(TimeSpan::from_secs(8)),
        request,
    })
}

/// Every message to a processor, except the GoAway that ends a link.
pub fn to_processor() -> Vec<(&'static str, ToProcessor)> {
    let processor_ref = reference();
    let authorize =
        Request::Authorize { credential: credential(), amount: eur(4_500), partial_ok: true, stand_in: false };
    vec![
        ("processor_hello_ack", ToProcessor::HelloAck(ProcessorHelloAck { terms: Terms::PROCESSOR, server_time: AT })),
        ("authorize", operation(1, authorize)),
        ("increment", operation(2, Request::Increment { processor_ref: reference(), new_total: eur(6_000) })),
        ("decrement", operation(3, Request::Decrement { processor_ref: reference(), new_total: eur(2_000) })),
        ("capture", operation(4, Request::Capture { processor_ref: reference(), amount: eur(158), last: true })),
        (
            "void",
            operation(
                5,
                Request::Void { authorization: op(1), processor_ref: Some(processor_ref), reason: VoidReason::NoStart },
            ),
        ),
        (
            "void_unanswered",
            ToProcessor::Operation(Operation {
                id: op(6),
                hold: hold(),
                processor: processor_id(),
                attempt: 3,
                possible_duplicate: true,
                decide_by: AT,
                request: Request::Void {
                    authorization: op(1),
                    processor_ref: None,
                    reason: VoidReason::OutcomeUnknown,
                },
            }),
        ),
        ("refund", operation(7, Request::Refund { capture: op(4), processor_ref: reference(), amount: eur(58) })),
        ("inquire", operation(8, Request::Inquire { target: op(4) })),
        ("ack", ToProcessor::Ack { callback: CallbackId(1) }),
        ("nack", ToProcessor::Nack { callback: CallbackId(2), code: Code::AmountDiffers, text: "4500 asked".into() }),
        ("gate_drain", ToProcessor::Drain(Drain { deadline: AT, text: "restart".into() })),
    ]
}

pub fn go_away() -> GoAway {
    GoAway { code: Code::Unlisted(901), text: "see you".into(), reconnect_after: TimeSpan::from_secs(5) }
}

/// The bytes of charger messages, in order, from one link.
pub fn charger_bytes(messages: &[FromCharger]) -> Vec<u8> {
    let mut client = ChargerClientLink::new(Mono(0));
    let mut bytes = Vec::new();
    for message in messages {
        client.send(Channel::ZERO, message, Mono(0), &mut bytes).unwrap();
    }
    bytes
}

/// The bytes of processor messages, in order, from one link.
pub fn processor_bytes(messages: &[FromProcessor], mac: Option<MacKey>) -> Vec<u8> {
    let mut client = ProcessorClientLink::new(processor_id(), mac, Mono(0));
    let mut bytes = Vec::new();
    for message in messages {
        client.send(message, Mono(0), &mut bytes).unwrap();
    }
    bytes
}
