//! OCPP 2.0.1, edition 3, and 2.1, edition 1: what chargers call, and what they are answered.

use super::Version;
use super::call::{Call, Event, EventKind, Noted, TokenAnswer, connector, credential, major, readings, triggered_name};
use super::json::Object;
use super::{signed, time};
use crate::billing::meter_signature::ReadingContext;
use crate::message::{Bill, Code, ConnectorState, StopReason, Triggered};
use crate::payment::{Credential, CredentialKind};
use crate::units::{ConnectorId, Timestamp};
use serde_json::{Map, Value, json};

/// Longest name of a transaction that is kept, in characters; the protocol allows 36.
const NAME_MAX: usize = 128;

/// Reads a call.
pub(super) fn read(version: Version, action: &str, payload: &Value, now: Timestamp) -> Call {
    let call = Object::of(payload);
    match action {
        "BootNotification" => {
            let firmware = call.object("chargingStation").text("firmwareVersion").unwrap_or_default();
            let is_triggered = call.text("reason").as_deref() == Some("Triggered");
            Call::Boot { firmware: firmware.into(), is_triggered }
        }
        "Heartbeat" => Call::Heartbeat,
        "StatusNotification" => Call::Status {
            connector: connector(call.integer("evseId")).or_else(|| connector(call.integer("connectorId"))),
            state: call.text("connectorStatus").and_then(|status| state(&status)),
            at: time::read(call.text("timestamp"), now).at,
        },
        "Authorize" => Call::Authorize { credential: token(call.object("idToken")) },
        "TransactionEvent" => Call::Event(Box::new(event(call, now))),
        // They name no transaction: nothing is billed by them.
        "MeterValues" => Call::Readings { session: None, readings: Vec::new(), signed: Vec::new() },
        "DataTransfer" => Call::Noted(Noted::UnknownVendor),
        "SignCertificate" | "NotifyEVChargingNeeds" => Call::Noted(Noted::Rejected),
        "NotifyEVChargingSchedule" => Call::Noted(Noted::Accepted),
        "SecurityEventNotification"
        | "NotifyEvent"
        | "NotifyReport"
        | "NotifyMonitoringReport"
        | "NotifyChargingLimit"
        | "NotifyCustomerInformation"
        | "NotifyDisplayMessages"
        | "ClearedChargingLimit"
        | "ReportChargingProfiles"
        | "ReservationStatusUpdate"
        | "FirmwareStatusNotification"
        | "PublishFirmwareStatusNotification"
        | "LogStatusNotification" => Call::Noted(Noted::Empty),
        "NotifyWebPaymentStarted" | "NotifyDERAlarm" | "NotifyDERStartStop" | "NotifyPriorityCharging"
            if version == Version::V21 =>
        {
            Call::Noted(Noted::Empty)
        }
        "Get15118EVCertificate" | "GetCertificateStatus" => Call::Refused { is_known: true },
        "NotifySettlement"
        | "VatNumberValidation"
        | "BatterySwap"
        | "GetCertificateChainStatus"
        | "PullDynamicScheduleUpdate"
        | "ReportDERControl"
        | "NotifyAllowedEnergyTransfer"
            if version == Version::V21 =>
        {
            Call::Refused { is_known: true }
        }
        _ => Call::Refused { is_known: false },
    }
}

fn event(call: Object<'_>, now: Timestamp) -> Event {
    let info = call.object("transactionInfo");
    let kind = match call.text("eventType").as_deref() {
        Some("Started") => EventKind::Started,
        Some("Ended") => EventKind::Ended,
        _ => EventKind::Updated,
    };
    let at = time::read(call.text("timestamp"), now);
    let name: String = info.text("transactionId").unwrap_or_default().chars().take(NAME_MAX).collect();
    let evse = call.object("evse");
    let (begin, readings) = readings(call.list("meterValue"), now);
    let moment = match kind {
        EventKind::Started => Some(ReadingContext::Begin),
        EventKind::Updated => None,
        EventKind::Ended => Some(ReadingContext::End),
    };
    let reason = info.text("stoppedReason").or_else(|| info.text("reason"));
    Event {
        kind,
        at,
        name: name.into(),
        connector: connector(evse.integer("id")).or_else(|| connector(evse.integer("connectorId"))),
        has_token: call.has("idToken"),
        credential: token(call.object("idToken")),
        remote: info.integer("remoteStartId"),
        is_charging: info.text("chargingState").as_deref() == Some("Charging"),
        begin,
        readings,
        signed: signed::values(call.list("meterValue"), moment),
        sequence: call.integer("seqNo").and_then(|number| u32::try_from(number).ok()),
        is_offline: call.flag("offline"),
        cost_limit: info.object("transactionLimit").text("maxCost").and_then(|cost| cost.parse().ok()),
        resumes: call.text("triggerReason").as_deref() == Some("TxResumed"),
        reason: reason.map_or(StopReason::Local, |reason| stop_reason(&reason)),
    }
}

/// A driver's token. The kinds that a reader reads are one kind: some chargers name the same card differently from call to call.
fn token(token: Object<'_>) -> Option<Credential> {
    let kind = match token.text("type").as_deref() {
        Some("eMAID" | "EMAID" | "EMAid") => CredentialKind::EvAccount,
        Some("DirectPayment") => CredentialKind::CardToken,
        Some("NoAuthorization") => return None,
        _ => CredentialKind::Rfid,
    };
    credential(kind, token.text("idToken"))
}

fn state(status: &str) -> Option<ConnectorState> {
    Some(match status {
        "Available" => ConnectorState::Available,
        "Occupied" | "Reserved" => ConnectorState::Occupied,
        "Unavailable" => ConnectorState::Unavailable,
        "Faulted" => ConnectorState::Faulted,
        _ => return None,
    })
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "Local" | "StoppedByEV" | "" => StopReason::Local,
        "EVDisconnected" => StopReason::EvDisconnected,
        "Remote" | "DeAuthorized" | "MasterPass" => StopReason::Remote,
        "EnergyLimitReached" | "TimeLimitReached" | "SOCLimitReached" | "CostLimitReached" | "LocalOutOfCredit" => {
            StopReason::LimitReached
        }
        "EmergencyStop" => StopReason::EmergencyStop,
        "PowerLoss" | "PowerQuality" => StopReason::PowerLoss,
        "Reboot" | "ImmediateReset" => StopReason::Reboot,
        "GroundFault" | "OvercurrentFault" => StopReason::Fault,
        _ => StopReason::Other,
    }
}

/// What is decided about a credential.
fn token_info(token: &TokenAnswer, now: Timestamp) -> Value {
    let status = match token.refused {
        None => "Accepted",
        Some(Code::CredentialDeclined) => "Blocked",
        Some(Code::CredentialExpired) => "Expired",
        Some(Code::FundsInsufficient) => "NoCredit",
        Some(Code::CredentialNotAccepted) => "Unknown",
        Some(Code::ConnectorOccupied | Code::ConcurrentSession) => "ConcurrentTx",
        Some(Code::NoTariff) => "NotAtThisLocation",
        Some(_) => "Invalid",
    };
    let mut info = json!({"status": status});
    if token.is_prepaid {
        info["cacheExpiryDateTime"] = now.to_rfc3339().into();
    }
    if let (None, Some(group)) = (token.refused, token.group.as_deref().filter(|group| group.len() <= 36)) {
        info["groupIdToken"] = json!({"idToken": group, "type": "Central"});
    }
    info
}

/// The answer to an Authorize.
pub(super) fn authorized(token: &TokenAnswer, now: Timestamp) -> Value {
    json!({"idTokenInfo": token_info(token, now)})
}

/// The answer to a TransactionEvent: what its session costs, absent where that is not known, and what is decided about its
/// token, if it had one.
pub(super) fn event_answered(
    version: Version,
    bill: Option<Bill>,
    token: Option<&TokenAnswer>,
    now: Timestamp,
) -> Value {
    let mut members = Map::new();
    if let Some(bill) = bill {
        members.insert("totalCost".to_owned(), major(bill.cost));
    }
    if let Some(token) = token {
        members.insert("idTokenInfo".to_owned(), token_info(token, now));
        if let (Version::V21, None, Some(limit)) = (version, token.refused, token.limit) {
            members.insert("transactionLimit".to_owned(), json!({"maxCost": major(limit)}));
        }
    }
    Value::Object(members)
}

/// The call that stops a session.
pub(super) fn stop(name: &str) -> (&'static str, Value) {
    ("RequestStopTransaction", json!({"transactionId": name}))
}

/// The call that begins a session: with the number of the order, which the session's events repeat.
pub(super) fn start(
    version: Version,
    credential: &Credential,
    connector: Option<ConnectorId>,
    id: i64,
) -> (&'static str, Value) {
    let kind = match (credential.kind, version) {
        (CredentialKind::EvAccount, _) => "eMAID",
        (CredentialKind::CardToken | CredentialKind::WalletToken, Version::V21) => "DirectPayment",
        (CredentialKind::CardToken | CredentialKind::WalletToken | CredentialKind::Rfid, _) => "Central",
    };
    let token = String::from_utf8_lossy(&credential.token);
    let mut payload = json!({"idToken": {"idToken": token, "type": kind}, "remoteStartId": id});
    if let Some(connector) = connector {
        payload["evseId"] = connector.0.into();
    }
    ("RequestStartTransaction", payload)
}

/// The call that orders a message.
pub(super) fn trigger(message: Triggered, connector: Option<ConnectorId>) -> (&'static str, Value) {
    let mut payload = json!({"requestedMessage": triggered_name(message)});
    if let Some(connector) = connector {
        // A status is asked for by connector: each EVSE of the gate has one, the first.
        payload["evse"] = match message {
            Triggered::Status => json!({"id": connector.0, "connectorId": 1}),
            Triggered::Boot | Triggered::Heartbeat | Triggered::MeterValues => json!({"id": connector.0}),
        };
    }
    ("TriggerMessage", payload)
}
