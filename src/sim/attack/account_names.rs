//! A funded account's name, presented as if it were a card of its own.

use super::charger_line::{ChargerLine, Refused, charger_id, start};
use super::field::ConsoleWay;
use super::http::{ask, get, post};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::Code;
use crate::payment::CredentialKind;
use crate::units::{Energy, Power};
use serde_json::Value;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "account-names",
    findings: "S7",
    does: "presents the name of an account with 50.00 EUR as RFID card and as contract, plain and as `account:NAME`",
    expects: "every start is refused (308; 305 after five of them), and the account keeps its money",
    pause: Duration::from_secs(4),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const FUNDED: &str = "fleet-under-attack";

async fn attack(field: Field) -> Result<(), Trouble> {
    let Some(console) = field.ways.console.clone() else {
        return Err(Trouble("without a console there is no account to attack".to_owned()));
    };
    if field.round == 0 {
        fund(&field, &console).await?;
    }
    let before = balance(&field, &console).await?;
    let id = charger_id(&field, field.round % 32)?;
    let mut line = ChargerLine::greeted(&field, &id, Power::from_milliwatts(22_000_000)).await?;
    let names = [FUNDED.to_owned(), format!("account:{FUNDED}")];
    let presented =
        names.iter().flat_map(|name| [CredentialKind::Rfid, CredentialKind::EvAccount].map(|kind| (kind, name)));
    for ((kind, name), number) in presented.zip(0..) {
        let register = Energy::from_watt_hours(1_000).unwrap_or(Energy::ZERO);
        let asked = start(field.fresh_key(number), kind, name.as_bytes(), field.now().wall, register);
        match line.start(asked).await {
            Err(Refused::Code(code @ (Code::CredentialNotAccepted | Code::TooManyRefusals))) => {
                field.tally.right(code.number().to_string());
            }
            Err(Refused::Ended(ended)) => return Err(Trouble(ended.text)),
            other => field.tally.violation(format!("{kind:?} `{name}`: {other:?}")),
        }
    }
    let after = balance(&field, &console).await?;
    if after == before {
        field.tally.right("the account keeps its money")
    } else {
        field.tally.violation(format!("the account had {before} and has {after}"))
    }
    Ok(())
}

/// Opens the account and puts money on it; an earlier run may have done so.
async fn fund(field: &Field, console: &ConsoleWay) -> Result<(), Trouble> {
    let host = console.address.to_string();
    let opening = format!("{{\"account\": \"{FUNDED}\", \"currency\": \"EUR\"}}");
    ask(field, console.address, &post("/api/accounts", &host, &console.token, &opening)).await?;
    let path = format!("/api/accounts/{FUNDED}/topup");
    let answer = ask(field, console.address, &post(&path, &host, &console.token, "{\"amount\": \"50.00\"}")).await?;
    match answer.status {
        200..300 => Ok(()),
        status => Err(Trouble(format!("the account gets no money: {status} {}", answer.text))),
    }
}

/// What the account has, as its sheet shows it.
async fn balance(field: &Field, console: &ConsoleWay) -> Result<Value, Trouble> {
    let path = format!("/api/accounts/{FUNDED}");
    let request = get(&path, &console.address.to_string(), Some(&console.token));
    let answer = ask(field, console.address, &request).await?;
    let sheet = answer.document().ok_or_else(|| Trouble(format!("no account: {}", answer.status)))?;
    Ok(serde_json::json!([sheet["balance"], sheet["paid"], sheet["held"], sheet["available"]]))
}
