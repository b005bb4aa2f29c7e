//! Orders of operators to chargers: begin a session from afar, send a message now.

use super::MeterKeyRow;
use super::answers::{ChargerOrdered, MeterKeyRegistered, ORDER};
use super::orders::{PresentedCredential, running};
use super::refused::Refused;
use super::views::Views;
use crate::billing::meter_signature::MeterKey;
use crate::message::{ChargerOrder, OrderOutcome, Triggered};
use crate::node::input::Input;
use crate::node::reply::Ordered;
use crate::payment::{Credential, CredentialKind};
use crate::units::shape::described;
use crate::units::{ChargerId, ConnectorId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

described! {
/// A charger is to begin a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteStart {
    /// Where; none: the charger chooses.
    #[serde(default)]
    pub connector: Option<u16>,
    /// What counts as presented. For `rfid` it is the text that the charger would read from a card.
    pub credential: PresentedCredential,
}
}

described! {
/// A charger is to send a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggering {
    /// `boot`, `heartbeat`, `meter-values` or `status`.
    pub message: String,
    /// About this connector; none: about the charger.
    #[serde(default)]
    pub connector: Option<u16>,
}
}

described! {
/// The key of a charger's meter is registered, or taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterKeyOrder {
    /// The public key: PEM, or the hexadecimal or base64 digits of its DER; null: the charger has none any more.
    #[serde(deserialize_with = "Option::deserialize")]
    pub key: Option<String>,
}
}

/// How long an order waits: the charger's own time, and some for the way.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Orders a charger to begin a session, and waits for its word. The session is a fact when the charger begins it.
///
/// # Errors
/// A connector or credential that is none; a charger that is not known, not connected, occupied or speaks a protocol without
/// such orders; a credential that would be refused; a charger that refuses, or does not answer in time.
pub fn start_at_charger(views: &Views, charger: &ChargerId, order: &RemoteStart) -> Result<ChargerOrdered, Refused> {
    let connector = connector(order.connector)?;
    let credential = credential(&order.credential)?;
    carry_out(views, charger, ChargerOrder::Start { connector, credential })
}

/// Orders a charger to send a message, and waits for its word.
///
/// # Errors
/// A message or connector that is none; a charger that is not known, not connected or speaks a protocol without such orders;
/// a charger that refuses, or does not answer in time.
pub fn trigger_at_charger(views: &Views, charger: &ChargerId, order: &Triggering) -> Result<ChargerOrdered, Refused> {
    let connector = connector(order.connector)?;
    let message = match order.message.as_str() {
        "boot" => Triggered::Boot,
        "heartbeat" => Triggered::Heartbeat,
        "meter-values" => Triggered::MeterValues,
        "status" => Triggered::Status,
        other => {
            return Err(Refused::usage(format!(
                "message {other:?}: a charger is ordered to send boot, heartbeat, meter-values or status"
            )));
        }
    };
    carry_out(views, charger, ChargerOrder::Trigger { message, connector })
}

fn carry_out(views: &Views, charger: &ChargerId, order: ChargerOrder) -> Result<ChargerOrdered, Refused> {
    let directory = running(views)?;
    let order = Box::new((charger.clone(), order));
    let asker = directory.order(TIMEOUT, |reply| Input::OrderCharger(order, reply)).map_err(|_| Refused::busy())?;
    match asker.wait() {
        Ok(Ordered::Charger(OrderOutcome::Accepted)) => {
            Ok(ChargerOrdered { schema: ORDER.to_owned(), charger: charger.to_string(), accepted: true })
        }
        Ok(Ordered::Charger(OrderOutcome::Refused(status))) => {
            let status = if status.is_empty() { "it names no status" } else { &*status };
            Err(Refused::conflict(format!("charger {charger} refuses the order: {status}")))
        }
        Ok(Ordered::Charger(OrderOutcome::NotPossible(why)) | Ordered::Declined(why)) => Err(Refused::conflict(why)),
        Ok(Ordered::NoCharger) => Err(Refused::not_found(format!("there is no charger {charger}"))),
        Ok(Ordered::Charger(OrderOutcome::Unanswered)) | Err(_) => Err(Refused::no_answer(format!(
            "charger {charger} has not answered; it may carry out the order all the same"
        ))),
        Ok(_) => Err(Refused::failed("a charger answered as if it were something else")),
    }
}

/// Registers the public key of a charger's meter; what it signs from now on is verified against it. The charger need not have
/// connected yet.
///
/// # Errors
/// A text that is no key of an elliptic curve, or no answer in time.
pub fn register_meter_key(
    views: &Views,
    charger: &ChargerId,
    order: &MeterKeyOrder,
) -> Result<MeterKeyRegistered, Refused> {
    let directory = running(views)?;
    let key = order.key.as_deref().map(|key| MeterKey::read(key.as_bytes())).transpose().map_err(Refused::usage)?;
    let der = key.as_ref().map(|key| Box::from(key.der()));
    let input = |reply| Input::MeterKey(charger.clone(), der, reply);
    match directory.order(TIMEOUT, input).map_err(|_| Refused::busy())?.wait() {
        Ok(Ordered::Noted) => Ok(MeterKeyRegistered {
            schema: ORDER.to_owned(),
            charger: charger.to_string(),
            meter_key: key.as_ref().map(MeterKeyRow::of),
        }),
        Ok(_) => Err(Refused::failed("a charger answered as if it were something else")),
        Err(_) => Err(Refused::no_answer("no answer in time; register the key again")),
    }
}

fn connector(number: Option<u16>) -> Result<Option<ConnectorId>, Refused> {
    match number {
        Some(0) => Err(Refused::usage("connectors are counted from 1")),
        number => Ok(number.map(ConnectorId)),
    }
}

/// The credential as the charger would send it: the text of an `rfid` need not be the UID of a card.
fn credential(presented: &PresentedCredential) -> Result<Credential, Refused> {
    if presented.kind != "rfid" {
        return super::orders::credential(presented);
    }
    let token = presented.token.trim();
    match token.len() {
        1..=Credential::MAX_TOKEN if !token.chars().any(char::is_control) => {
            Ok(Credential { kind: CredentialKind::Rfid, token: token.as_bytes().into() })
        }
        _ => Err(Refused::usage(format!(
            "a token has 1 to {} bytes, none of them a control character",
            Credential::MAX_TOKEN
        ))),
    }
}
