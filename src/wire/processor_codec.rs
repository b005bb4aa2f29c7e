//! Processors' messages to and from the payloads of frames.

use super::charger_codec::put;
use super::frame::{Frame, FrameType};
use super::payload::*;
use super::schema;
use crate::limits;
use crate::message::*;
use crate::payment::{
    Answer, CallbackId, Capabilities, CredentialKind, Decline, DeclineClass, Notification, NotificationKind, Operation,
    OperationKind, Outcome, ProcessorRef, Request, VoidReason,
};
use crate::units::{Currency, HoldId, OpId, ProcessorId};
use prost::Message;

/// Longest code of a processor's own, in bytes.
const DECLINE_CODE_MAX: usize = 16;

/// Content of a frame from a processor.
pub(super) enum ProcessorPayload {
    /// To be answered by the link, with this nonce.
    Ping(u64),
    /// The answer to a Ping.
    Pong,
    /// A message to be checked by the link, and passed on.
    Message(FromProcessor),
}

/// Parses a frame from a processor.
pub(super) fn read_from_processor(frame: &Frame<'_>) -> Parsed<ProcessorPayload> {
    let payload = frame.payload;
    Ok(ProcessorPayload::Message(match frame.kind {
        FrameType::ProcessorPing => return Ok(ProcessorPayload::Ping(schema::Ping::decode(payload)?.nonce)),
        FrameType::ProcessorPong => {
            schema::Pong::decode(payload)?;
            return Ok(ProcessorPayload::Pong);
        }
        FrameType::Answer => FromProcessor::Answer(read_answer(schema::Answer::decode(payload)?)?),
        FrameType::ProcessorHello => FromProcessor::Hello(read_hello(schema::ProcessorHello::decode(payload)?)?),
        FrameType::Notification => {
            let found = schema::Notification::decode(payload)?;
            FromProcessor::Notification(Notification {
                callback: callback(&found.callback_id)?,
                hold: hold(&found.hold_id)?,
                kind: parse_enum("kind", found.kind, |number| by_number(NOTIFICATIONS, number))?,
                amount: money("amount", found.amount)?,
                occurred_at: at(found.occurred_at_ms),
            })
        }
        FrameType::SettlementBatch => {
            FromProcessor::Settlement(read_settlement(schema::SettlementBatch::decode(payload)?)?)
        }
        FrameType::Credit => FromProcessor::Credit { operations: schema::Credit::decode(payload)?.operations },
        FrameType::ProcessorDrain => FromProcessor::Drain(read_drain(schema::Drain::decode(payload)?)?),
        FrameType::ProcessorLeaves => FromProcessor::GoAway(go_away(schema::GoAway::decode(payload)?)?),
        other => unreachable!("the frame reader lets only processors' frames through, not {other:?}"),
    }))
}

/// The callback of an answer whose other fields may be wrong.
pub(super) fn answered_by(frame: &Frame<'_>) -> Option<CallbackId> {
    match frame.kind {
        FrameType::Answer => callback(&schema::Answer::decode(frame.payload).ok()?.callback_id).ok(),
        _ => None,
    }
}

/// The values of an enum that the payment room numbers.
macro_rules! numbered {
    ($name:ident: $kind:ident, $($variant:ident),*) => {
        const $name: &[($kind, i32)] = &[$(($kind::$variant, $kind::$variant as i32)),*];
    };
}
numbered!(OPERATIONS: OperationKind, Authorize, Increment, Decrement, Capture, Void, Refund, Inquire);
numbered!(DECLINES: DeclineClass, Soft, Hard, Fraud, Technical, State);
numbered!(VOIDS: VoidReason, NoStart, DriverCancelled, OutcomeUnknown, LateApproval, PartialTooSmall, Remainder);
numbered!(
    NOTIFICATIONS: NotificationKind,
    AuthorizationExpired,
    CaptureFailed,
    RefundFailed,
    DisputeOpened,
    DisputeWon,
    DisputeLost
);

fn by_number<T: Copy>(table: &[(T, i32)], number: i32) -> Option<T> {
    table.iter().find(|(_, known)| *known == number).map(|(value, _)| *value)
}

fn callback(found: &[u8]) -> Parsed<CallbackId> {
    id("callback_id", found).map(CallbackId)
}

fn operation(field: &'static str, found: &[u8]) -> Parsed<OpId> {
    id(field, found).map(OpId::from_u128)
}

fn hold(found: &[u8]) -> Parsed<HoldId> {
    operation("hold_id", found).map(HoldId)
}

fn processor_ref(found: String) -> Parsed<ProcessorRef> {
    if found.is_empty() {
        Err(PayloadError::Missing("processor_ref"))
    } else {
        reference("processor_ref", found, ProcessorRef::MAX_LEN).map(ProcessorRef)
    }
}

fn read_hello(found: schema::ProcessorHello) -> Parsed<ProcessorHello> {
    if found.protocol == 0 {
        return Err(PayloadError::Missing("protocol"));
    }
    let processor =
        ProcessorId::new(&found.processor_id).map_err(|error| PayloadError::Id { field: "processor_id", error })?;
    Ok(ProcessorHello {
        processor,
        instance: free_text("instance", found.instance, limits::MESSAGE_NAME_MAX)?,
        capabilities: read_capabilities(required("capabilities", found.capabilities)?)?,
        clock: at(found.clock_ms),
    })
}

/// Unknown kinds are skipped: a processor may have a newer version than the gate.
fn read_capabilities(found: schema::Capabilities) -> Parsed<Capabilities> {
    at_most("kinds", found.kinds.len(), limits::CAPABILITIES_LISTED)?;
    at_most("credentials", found.credentials.len(), limits::CAPABILITIES_LISTED)?;
    at_most("currencies", found.currencies.len(), limits::CAPABILITIES_LISTED)?;
    let currencies = found.currencies.iter().filter_map(|code| u16::try_from(*code).ok());
    Ok(Capabilities {
        kinds: found.kinds.iter().filter_map(|number| by_number(OPERATIONS, *number)).collect(),
        credentials: found.credentials.iter().filter_map(|number| credential_kind(*number)).collect(),
        currencies: currencies.filter_map(|code| Currency::from_numeric(code).ok()).collect(),
        idempotent_replay: span("idempotent_replay_ms", found.idempotent_replay_ms)?,
        replay_after_error_safe: found.replay_after_error_safe,
        request_life_max: span("request_life_max_ms", found.request_life_max_ms)?,
        inquiry_authoritative_after: found
            .inquiry_authoritative_after_ms
            .map(|ms| span("inquiry_authoritative_after_ms", ms))
            .transpose()?,
        increments_max: number("increments_max", found.increments_max)?,
        overcapture_percent: number("overcapture_percent", found.overcapture_percent)?,
        partial_approval: found.partial_approval,
        multiple_captures: found.multiple_captures,
        hold_validity: span("hold_validity_ms", found.hold_validity_ms)?,
        inflight_max: counted("inflight_max", found.inflight_max)?,
    })
}

fn write_capabilities(capabilities: &Capabilities) -> schema::Capabilities {
    schema::Capabilities {
        kinds: capabilities.kinds.iter().map(|kind| *kind as i32).collect(),
        credentials: capabilities.credentials.iter().map(|kind: &CredentialKind| *kind as i32).collect(),
        currencies: capabilities.currencies.iter().map(|currency| u32::from(currency.numeric())).collect(),
        idempotent_replay_ms: write_span(capabilities.idempotent_replay),
        replay_after_error_safe: capabilities.replay_after_error_safe,
        request_life_max_ms: write_span(capabilities.request_life_max),
        inquiry_authoritative_after_ms: capabilities.inquiry_authoritative_after.map(write_span),
        increments_max: u32::from(capabilities.increments_max),
        overcapture_percent: u32::from(capabilities.overcapture_percent),
        partial_approval: capabilities.partial_approval,
        multiple_captures: capabilities.multiple_captures,
        hold_validity_ms: write_span(capabilities.hold_validity),
        inflight_max: capabilities.inflight_max,
    }
}

fn read_answer(found: schema::Answer) -> Parsed<Answer> {
    use schema::answer::Outcome as Found;
    let outcome = match required("outcome", found.outcome)? {
        Found::Approved(approved) => Outcome::Approved {
            amount: money("approved.amount", approved.amount)?,
            processor_ref: processor_ref(approved.processor_ref)?,
            expires_at: approved.expires_at_ms.map(at),
        },
        Found::Declined(declined) => Outcome::Declined(Decline {
            class: parse_enum("declined.class", declined.class, |number| by_number(DECLINES, number))?,
            code: free_text("declined.code", declined.code, DECLINE_CODE_MAX)?,
            retry_after: declined.retry_after_ms.map(|ms| span("declined.retry_after_ms", ms)).transpose()?,
        }),
        Found::Pending(pending) => Outcome::Pending { decide_by: at(pending.decide_by_ms) },
        Found::NotFound(schema::NotFound {}) => Outcome::NotFound,
        Found::Error(schema::OutcomeOpen {}) => Outcome::Error,
    };
    Ok(Answer {
        callback: callback(&found.callback_id)?,
        operation: operation("operation_id", &found.operation_id)?,
        hold: hold(&found.hold_id)?,
        outcome,
    })
}

fn write_answer(answer: &Answer) -> schema::Answer {
    use schema::answer::Outcome as Written;
    let outcome = match &answer.outcome {
        Outcome::Approved { amount, processor_ref, expires_at } => Written::Approved(schema::Approved {
            amount: Some(write_money(*amount)),
            processor_ref: cut(&processor_ref.0, ProcessorRef::MAX_LEN),
            expires_at_ms: expires_at.map(|at| at.unix_ms()),
        }),
        Outcome::Declined(decline) => Written::Declined(schema::Declined {
            class: decline.class as i32,
            code: cut(&decline.code, DECLINE_CODE_MAX),
            retry_after_ms: decline.retry_after.map(write_span),
        }),
        Outcome::Pending { decide_by } => Written::Pending(schema::Pending { decide_by_ms: decide_by.unix_ms() }),
        Outcome::NotFound => Written::NotFound(schema::NotFound {}),
        Outcome::Error => Written::Error(schema::OutcomeOpen {}),
    };
    schema::Answer {
        callback_id: id_bytes(answer.callback.0),
        operation_id: id_bytes(answer.operation.as_u128()),
        hold_id: id_bytes(answer.hold.0.as_u128()),
        outcome: Some(outcome),
    }
}

fn read_settlement(found: schema::SettlementBatch) -> Parsed<SettlementPart> {
    at_most("lines", found.lines.len(), limits::SETTLEMENT_LINES_PER_PART)?;
    let line = |line: &schema::SettlementLine| {
        Ok(SettlementLine {
            operation: if line.operation_id.is_empty() {
                None
            } else {
                Some(operation("lines.operation_id", &line.operation_id)?)
            },
            kind: parse_enum("lines.kind", line.kind, SettlementKind::from_number)?,
            gross: line.gross_minor,
            fee: line.fee_minor,
            net: line.net_minor,
        })
    };
    let trailer = |trailer: schema::SettlementTrailer| -> Parsed<SettlementTrailer> {
        let found = trailer.sha256.len() as i128;
        let sha256 = <[u8; 32]>::try_from(trailer.sha256.as_slice())
            .map_err(|_| PayloadError::Range { field: "trailer.sha256", found })?;
        Ok(SettlementTrailer {
            lines: trailer.lines,
            gross: trailer.gross_minor,
            fee: trailer.fee_minor,
            net: trailer.net_minor,
            sha256,
        })
    };
    Ok(SettlementPart {
        callback: callback(&found.callback_id)?,
        batch: id("batch_id", &found.batch_id)?,
        part: counted("part", found.part)?,
        value_day: found.value_day,
        currency: currency("currency", found.currency)?,
        lines: found.lines.iter().map(line).collect::<Parsed<_>>()?,
        trailer: found.trailer.map(trailer).transpose()?,
    })
}

fn write_settlement(part: &SettlementPart) -> schema::SettlementBatch {
    let line = |line: &SettlementLine| schema::SettlementLine {
        operation_id: line.operation.map(|id| id_bytes(id.as_u128())).unwrap_or_default(),
        kind: line.kind.number(),
        gross_minor: line.gross,
        fee_minor: line.fee,
        net_minor: line.net,
    };
    let trailer = |trailer: SettlementTrailer| schema::SettlementTrailer {
        lines: trailer.lines,
        gross_minor: trailer.gross,
        fee_minor: trailer.fee,
        net_minor: trailer.net,
        sha256: trailer.sha256.to_vec(),
    };
    schema::SettlementBatch {
        callback_id: id_bytes(part.callback.0),
        batch_id: id_bytes(part.batch),
        part: part.part,
        value_day: part.value_day,
        currency: u32::from(part.currency.numeric()),
        lines: part.lines.iter().map(line).collect(),
        trailer: part.trailer.map(trailer),
    }
}

fn read_drain(found: schema::Drain) -> Parsed<Drain> {
    Ok(Drain { deadline: at(found.deadline_ms), text: free_text("text", found.text, limits::MESSAGE_TEXT_MAX)? })
}

fn write_drain(drain: &Drain) -> schema::Drain {
    schema::Drain { deadline_ms: drain.deadline.unix_ms(), text: cut(&drain.text, limits::MESSAGE_TEXT_MAX) }
}

/// Appends the payload of a processor's message; returns the frame's type.
pub(super) fn write_from_processor(message: &FromProcessor) -> (FrameType, impl FnOnce(&mut Vec<u8>)) {
    let kind = match message {
        FromProcessor::Hello(_) => FrameType::ProcessorHello,
        FromProcessor::Answer(_) => FrameType::Answer,
        FromProcessor::Notification(_) => FrameType::Notification,
        FromProcessor::Settlement(_) => FrameType::SettlementBatch,
        FromProcessor::Credit { .. } => FrameType::Credit,
        FromProcessor::Drain(_) => FrameType::ProcessorDrain,
        FromProcessor::GoAway(_) => FrameType::ProcessorLeaves,
    };
    (kind, move |out: &mut Vec<u8>| match message {
        FromProcessor::Hello(hello) => put(
            &schema::ProcessorHello {
                protocol: u32::from(super::frame::VERSION),
                processor_id: hello.processor.as_str().to_owned(),
                instance: cut(&hello.instance, limits::MESSAGE_NAME_MAX),
                capabilities: Some(write_capabilities(&hello.capabilities)),
                clock_ms: hello.clock.unix_ms(),
            },
            out,
        ),
        FromProcessor::Answer(answer) => put(&write_answer(answer), out),
        FromProcessor::Notification(notification) => put(
            &schema::Notification {
                callback_id: id_bytes(notification.callback.0),
                hold_id: id_bytes(notification.hold.0.as_u128()),
                kind: notification.kind as i32,
                amount: Some(write_money(notification.amount)),
                occurred_at_ms: notification.occurred_at.unix_ms(),
            },
            out,
        ),
        FromProcessor::Settlement(part) => put(&write_settlement(part), out),
        FromProcessor::Credit { operations } => put(&schema::Credit { operations: *operations }, out),
        FromProcessor::Drain(drain) => put(&write_drain(drain), out),
        FromProcessor::GoAway(go) => put(&write_go_away(go), out),
    })
}

/// Content of a frame from the gate to a processor.
pub(super) enum GatePayload {
    /// To be answered by the link, with this nonce.
    Ping(u64),
    /// The answer to a Ping.
    Pong,
    /// To be handed on.
    Message(ToProcessor),
}

/// Parses a frame from the gate to `processor`.
pub(super) fn read_to_processor(frame: &Frame<'_>, processor: &ProcessorId) -> Parsed<GatePayload> {
    let payload = frame.payload;
    Ok(GatePayload::Message(match frame.kind {
        FrameType::GatePing => return Ok(GatePayload::Ping(schema::Ping::decode(payload)?.nonce)),
        FrameType::GatePong => {
            schema::Pong::decode(payload)?;
            return Ok(GatePayload::Pong);
        }
        FrameType::Operation => ToProcessor::Operation(read_operation(schema::Operation::decode(payload)?, processor)?),
        FrameType::ProcessorHelloAck => {
            let found = schema::ProcessorHelloAck::decode(payload)?;
            ToProcessor::HelloAck(ProcessorHelloAck {
                terms: terms(found.terms)?,
                server_time: at(found.server_time_ms),
            })
        }
        FrameType::Ack => ToProcessor::Ack { callback: callback(&schema::Ack::decode(payload)?.callback_id)? },
        FrameType::Nack => {
            let found = schema::Nack::decode(payload)?;
            ToProcessor::Nack {
                callback: callback(&found.callback_id)?,
                code: code("code", found.code)?,
                text: text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
            }
        }
        FrameType::GateDrain => ToProcessor::Drain(read_drain(schema::Drain::decode(payload)?)?),
        FrameType::ProcessorGoAway => ToProcessor::GoAway(gates_go_away(schema::GoAway::decode(payload)?)?),
        other => unreachable!("the frame reader lets only the gate's frames to processors through, not {other:?}"),
    }))
}

fn read_operation(found: schema::Operation, processor: &ProcessorId) -> Parsed<Operation> {
    use schema::operation::Request as Found;
    let request = match required("request", found.request)? {
        Found::Authorize(ask) => Request::Authorize {
            credential: credential(ask.credential)?,
            amount: money("amount", ask.amount)?,
            partial_ok: ask.partial_ok,
            stand_in: ask.stand_in,
        },
        Found::Increment(ask) => Request::Increment {
            processor_ref: processor_ref(ask.processor_ref)?,
            new_total: money("new_total", ask.new_total)?,
        },
        Found::Decrement(ask) => Request::Decrement {
            processor_ref: processor_ref(ask.processor_ref)?,
            new_total: money("new_total", ask.new_total)?,
        },
        Found::Capture(ask) => Request::Capture {
            processor_ref: processor_ref(ask.processor_ref)?,
            amount: money("amount", ask.amount)?,
            last: ask.last,
        },
        Found::Void(ask) => Request::Void {
            authorization: operation("authorization_id", &ask.authorization_id)?,
            processor_ref: ask.processor_ref.map(processor_ref).transpose()?,
            reason: parse_enum("reason", ask.reason, |number| by_number(VOIDS, number))?,
        },
        Found::Refund(ask) => Request::Refund {
            capture: operation("capture_id", &ask.capture_id)?,
            processor_ref: processor_ref(ask.processor_ref)?,
            amount: money("amount", ask.amount)?,
        },
        Found::Inquire(ask) => Request::Inquire { target: operation("target_id", &ask.target_id)? },
    };
    Ok(Operation {
        id: operation("operation_id", &found.operation_id)?,
        hold: hold(&found.hold_id)?,
        processor: processor.clone(),
        attempt: number("attempt", counted("attempt", found.attempt)?)?,
        possible_duplicate: found.possible_duplicate,
        decide_by: at(found.decide_by_ms),
        request,
    })
}

fn write_operation(operation: &Operation) -> schema::Operation {
    use schema::operation::Request as Written;
    let request = match &operation.request {
        Request::Authorize { credential, amount, partial_ok, stand_in } => Written::Authorize(schema::Authorize {
            credential: Some(write_credential(credential)),
            amount: Some(write_money(*amount)),
            partial_ok: *partial_ok,
            stand_in: *stand_in,
        }),
        Request::Increment { processor_ref, new_total } => Written::Increment(schema::Increment {
            processor_ref: processor_ref.0.to_string(),
            new_total: Some(write_money(*new_total)),
        }),
        Request::Decrement { processor_ref, new_total } => Written::Decrement(schema::Decrement {
            processor_ref: processor_ref.0.to_string(),
            new_total: Some(write_money(*new_total)),
        }),
        Request::Capture { processor_ref, amount, last } => Written::Capture(schema::Capture {
            processor_ref: processor_ref.0.to_string(),
            amount: Some(write_money(*amount)),
            last: *last,
        }),
        Request::Void { authorization, processor_ref, reason } => Written::Void(schema::Void {
            authorization_id: id_bytes(authorization.as_u128()),
            processor_ref: processor_ref.as_ref().map(|name| name.0.to_string()),
            reason: *reason as i32,
        }),
        Request::Refund { capture, processor_ref, amount } => Written::Refund(schema::Refund {
            capture_id: id_bytes(capture.as_u128()),
            processor_ref: processor_ref.0.to_string(),
            amount: Some(write_money(*amount)),
        }),
        Request::Inquire { target } => Written::Inquire(schema::Inquire { target_id: id_bytes(target.as_u128()) }),
    };
    schema::Operation {
        operation_id: id_bytes(operation.id.as_u128()),
        hold_id: id_bytes(operation.hold.0.as_u128()),
        attempt: u32::from(operation.attempt),
        possible_duplicate: operation.possible_duplicate,
        decide_by_ms: operation.decide_by.unix_ms(),
        request: Some(request),
    }
}

/// Appends the payload of a message to a processor; returns the frame's type.
pub(super) fn write_to_processor(message: &ToProcessor) -> (FrameType, impl FnOnce(&mut Vec<u8>)) {
    let kind = match message {
        ToProcessor::HelloAck(_) => FrameType::ProcessorHelloAck,
        ToProcessor::Operation(_) => FrameType::Operation,
        ToProcessor::Ack { .. } => FrameType::Ack,
        ToProcessor::Nack { .. } => FrameType::Nack,
        ToProcessor::Drain(_) => FrameType::GateDrain,
        ToProcessor::GoAway(_) => FrameType::ProcessorGoAway,
    };
    (kind, move |out: &mut Vec<u8>| match message {
        ToProcessor::HelloAck(ack) => put(
            &schema::ProcessorHelloAck {
                protocol: u32::from(super::frame::VERSION),
                terms: Some(write_terms(ack.terms)),
                server_time_ms: ack.server_time.unix_ms(),
            },
            out,
        ),
        ToProcessor::Operation(operation) => put(&write_operation(operation), out),
        ToProcessor::Ack { callback } => put(&schema::Ack { callback_id: id_bytes(callback.0) }, out),
        ToProcessor::Nack { callback, code, text } => put(
            &schema::Nack {
                callback_id: id_bytes(callback.0),
                code: u32::from(code.number()),
                text: cut(text, limits::MESSAGE_TEXT_MAX),
            },
            out,
        ),
        ToProcessor::Drain(drain) => put(&write_drain(drain), out),
        ToProcessor::GoAway(go) => put(&write_go_away(go), out),
    })
}
