//! The charger in conversation with a gate that answers by hand.

use super::*;
use crate::message::{Limit, MeterAck, ReceiptNotice, SessionPosition, StartSession, StopOrder, Terms};
use crate::sim::driver::Habits;
use crate::units::{Currency, MeterReading, PartitionId};

const START: i64 = 1_700_000_000_000;
const MINUTE: TimeSpan = TimeSpan::from_secs(60);
const KW: i64 = 1_000_000;
const KWH: i64 = 1_000_000_000;

fn at(seconds: i64) -> Now {
    Now { wall: Timestamp::from_unix_ms(START + seconds * 1_000), mono: Mono(seconds.unsigned_abs() * 1_000) }
}

/// One connector, drivers that come at once and take 22 kWh at 11 to 22 kW, and stay no longer than that takes.
fn charger() -> Charger {
    let energy = Energy::from_microwatt_hours(22 * KWH);
    let habits =
        Habits { pause_max: TimeSpan::ZERO, energy: (energy, energy), idle_max: TimeSpan::ZERO, ..Habits::default() };
    let settings = Settings {
        id: ChargerId::new("SIM-1").unwrap(),
        connectors: vec![Power::from_milliwatts(22 * KW)],
        interval: MINUTE,
        visitors: Visitors::Random(habits),
        seed: 5,
        kept_max: 100,
    };
    Charger::new(settings, at(0).wall)
}

fn hello_ack(window: u32, sessions: Vec<SessionPosition>) -> ToCharger {
    let terms = Terms { window, heartbeat: MINUTE, frame_max: 65_536 };
    ToCharger::HelloAck(ChargerHelloAck { terms, server_time: at(0).wall, sessions })
}

fn messages_after(charger: &mut Charger, seconds: i64) -> Vec<FromCharger> {
    let mut out = Vec::new();
    charger.take_messages(at(seconds).mono, 1_000, &mut out);
    out
}

fn started(messages: &[FromCharger]) -> &StartSession {
    match messages {
        [FromCharger::Start(start)] => start,
        other => panic!("not one start: {other:?}"),
    }
}

/// The sequences of readings (and of the stop, which is the last one).
fn sequences(messages: &[FromCharger]) -> Vec<u32> {
    messages
        .iter()
        .filter_map(|message| match message {
            FromCharger::Reading { reading, .. } => Some(reading.sequence),
            FromCharger::Stop { last, .. } => Some(last.sequence),
            FromCharger::Hello(_) | FromCharger::Start(_) | FromCharger::Status(_) | FromCharger::Unnumbered(_) => None,
        })
        .collect()
}

fn stopped(messages: &[FromCharger]) -> (MeterReading, StopReason) {
    let stop = messages.iter().find_map(|message| match message {
        FromCharger::Stop { last, reason, .. } => Some((*last, *reason)),
        FromCharger::Hello(_)
        | FromCharger::Start(_)
        | FromCharger::Status(_)
        | FromCharger::Reading { .. }
        | FromCharger::Unnumbered(_) => None,
    });
    stop.expect("one of the messages is a stop")
}

fn accepted(session: SessionKey, limit: Limit) -> ToCharger {
    let id = SessionId::new(at(0).wall, PartitionId(1), 7);
    ToCharger::StartAccepted { session, id, limit, price_text: "".into() }
}

fn ack(session: SessionKey, up_to: u32) -> ToCharger {
    ToCharger::MeterAck(MeterAck { session, up_to, cost: None })
}

/// A charger whose first session was accepted at second 0.
fn charging() -> (Charger, SessionKey) {
    let mut charger = charger();
    charger.hello(at(0));
    charger.on_message(hello_ack(1_000, Vec::new()), at(0));
    charger.advance(at(0));
    let key = started(&messages_after(&mut charger, 0)).session;
    charger.on_message(accepted(key, Limit::default()), at(0));
    (charger, key)
}

#[test]
fn a_session_from_the_credential_to_the_receipt() {
    let (mut charger, key) = charging();
    charger.advance(at(120));
    assert_eq!(sequences(&messages_after(&mut charger, 120)), [1, 2]);
    charger.on_message(ack(key, 2), at(120));
    assert_eq!(charger.unacknowledged(), 0);

    // Two hours later it is over: 22 kWh at 11 kW at least.
    charger.advance(at(7_200));
    let (last, reason) = stopped(&messages_after(&mut charger, 7_200));
    assert_eq!(reason, StopReason::EvDisconnected);
    let sequence = last.sequence;
    charger.on_message(ack(key, sequence), at(7_200));
    assert_eq!(charger.open_sessions(), 2, "the next driver is there, and this one's receipt is still awaited");
    let cost = Cost::from_major("3.08".parse().unwrap(), Currency::EUR).unwrap();
    let receipt = ReceiptNotice {
        session: key,
        total: Amount::new(308, Currency::EUR),
        cost,
        receipt: "R-1".into(),
        url: "".into(),
    };
    charger.on_message(ToCharger::Receipt(receipt.clone()), at(7_201));
    let finished = charger.take_finished();
    assert_eq!(finished[0].energy, Energy::from_microwatt_hours(22 * KWH));
    assert_eq!((finished[0].readings, finished[0].cost), (sequence, cost));
    assert_eq!(charger.tally().readings_acked, u64::from(sequence));
    // It comes again, and changes nothing.
    charger.on_message(ToCharger::Receipt(receipt), at(7_202));
    assert_eq!((charger.tally().receipts, charger.tally().receipts_again), (1, 1));
}

#[test]
fn an_unanswered_start_is_repeated_under_the_same_key() {
    let mut charger = charger();
    charger.advance(at(0));
    assert_eq!(messages_after(&mut charger, 0), [], "nothing is sent before the gate's Hello");
    charger.hello(at(0));
    charger.on_message(hello_ack(10, Vec::new()), at(0));
    let first = messages_after(&mut charger, 0);
    assert_eq!(messages_after(&mut charger, 10), []);
    assert_eq!(messages_after(&mut charger, 15), first, "after a while");
    charger.disconnected();
    let hello = charger.hello(at(16));
    assert_eq!(hello.sessions, [SessionMark { session: started(&first).session, last_sequence: 0 }]);
    charger.on_message(hello_ack(10, Vec::new()), at(16));
    assert_eq!(messages_after(&mut charger, 16), first, "after a reconnect");
}

#[test]
fn readings_wait_for_the_window_and_are_sent_again_after_a_reconnect() {
    let (mut charger, key) = charging();
    charger.disconnected();
    charger.advance(at(600));
    charger.hello(at(600));
    let position = SessionPosition { session: key, standing: Standing::Open { durable: 0 } };
    charger.on_message(hello_ack(4, vec![position]), at(600));
    assert_eq!(sequences(&messages_after(&mut charger, 600)), [1, 2, 3, 4]);
    assert_eq!(messages_after(&mut charger, 600), []);
    charger.on_message(ack(key, 2), at(600));
    assert_eq!(sequences(&messages_after(&mut charger, 600)), [5, 6]);

    charger.disconnected();
    charger.hello(at(601));
    let position = SessionPosition { session: key, standing: Standing::Open { durable: 3 } };
    charger.on_message(hello_ack(100, vec![position]), at(601));
    assert_eq!(sequences(&messages_after(&mut charger, 601)), [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(charger.tally().readings_lost, 0);
}

#[test]
fn a_gate_that_forgot_what_it_acknowledged_is_found_out() {
    let (mut charger, key) = charging();
    charger.advance(at(300));
    messages_after(&mut charger, 300);
    charger.on_message(ack(key, 5), at(300));
    charger.hello(at(301));
    let position = SessionPosition { session: key, standing: Standing::Open { durable: 3 } };
    charger.on_message(hello_ack(100, vec![position]), at(301));
    assert_eq!(charger.tally().readings_lost, 2);

    let (mut charger, key) = charging();
    charger.hello(at(1));
    let position = SessionPosition { session: key, standing: Standing::Unknown };
    charger.on_message(hello_ack(100, vec![position]), at(1));
    assert_eq!(charger.tally().sessions_lost, 1);
}

#[test]
fn a_gate_that_missed_a_reading_gets_it_again() {
    let (mut charger, key) = charging();
    charger.advance(at(300));
    assert_eq!(sequences(&messages_after(&mut charger, 300)), [1, 2, 3, 4, 5]);
    let gap = |expected| ToCharger::SessionRejected {
        session: key,
        code: Code::SequenceGap,
        expected: Some(expected),
        text: "".into(),
    };
    charger.on_message(gap(3), at(300));
    assert_eq!(sequences(&messages_after(&mut charger, 300)), [3, 4, 5]);
    // But not what it had acknowledged.
    charger.on_message(ack(key, 4), at(300));
    charger.on_message(gap(3), at(300));
    assert_eq!((charger.tally().readings_lost, charger.open_sessions()), (2, 0));
}

#[test]
fn orders_and_limits_stop_the_energy() {
    let (mut charger, key) = charging();
    charger.advance(at(60));
    let order = ToCharger::StopNow { session: key, reason: StopOrder::Operator, text: "".into() };
    charger.on_message(order, at(90));
    let messages = messages_after(&mut charger, 90);
    assert!(
        matches!(messages[1], FromCharger::Stop { reason: StopReason::Remote, last, .. } if last.at == at(90).wall)
    );

    let limit = Energy::from_microwatt_hours(KWH);
    let (mut charger, key) = charging();
    charger.on_message(
        ToCharger::LimitChanged { session: key, limit: Limit { energy: Some(limit), ..Limit::default() } },
        at(1),
    );
    let first = charger.sessions[&key].register_start;
    charger.advance(at(3_600));
    let (last, reason) = stopped(&messages_after(&mut charger, 3_600));
    assert_eq!((last.register.checked_sub(first), reason), (Some(limit), StopReason::LimitReached));
    assert_eq!(charger.tally().stopped_by_limit, 1);

    let (mut charger, key) = charging();
    let limit = Limit { time: Some(TimeSpan::from_secs(90)), ..Limit::default() };
    charger.on_message(ToCharger::LimitChanged { session: key, limit }, at(1));
    charger.advance(at(600));
    assert_eq!(sequences(&messages_after(&mut charger, 600)), [1, 2], "one reading, and the stop at second 90");
}

#[test]
fn a_full_memory_thins_the_readings_and_loses_no_energy() {
    let (mut charger, key) = charging();
    charger.settings.kept_max = 3;
    charger.advance(at(600));
    assert_eq!(charger.unacknowledged(), 3);
    charger.on_message(ack(key, 2), at(600));
    charger.close(at(630));
    let (last, _) = stopped(&messages_after(&mut charger, 630));
    assert_eq!(last.sequence, 4, "no number is skipped");
    // Ten and a half minutes at 11 to 22 kW, though minutes 4 to 10 have no readings.
    let session = charger.sessions.values().next().expect("one session");
    assert!(session.energy().microwatt_hours() > 11 * KWH * 630 / 3_600);
}

#[test]
fn a_refused_driver_leaves_and_the_next_one_comes() {
    let mut charger = charger();
    charger.hello(at(0));
    charger.on_message(hello_ack(10, Vec::new()), at(0));
    charger.advance(at(0));
    let first = started(&messages_after(&mut charger, 0)).session;
    let refusal = ToCharger::StartRejected { session: first, code: Code::CredentialDeclined, text: "".into() };
    charger.on_message(refusal, at(1));
    charger.advance(at(1));
    let second = started(&messages_after(&mut charger, 1)).session;
    assert!(second > first, "keys grow");
    assert_eq!(charger.tally().refused.get(&306), Some(&1));
}
