//! Chargers' messages to and from the payloads of frames.

use super::frame::{Frame, FrameType};
use super::meter_values;
use super::payload::*;
use super::schema;
use crate::limits;
use crate::message::*;
use crate::units::{Amount, ChargerId, ConnectorId, Cost, MeterReading, Power, SessionId, SessionKey};
use prost::Message;
use std::collections::BTreeSet;

/// Cost parts in 10⁻⁹ of the major unit.
const PARTS_PER_NANO: i128 = Cost::PARTS_PER_MAJOR / 1_000_000_000;

/// Content of a frame from a charger, apart from the readings of a MeterValues frame, which go directly to `out`.
pub(super) enum ChargerPayload {
    /// Already in `out`.
    Readings,
    /// To be answered by the link.
    Heartbeat,
    /// A message to be checked by the link, and passed on.
    Message(FromCharger),
}

/// Parses a frame from a charger. Readings are appended to `out`, or on an error none.
pub(super) fn read_from_charger(frame: &Frame<'_>, out: &mut Vec<Received<FromCharger>>) -> Parsed<ChargerPayload> {
    let payload = frame.payload;
    Ok(ChargerPayload::Message(match frame.kind {
        FrameType::MeterValues => {
            meter_values::read(frame, out)?;
            return Ok(ChargerPayload::Readings);
        }
        FrameType::Heartbeat => {
            schema::Heartbeat::decode(payload)?;
            return Ok(ChargerPayload::Heartbeat);
        }
        FrameType::ChargerHello => FromCharger::Hello(read_hello(schema::ChargerHello::decode(payload)?)?),
        FrameType::StartSession => FromCharger::Start(read_start(schema::StartSession::decode(payload)?)?),
        FrameType::StopSession => {
            let found = schema::StopSession::decode(payload)?;
            FromCharger::Stop {
                session: SessionKey(found.session_key),
                last: MeterReading {
                    sequence: counted("sequence", found.sequence)?,
                    at: at(found.at_ms),
                    register: energy("register_uwh", found.register_uwh)?,
                    power: None,
                    current: None,
                },
                reason: parse_enum("reason", found.reason, StopReason::from_number)?,
            }
        }
        FrameType::ConnectorStatus => {
            let found = schema::ConnectorStatus::decode(payload)?;
            FromCharger::Status(ConnectorStatus {
                connector: connector("connector", found.connector)?,
                state: parse_enum("state", found.state, ConnectorState::from_number)?,
                at: at(found.at_ms),
                text: free_text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
            })
        }
        other => unreachable!("the frame reader lets only chargers' frames through, not {other:?}"),
    }))
}

fn read_hello(found: schema::ChargerHello) -> Parsed<ChargerHello> {
    if found.protocol == 0 {
        return Err(PayloadError::Missing("protocol"));
    }
    let charger = ChargerId::new(&found.charger_id).map_err(|error| PayloadError::Id { field: "charger_id", error })?;
    at_most("connectors", found.connectors.len(), limits::CONNECTORS_PER_CHARGER)?;
    at_most("sessions", found.sessions.len(), limits::SESSIONS_PER_HELLO)?;
    let mut seen = BTreeSet::new();
    let mut connectors = Vec::with_capacity(found.connectors.len());
    for schema::Connector { id, power_max_mw } in found.connectors {
        if !seen.insert(id) {
            return Err(PayloadError::Twice { field: "connectors", found: u64::from(id) });
        }
        let field = "connectors.power_max_mw";
        if power_max_mw > limits::CONNECTOR_POWER_MAX {
            return Err(PayloadError::Range { field, found: i128::from(power_max_mw) });
        }
        let power_max = Power::from_milliwatts(number(field, power_max_mw)?);
        connectors.push(ConnectorInfo { id: connector("connectors.id", id)?, power_max });
    }
    let mut seen = BTreeSet::new();
    for mark in &found.sessions {
        if !seen.insert(mark.session_key) {
            return Err(PayloadError::Twice { field: "sessions", found: mark.session_key });
        }
    }
    let mark = |mark: &schema::SessionMark| SessionMark {
        session: SessionKey(mark.session_key),
        last_sequence: mark.last_sequence,
    };
    Ok(ChargerHello {
        numbering: Default::default(),
        charger,
        connectors,
        firmware: free_text("firmware", found.firmware, limits::MESSAGE_NAME_MAX)?,
        clock: at(found.clock_ms),
        sessions: found.sessions.iter().map(mark).collect(),
    })
}

fn read_start(found: schema::StartSession) -> Parsed<StartSession> {
    Ok(StartSession {
        session: SessionKey(found.session_key),
        connector: connector("connector", found.connector)?,
        credential: credential(found.credential)?,
        at: at(found.at_ms),
        register: energy("register_uwh", found.register_uwh)?,
    })
}

fn connector(field: &'static str, found: u32) -> Parsed<ConnectorId> {
    number(field, counted(field, found)?).map(ConnectorId)
}

/// Appends the payload of a charger's message; returns the frame's type. `None`: the native protocol has no such message.
pub(super) fn write_from_charger(message: &FromCharger) -> Option<(FrameType, impl FnOnce(&mut Vec<u8>))> {
    let kind = match message {
        FromCharger::Hello(_) => FrameType::ChargerHello,
        FromCharger::Start(_) => FrameType::StartSession,
        FromCharger::Reading { .. } => FrameType::MeterValues,
        FromCharger::Stop { .. } => FrameType::StopSession,
        FromCharger::Status(_) => FrameType::ConnectorStatus,
        FromCharger::Unnumbered(_) => return None,
    };
    let payload = move |out: &mut Vec<u8>| match message {
        FromCharger::Hello(hello) => put(&write_hello(hello), out),
        FromCharger::Start(start) => put(
            &schema::StartSession {
                session_key: start.session.0,
                connector: u32::from(start.connector.0),
                credential: Some(write_credential(&start.credential)),
                at_ms: start.at.unix_ms(),
                register_uwh: write_energy(start.register),
            },
            out,
        ),
        FromCharger::Reading { session, reading } => meter_values::write(*session, std::slice::from_ref(reading), out),
        FromCharger::Stop { session, last, reason } => put(
            &schema::StopSession {
                session_key: session.0,
                sequence: last.sequence,
                at_ms: last.at.unix_ms(),
                register_uwh: write_energy(last.register),
                reason: reason.number(),
            },
            out,
        ),
        FromCharger::Status(status) => put(
            &schema::ConnectorStatus {
                connector: u32::from(status.connector.0),
                state: status.state.number(),
                at_ms: status.at.unix_ms(),
                text: cut(&status.text, limits::MESSAGE_TEXT_MAX),
            },
            out,
        ),
        FromCharger::Unnumbered(_) => {}
    };
    Some((kind, payload))
}

fn write_hello(hello: &ChargerHello) -> schema::ChargerHello {
    let connector = |connector: &ConnectorInfo| schema::Connector {
        id: u32::from(connector.id.0),
        power_max_mw: u64::try_from(connector.power_max.milliwatts()).unwrap_or(0),
    };
    let mark =
        |mark: &SessionMark| schema::SessionMark { session_key: mark.session.0, last_sequence: mark.last_sequence };
    schema::ChargerHello {
        protocol: u32::from(super::frame::VERSION),
        charger_id: hello.charger.as_str().to_owned(),
        connectors: hello.connectors.iter().map(connector).collect(),
        firmware: cut(&hello.firmware, limits::MESSAGE_NAME_MAX),
        clock_ms: hello.clock.unix_ms(),
        sessions: hello.sessions.iter().map(mark).collect(),
    }
}

/// Parses a frame from the gate to a charger.
pub(super) fn read_to_charger(frame: &Frame<'_>) -> Parsed<ToCharger> {
    let payload = frame.payload;
    Ok(match frame.kind {
        FrameType::MeterAck => {
            let found = schema::MeterAck::decode(payload)?;
            let cost = match found.cost_nano {
                None => None,
                Some(nano) => {
                    let currency = currency("currency", found.currency)?;
                    // An i64 of nanos is 8·10³⁴ parts at most.
                    Some(Cost::from_parts(i128::from(nano) * PARTS_PER_NANO, currency))
                }
            };
            ToCharger::MeterAck(MeterAck { session: SessionKey(found.session_key), up_to: found.up_to, cost })
        }
        FrameType::ChargerHelloAck => {
            let found = schema::ChargerHelloAck::decode(payload)?;
            at_most("sessions", found.sessions.len(), limits::SESSIONS_PER_HELLO)?;
            ToCharger::HelloAck(ChargerHelloAck {
                terms: terms(found.terms)?,
                server_time: at(found.server_time_ms),
                sessions: found.sessions.iter().map(read_position).collect::<Parsed<_>>()?,
            })
        }
        FrameType::StartAccepted => {
            let found = schema::StartAccepted::decode(payload)?;
            ToCharger::StartAccepted {
                session: SessionKey(found.session_key),
                id: SessionId::from_u128(id("session_id", &found.session_id)?),
                limit: read_limit(found.limit)?,
                price_text: text("price_text", found.price_text, limits::MESSAGE_LONG_TEXT_MAX)?,
            }
        }
        FrameType::StartRejected => {
            let found = schema::StartRejected::decode(payload)?;
            ToCharger::StartRejected {
                session: SessionKey(found.session_key),
                code: code("code", found.code)?,
                text: text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
            }
        }
        FrameType::LimitChanged => {
            let found = schema::LimitChanged::decode(payload)?;
            ToCharger::LimitChanged { session: SessionKey(found.session_key), limit: read_limit(found.limit)? }
        }
        FrameType::StopNow => {
            let found = schema::StopNow::decode(payload)?;
            ToCharger::StopNow {
                session: SessionKey(found.session_key),
                reason: parse_enum("reason", found.reason, StopOrder::from_number)?,
                text: text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
            }
        }
        FrameType::SessionRejected => {
            let found = schema::SessionRejected::decode(payload)?;
            ToCharger::SessionRejected {
                session: SessionKey(found.session_key),
                code: code("code", found.code)?,
                expected: found.expected_sequence,
                text: text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
            }
        }
        FrameType::Receipt => ToCharger::Receipt(read_receipt(schema::Receipt::decode(payload)?)?),
        FrameType::ChargerGoAway => ToCharger::GoAway(gates_go_away(schema::GoAway::decode(payload)?)?),
        FrameType::HeartbeatAck => {
            ToCharger::HeartbeatAck { server_time: at(schema::HeartbeatAck::decode(payload)?.server_time_ms) }
        }
        other => unreachable!("the frame reader lets only the gate's frames to chargers through, not {other:?}"),
    })
}

fn read_position(found: &schema::SessionPosition) -> Parsed<SessionPosition> {
    let durable = found.durable;
    let standing = match schema::SessionStanding::try_from(found.standing) {
        Ok(schema::SessionStanding::Unknown) => Standing::Unknown,
        Ok(schema::SessionStanding::Open) => Standing::Open { durable },
        Ok(schema::SessionStanding::Over) => Standing::Over { durable },
        Ok(schema::SessionStanding::Unspecified) => return Err(PayloadError::Missing("sessions.standing")),
        Err(_) => return Err(PayloadError::Unknown { field: "sessions.standing", found: found.standing }),
    };
    Ok(SessionPosition { session: SessionKey(found.session_key), standing })
}

fn read_limit(found: Option<schema::Limit>) -> Parsed<Limit> {
    let Some(found) = found else {
        return Ok(Limit::default());
    };
    Ok(Limit {
        cost: found.cost.map(|cost| money("limit.cost", Some(cost))).transpose()?,
        energy: found.energy_uwh.map(|uwh| energy("limit.energy_uwh", uwh)).transpose()?,
        time: found.time_ms.map(|ms| span("limit.time_ms", ms)).transpose()?,
    })
}

fn read_receipt(found: schema::Receipt) -> Parsed<ReceiptNotice> {
    let total: Amount = money("total", found.total)?;
    let exact = || PayloadError::Range { field: "cost_exact", found: found.cost_exact.len() as i128 };
    at_most("cost_exact", found.cost_exact.len(), limits::MESSAGE_NAME_MAX)?;
    let major = found.cost_exact.parse().map_err(|_| exact())?;
    let cost =
        Cost::from_major(major, total.currency).map_err(|error| PayloadError::Money { field: "cost_exact", error })?;
    Ok(ReceiptNotice {
        session: SessionKey(found.session_key),
        total,
        cost,
        receipt: text("receipt_id", found.receipt_id, limits::MESSAGE_NAME_MAX)?,
        url: text("url", found.url, limits::MESSAGE_LONG_TEXT_MAX)?,
    })
}

/// Appends the payload of a message to a charger; returns the frame's type. `None`: the native protocol has no such message.
pub(super) fn write_to_charger(message: &ToCharger) -> Option<(FrameType, impl FnOnce(&mut Vec<u8>))> {
    let kind = match message {
        ToCharger::HelloAck(_) => FrameType::ChargerHelloAck,
        ToCharger::StartAccepted { .. } => FrameType::StartAccepted,
        ToCharger::StartRejected { .. } => FrameType::StartRejected,
        ToCharger::MeterAck(_) => FrameType::MeterAck,
        ToCharger::LimitChanged { .. } => FrameType::LimitChanged,
        ToCharger::StopNow { .. } => FrameType::StopNow,
        ToCharger::SessionRejected { .. } => FrameType::SessionRejected,
        ToCharger::Receipt(_) => FrameType::Receipt,
        ToCharger::GoAway(_) => FrameType::ChargerGoAway,
        ToCharger::HeartbeatAck { .. } => FrameType::HeartbeatAck,
        ToCharger::Answer(_) | ToCharger::Order { .. } => return None,
    };
    let payload = move |out: &mut Vec<u8>| match message {
        ToCharger::MeterAck(ack) => put(&write_meter_ack(ack), out),
        ToCharger::HelloAck(ack) => put(
            &schema::ChargerHelloAck {
                protocol: u32::from(super::frame::VERSION),
                terms: Some(write_terms(ack.terms)),
                server_time_ms: ack.server_time.unix_ms(),
                sessions: ack.sessions.iter().map(write_position).collect(),
            },
            out,
        ),
        ToCharger::StartAccepted { session, id, limit, price_text } => put(
            &schema::StartAccepted {
                session_key: session.0,
                session_id: id_bytes(id.as_u128()),
                limit: Some(write_limit(limit)),
                price_text: cut(price_text, limits::MESSAGE_LONG_TEXT_MAX),
            },
            out,
        ),
        ToCharger::StartRejected { session, code, text } => put(
            &schema::StartRejected {
                session_key: session.0,
                code: u32::from(code.number()),
                text: cut(text, limits::MESSAGE_TEXT_MAX),
            },
            out,
        ),
        ToCharger::LimitChanged { session, limit } => {
            put(&schema::LimitChanged { session_key: session.0, limit: Some(write_limit(limit)) }, out)
        }
        ToCharger::StopNow { session, reason, text } => put(
            &schema::StopNow {
                session_key: session.0,
                reason: reason.number(),
                text: cut(text, limits::MESSAGE_TEXT_MAX),
            },
            out,
        ),
        ToCharger::SessionRejected { session, code, expected, text } => put(
            &schema::SessionRejected {
                session_key: session.0,
                code: u32::from(code.number()),
                expected_sequence: *expected,
                text: cut(text, limits::MESSAGE_TEXT_MAX),
            },
            out,
        ),
        ToCharger::Receipt(notice) => put(
            &schema::Receipt {
                session_key: notice.session.0,
                total: Some(write_money(notice.total)),
                receipt_id: cut(&notice.receipt, limits::MESSAGE_NAME_MAX),
                url: cut(&notice.url, limits::MESSAGE_LONG_TEXT_MAX),
                cost_exact: notice.cost.major().to_string(),
            },
            out,
        ),
        ToCharger::GoAway(go) => put(&write_go_away(go), out),
        ToCharger::HeartbeatAck { server_time } => {
            put(&schema::HeartbeatAck { server_time_ms: server_time.unix_ms() }, out)
        }
        ToCharger::Answer(_) | ToCharger::Order { .. } => {}
    };
    Some((kind, payload))
}

/// The hot answer: only numbers, nothing is allocated.
fn write_meter_ack(ack: &MeterAck) -> schema::MeterAck {
    // A cost beyond the range of nanos (9·10⁹ major units) is sent as unknown rather than wrong.
    let nano = ack.cost.and_then(|cost| i64::try_from(nearest(cost.parts(), PARTS_PER_NANO)).ok());
    schema::MeterAck {
        session_key: ack.session.0,
        up_to: ack.up_to,
        cost_nano: nano,
        currency: match (nano, ack.cost) {
            (Some(_), Some(cost)) => u32::from(cost.currency().numeric()),
            _ => 0,
        },
    }
}

/// Quotient to the nearest whole number, a half to the even neighbour.
fn nearest(value: i128, divisor: i128) -> i128 {
    let (quotient, remainder) = (value.div_euclid(divisor), value.rem_euclid(divisor));
    match remainder.cmp(&(divisor - remainder)) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

fn write_position(position: &SessionPosition) -> schema::SessionPosition {
    let (standing, durable) = match position.standing {
        Standing::Unknown => (schema::SessionStanding::Unknown, 0),
        Standing::Open { durable } => (schema::SessionStanding::Open, durable),
        Standing::Over { durable } => (schema::SessionStanding::Over, durable),
    };
    schema::SessionPosition { session_key: position.session.0, standing: standing.into(), durable }
}

fn write_limit(limit: &Limit) -> schema::Limit {
    schema::Limit {
        cost: limit.cost.map(write_money),
        energy_uwh: limit.energy.map(write_energy),
        time_ms: limit.time.map(write_span),
    }
}

/// Appends a message. A `Vec` has always room.
pub(super) fn put(message: &impl Message, out: &mut Vec<u8>) {
    message.encode_raw(out);
}
