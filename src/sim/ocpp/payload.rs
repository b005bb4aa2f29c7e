//! What a simulated OCPP charger writes into its calls.

use super::manners::{Begin, ClockStyle, EnergyStyle};
use super::{Name, OcppCharger, Transaction};
use crate::message::{StartSession, StopReason};
use crate::ocpp::Version;
use crate::payment::{Credential, CredentialKind};
use crate::sim::charger::Occupied;
use crate::units::{ConnectorId, Energy, MeterReading, Timestamp};
use serde_json::{Number, Value, json};

/// Whole watt hours of a register: all that these protocols carry.
pub(super) fn whole_wh(register: Energy) -> i64 {
    register.microwatt_hours().div_euclid(1_000_000)
}

/// The token of a credential, as text.
pub(super) fn token(credential: &Credential) -> String {
    String::from_utf8_lossy(&credential.token).into_owned()
}

impl OcppCharger {
    pub(super) fn boot(&self) -> (&'static str, Value) {
        let firmware = concat!("wattstile-sim/", env!("CARGO_PKG_VERSION"));
        let payload = match self.version {
            Version::V16 => {
                json!({"chargePointVendor": "wattstile", "chargePointModel": "sim", "firmwareVersion": firmware})
            }
            Version::V201 | Version::V21 => json!({
                "reason": "PowerUp",
                "chargingStation": {"vendorName": "wattstile", "model": "sim", "firmwareVersion": firmware}
            }),
        };
        ("BootNotification", payload)
    }

    pub(super) fn status(&self, connector: ConnectorId, occupied: Occupied, at: Timestamp) -> (&'static str, Value) {
        let payload = match self.version {
            Version::V16 => {
                let status = match occupied {
                    Occupied::Free => "Available",
                    Occupied::Plugged => "Preparing",
                    Occupied::Charging => "Charging",
                };
                json!({"connectorId": connector.0, "errorCode": "NoError", "status": status, "timestamp": self.stamp(at)})
            }
            Version::V201 | Version::V21 => {
                let status = if occupied == Occupied::Free { "Available" } else { "Occupied" };
                json!({"timestamp": self.stamp(at), "connectorStatus": status, "evseId": connector.0, "connectorId": 1})
            }
        };
        ("StatusNotification", payload)
    }

    pub(super) fn authorize(&self, start: &StartSession) -> (&'static str, Value) {
        let payload = match self.version {
            Version::V16 => json!({"idTag": token(&start.credential)}),
            Version::V201 | Version::V21 => json!({"idToken": id_token(&start.credential)}),
        };
        ("Authorize", payload)
    }

    /// A start, at this time.
    pub(super) fn start(
        &self,
        start: &StartSession,
        transaction: &Transaction,
        at: Timestamp,
    ) -> (&'static str, Value) {
        let register = match self.manners.begin {
            Begin::Right => whole_wh(start.register),
            Begin::Zero => 0,
            Begin::Missing if self.version == Version::V16 => whole_wh(start.register),
            Begin::Missing => {
                return self.event("Started", "Authorized", transaction, json!({"timestamp": self.stamp(at)}));
            }
        };
        if self.version == Version::V16 {
            let payload = json!({
                "connectorId": start.connector.0, "idTag": token(&start.credential), "meterStart": register,
                "timestamp": self.stamp(at)
            });
            return ("StartTransaction", payload);
        }
        let value = json!({"value": register, "context": "Transaction.Begin"});
        let more = json!({
            "timestamp": self.stamp(at), "meterValue": [{"timestamp": self.stamp(at), "sampledValue": [value]}]
        });
        self.event("Started", "Authorized", transaction, more)
    }

    pub(super) fn readings(&self, transaction: &Transaction, readings: &[MeterReading]) -> (&'static str, Value) {
        let at = readings.last().map(|reading| reading.at).unwrap_or_default();
        let values: Vec<Value> = readings.iter().map(|reading| self.meter_value(reading, "Sample.Periodic")).collect();
        match (self.version, &transaction.name) {
            (Version::V16, name) => {
                let id = match name {
                    Some(Name::Number(id)) => *id,
                    Some(Name::Text(_)) | None => -1,
                };
                let payload =
                    json!({"connectorId": transaction.connector.0, "transactionId": id, "meterValue": values});
                ("MeterValues", payload)
            }
            (Version::V201 | Version::V21, _) => {
                let more = json!({"timestamp": self.stamp(at), "meterValue": values});
                self.event("Updated", "MeterValuePeriodic", transaction, more)
            }
        }
    }

    pub(super) fn stop(
        &self,
        transaction: &Transaction,
        last: &MeterReading,
        reason: StopReason,
    ) -> (&'static str, Value) {
        if let (Version::V16, name) = (self.version, &transaction.name) {
            let id = match name {
                Some(Name::Number(id)) => *id,
                Some(Name::Text(_)) | None => -1,
            };
            let mut payload = json!({
                "transactionId": id, "meterStop": whole_wh(last.register), "timestamp": self.stamp(last.at),
                "reason": reason_16(reason)
            });
            // Some name the driver again, and some repeat the last reading.
            if id % 2 == 0 {
                payload["idTag"] = transaction.token.clone().into();
            }
            if id % 3 == 0 {
                payload["transactionData"] = json!([self.meter_value(last, "Transaction.End")]);
            }
            return ("StopTransaction", payload);
        }
        let (stopped, trigger) = reason_2(reason);
        let more = json!({
            "timestamp": self.stamp(last.at), "meterValue": [self.meter_value(last, "Transaction.End")],
            "stoppedReason": stopped
        });
        self.event("Ended", trigger, transaction, more)
    }

    /// An event of 2.x, without its number.
    fn event(&self, kind: &str, trigger: &str, transaction: &Transaction, more: Value) -> (&'static str, Value) {
        let name = match &transaction.name {
            Some(Name::Text(name)) => name.as_str(),
            Some(Name::Number(_)) | None => "",
        };
        let state = if kind == "Ended" { "Idle" } else { "Charging" };
        let mut event = json!({
            "eventType": kind, "triggerReason": trigger,
            "transactionInfo": {"transactionId": name, "chargingState": state},
            "evse": {"id": transaction.connector.0, "connectorId": 1}
        });
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        if let Some(stopped) = event.as_object_mut().and_then(|event| event.remove("stoppedReason")) {
            event["transactionInfo"]["stoppedReason"] = stopped;
        }
        if transaction.is_offline {
            event["offline"] = true.into();
        }
        if kind == "Started" && !self.manners.hides_token {
            event["idToken"] = id_token_of(&transaction.token, transaction.is_card);
        }
        ("TransactionEvent", event)
    }

    /// A reading, with its unit as the charger writes it.
    fn meter_value(&self, reading: &MeterReading, context: &str) -> Value {
        let wh = whole_wh(reading.register);
        let is_even = reading.sequence.is_multiple_of(2);
        let kwh = || format!("{}.{:03}", wh / 1_000, wh % 1_000);
        let (value, unit, multiplier) = match self.manners.energy {
            EnergyStyle::Wh | EnergyStyle::Bare => (wh.to_string(), "Wh", 0),
            EnergyStyle::Kwh => (kwh(), "kWh", 0),
            EnergyStyle::Mixed if is_even => (kwh(), "kWh", 0),
            EnergyStyle::Mixed => (wh.to_string(), "Wh", 0),
            EnergyStyle::Multiplied if self.version == Version::V16 => (wh.to_string(), "Wh", 0),
            EnergyStyle::Multiplied if is_even => (kwh(), "Wh", 3),
            EnergyStyle::Multiplied => ((wh * 1_000).to_string(), "Wh", -3),
        };
        let number = |text: &str| match self.version {
            Version::V16 => Value::String(text.to_owned()),
            Version::V201 | Version::V21 => text.parse::<Number>().map_or(Value::Null, Value::Number),
        };
        let mut energy = json!({"value": number(&value), "context": context});
        if self.manners.energy != EnergyStyle::Bare {
            energy["measurand"] = "Energy.Active.Import.Register".into();
            match self.version {
                Version::V16 => energy["unit"] = unit.into(),
                Version::V201 | Version::V21 => {
                    energy["unitOfMeasure"] = json!({"unit": unit, "multiplier": multiplier});
                }
            }
        }
        let mut values = vec![energy];
        if let Some(power) = reading.power {
            let watts = number(&(power.milliwatts() / 1_000).to_string());
            values.push(json!({"value": watts, "context": context, "measurand": "Power.Active.Import"}));
        }
        json!({"timestamp": self.stamp(reading.at), "sampledValue": values})
    }

    /// A time as the charger writes it.
    pub(super) fn stamp(&self, at: Timestamp) -> String {
        let text = |at: Timestamp| at.to_rfc3339();
        let since_1970 = || text(Timestamp::from_unix_ms(at.since(self.switched_on).ms().max(0)));
        match self.manners.clock {
            ClockStyle::Right => text(at),
            ClockStyle::NoZone => text(at).trim_end_matches('Z').to_owned(),
            ClockStyle::Nanoseconds => {
                let text = text(at);
                let (seconds, fraction) =
                    text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
                format!("{seconds}.{fraction:0<9}Z")
            }
            ClockStyle::UnsetUntilBoot if self.clock_is_set => text(at),
            ClockStyle::UnsetUntilBoot | ClockStyle::Unset => since_1970(),
        }
    }
}

fn id_token(credential: &Credential) -> Value {
    id_token_of(&token(credential), credential.kind == CredentialKind::CardToken)
}

fn id_token_of(token: &str, is_card: bool) -> Value {
    json!({"idToken": token, "type": if is_card { "DirectPayment" } else { "ISO14443" }})
}

fn reason_16(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Local | StopReason::LimitReached => "Local",
        StopReason::EvDisconnected => "EVDisconnected",
        StopReason::Remote => "Remote",
        StopReason::EmergencyStop => "EmergencyStop",
        StopReason::PowerLoss => "PowerLoss",
        StopReason::Reboot => "Reboot",
        StopReason::Fault | StopReason::Other => "Other",
    }
}

/// The reason of the end, and what has triggered the event.
fn reason_2(reason: StopReason) -> (&'static str, &'static str) {
    match reason {
        StopReason::Local => ("Local", "StopAuthorized"),
        StopReason::EvDisconnected => ("EVDisconnected", "EVCommunicationLost"),
        StopReason::Remote => ("Remote", "RemoteStop"),
        StopReason::LimitReached => ("LocalOutOfCredit", "EnergyLimitReached"),
        StopReason::EmergencyStop => ("EmergencyStop", "AbnormalCondition"),
        StopReason::PowerLoss => ("PowerLoss", "AbnormalCondition"),
        StopReason::Reboot => ("Reboot", "ResetCommand"),
        StopReason::Fault | StopReason::Other => ("Other", "AbnormalCondition"),
    }
}
