//! OCPP 1.6J, edition 2: what chargers call, and what they are answered.

use super::call::{Call, Noted, Start, TokenAnswer, connector, credential, major, reading, readings, triggered_name};
use super::decimal::scaled;
use super::json::Object;
use super::{signed, time};
use crate::billing::meter_signature::ReadingContext;
use crate::message::{Bill, Code, ConnectorState, ReceiptNotice, SessionName, StopReason, Triggered};
use crate::payment::{Credential, CredentialKind};
use crate::units::{ConnectorId, Energy, SessionKey, Timestamp};
use serde_json::{Value, json};

/// Reads a call.
pub(super) fn read(action: &str, payload: &Value, now: Timestamp) -> Call {
    let call = Object::of(payload);
    let stated = || time::read(call.text("timestamp"), now);
    match action {
        "BootNotification" => {
            let firmware = call.text("firmwareVersion").unwrap_or_default().into();
            Call::Boot { firmware, is_triggered: false }
        }
        "Heartbeat" => Call::Heartbeat,
        "StatusNotification" => Call::Status {
            connector: connector(call.integer("connectorId")),
            state: call.text("status").and_then(|status| state(&status)),
            at: stated().at,
        },
        "Authorize" => Call::Authorize { credential: credential(CredentialKind::Rfid, call.text("idTag")) },
        "StartTransaction" => Call::Start(Box::new(Start {
            // A charger with one connector may leave it out.
            connector: connector(call.integer("connectorId")).unwrap_or(ConnectorId(1)),
            credential: credential(CredentialKind::Rfid, call.text("idTag")),
            at: stated(),
            register: register(call, "meterStart"),
        })),
        "MeterValues" => {
            let (begin, mut readings) = readings(call.list("meterValue"), now);
            if let (true, Some(register)) = (readings.is_empty(), begin) {
                let at = call.list("meterValue").next().and_then(|value| value.text("timestamp"));
                readings.push(reading(&time::read(at, now), register));
            }
            Call::Readings { session: session(call), readings, signed: signed::values(call.list("meterValue"), None) }
        }
        "StopTransaction" => {
            let (_, mut readings) = readings(call.list("transactionData"), now);
            if let Some(register) = register(call, "meterStop") {
                readings.push(reading(&stated(), register));
            }
            Call::Stop {
                // It names no connector, so a number that is none names no session.
                session: session(call).unwrap_or(SessionName::Number(SessionKey(0), None)),
                readings,
                signed: signed::values(call.list("transactionData"), Some(ReadingContext::End)),
                reason: call.text("reason").map_or(StopReason::Local, |reason| stop_reason(&reason)),
                has_token: call.has("idTag"),
                credential: credential(CredentialKind::Rfid, call.text("idTag")),
            }
        }
        "DataTransfer" => Call::Noted(Noted::UnknownVendor),
        "SignCertificate" => Call::Noted(Noted::Rejected),
        "DiagnosticsStatusNotification"
        | "FirmwareStatusNotification"
        | "SignedFirmwareStatusNotification"
        | "LogStatusNotification"
        | "SecurityEventNotification" => Call::Noted(Noted::Empty),
        _ => Call::Refused { is_known: false },
    }
}

/// The register of a start or a stop, in watt hours.
fn register(call: Object<'_>, name: &str) -> Option<Energy> {
    scaled(&call.text(name)?, 6).map(Energy::from_microwatt_hours)
}

/// The session that a call names: by its transaction, or by its connector where the number can be none of the gate's.
fn session(call: Object<'_>) -> Option<SessionName> {
    let number = call.integer("transactionId").and_then(|number| u64::try_from(number).ok());
    let connector = connector(call.integer("connectorId"));
    match number.filter(|number| *number > 0) {
        Some(number) => Some(SessionName::Number(SessionKey(number), connector)),
        None => connector.map(SessionName::Connector),
    }
}

fn state(status: &str) -> Option<ConnectorState> {
    Some(match status {
        "Available" => ConnectorState::Available,
        "Preparing" | "Finishing" | "Reserved" => ConnectorState::Occupied,
        "Charging" => ConnectorState::Charging,
        "SuspendedEV" => ConnectorState::SuspendedEv,
        "SuspendedEVSE" => ConnectorState::SuspendedCharger,
        "Unavailable" => ConnectorState::Unavailable,
        "Faulted" => ConnectorState::Faulted,
        _ => return None,
    })
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "Local" | "" => StopReason::Local,
        "EVDisconnected" => StopReason::EvDisconnected,
        "Remote" | "DeAuthorized" => StopReason::Remote,
        "EmergencyStop" => StopReason::EmergencyStop,
        "PowerLoss" => StopReason::PowerLoss,
        "Reboot" | "HardReset" | "SoftReset" => StopReason::Reboot,
        _ => StopReason::Other,
    }
}

/// The status of a credential.
fn token_status(refused: Option<Code>) -> &'static str {
    match refused {
        None => "Accepted",
        Some(Code::CredentialDeclined | Code::FundsInsufficient | Code::OtherCurrency) => "Blocked",
        Some(Code::CredentialExpired) => "Expired",
        Some(Code::ConnectorOccupied | Code::ConcurrentSession) => "ConcurrentTx",
        Some(_) => "Invalid",
    }
}

/// The answer to an Authorize, and what a stop with a credential is answered.
pub(super) fn authorized(token: &TokenAnswer) -> Value {
    json!({"idTagInfo": token_info(token)})
}

/// What is decided about a credential. A parent has at most twenty characters.
fn token_info(token: &TokenAnswer) -> Value {
    let mut info = json!({"status": token_status(token.refused)});
    if let (None, Some(group)) = (token.refused, token.group.as_deref().filter(|group| group.len() <= 20)) {
        info["parentIdTag"] = group.into();
    }
    info
}

/// The answer to a start.
pub(super) fn started(session: SessionKey, token: &TokenAnswer) -> Value {
    json!({"transactionId": session.0, "idTagInfo": token_info(token)})
}

/// The call that stops a session.
pub(super) fn stop(session: SessionKey) -> (&'static str, Value) {
    ("RemoteStopTransaction", json!({"transactionId": session.0}))
}

/// Longest tag of a driver, in characters (CiString20).
const TAG_MAX: usize = 20;

/// The call that begins a session; none: the token is too long for this version.
pub(super) fn start(credential: &Credential, connector: Option<ConnectorId>) -> Option<(&'static str, Value)> {
    let tag = String::from_utf8_lossy(&credential.token);
    if tag.chars().count() > TAG_MAX {
        return None;
    }
    let mut payload = json!({"idTag": tag});
    if let Some(connector) = connector {
        payload["connectorId"] = connector.0.into();
    }
    Some(("RemoteStartTransaction", payload))
}

/// The call that orders a message.
pub(super) fn trigger(message: Triggered, connector: Option<ConnectorId>) -> (&'static str, Value) {
    let mut payload = json!({"requestedMessage": triggered_name(message)});
    if let Some(connector) = connector {
        payload["connectorId"] = connector.0.into();
    }
    ("TriggerMessage", payload)
}

/// Vendor of the messages for displays: the OCA's paper on California's pricing requirements.
const DISPLAY_VENDOR: &str = "org.openchargealliance.costmsg";

/// The configuration of a charger that shows costs.
const SHOWS_COSTS: &str = "CustomDisplayCostAndPrice";

/// The call that asks a charger whether it shows costs.
pub(super) fn ask_display() -> (&'static str, Value) {
    ("GetConfiguration", json!({"key": [SHOWS_COSTS]}))
}

/// Whether a charger shows costs, as its configuration says.
pub(super) fn shows_costs(answer: &Value) -> bool {
    Object::of(answer)
        .list("configurationKey")
        .any(|key| key.text("key").as_deref() == Some(SHOWS_COSTS) && is_true(key.text("value").as_deref()))
}

fn is_true(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn display(message: &str, data: &Value) -> (&'static str, Value) {
    // The data of a DataTransfer is a text.
    let data = data.to_string();
    ("DataTransfer", json!({"vendorId": DISPLAY_VENDOR, "messageId": message, "data": data}))
}

/// The price for a driver.
pub(super) fn show_price(tag: &str, text: &str) -> (&'static str, Value) {
    display("SetUserPrice", &json!({"idToken": tag, "priceText": text}))
}

/// What a session costs so far; the register in whole watt hours.
pub(super) fn show_running(bill: Bill, register: Option<Energy>, now: Timestamp) -> (&'static str, Value) {
    let mut data = json!({
        "transactionId": bill.session.0, "timestamp": now.to_rfc3339(), "cost": major(bill.cost), "state": "Charging",
    });
    if let Some(register) = register {
        data["meterValue"] = register.microwatt_hours().div_euclid(1_000_000).into();
    }
    display("RunningCost", &data)
}

/// What a session costs.
pub(super) fn show_final(notice: &ReceiptNotice) -> (&'static str, Value) {
    let mut data = json!({
        "transactionId": notice.session.0, "cost": major(notice.total),
        "priceText": format!("{}, receipt {}", notice.total, notice.receipt),
    });
    if !notice.url.is_empty() {
        data["qrCodeText"] = notice.url.as_ref().into();
    }
    display("FinalCost", &data)
}
