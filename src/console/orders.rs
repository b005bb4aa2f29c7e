//! Orders of operators: an account is opened, money is put on it, a session is stopped.

use super::api::Refused;
use super::views::Views;
use crate::account::{Balance, Command, TopUpSource};
use crate::actors::directory::Directory;
use crate::actors::output::{OrderReply, Ordered};
use crate::actors::shard::Input;
use crate::session::StopReason;
use crate::units::{AccountId, Amount, Currency, OpId, PartitionId, ProcessorId, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Money is put on an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// How much, in major units of the account's currency.
    pub amount: Decimal,
    /// The processor that captured it; none: it came to the bank.
    #[serde(default)]
    pub processor: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}

/// An account is opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Its name.
    pub account: String,
    /// Its currency.
    pub currency: String,
    /// How far paid money may go below zero, in major units.
    #[serde(default)]
    pub credit_limit: Decimal,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}

/// How long an order may take until it is durable.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries out an order; `path` has no `/api/` in front.
pub fn post(views: &Views, path: &str, body: &[u8]) -> Result<Value, Refused> {
    let directory = views.directory().ok_or_else(|| Refused::conflict("no gate is running"))?;
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["accounts"] => open(views, directory, &parse(body)?),
        ["accounts", id, "topup"] => top_up(views, directory, id, &parse(body)?),
        ["sessions", id, "stop"] => stop(views, directory, id),
        _ => Err(Refused::not_found("there is nothing that could be ordered")),
    }
}

fn open(views: &Views, directory: &Directory, opening: &Opening) -> Result<Value, Refused> {
    let account = AccountId::new(&opening.account).map_err(Refused::usage)?;
    let currency: Currency = opening.currency.parse().map_err(Refused::usage)?;
    let credit_limit = Amount::from_major(opening.credit_limit, currency).map_err(Refused::usage)?;
    if opening.dry_run {
        let known = views.account(&account);
        return Ok(json!({
            "schema": "wattstile.order/1", "dry_run": true, "account": account.as_str(),
            "exists": known.is_some(), "currency": currency.code(), "credit_limit": credit_limit.major(),
        }));
    }
    let op = operation(directory, &account, opening.operation.as_deref())?;
    let command = Command::Open { op, account: account.clone(), currency, credit_limit };
    order(directory, &account, op, command)
}

fn top_up(views: &Views, directory: &Directory, id: &str, wish: &TopUp) -> Result<Value, Refused> {
    let account = AccountId::new(id).map_err(Refused::usage)?;
    let known = views.account(&account).ok_or_else(|| Refused::not_found(format!("there is no account {account}")))?;
    let currency: Currency = known.row.currency.parse().map_err(Refused::usage)?;
    let amount = Amount::from_major(wish.amount, currency).map_err(Refused::usage)?;
    let source = match &wish.processor {
        None => TopUpSource::Bank,
        Some(processor) => TopUpSource::Processor(ProcessorId::new(processor).map_err(Refused::usage)?),
    };
    if amount.minor <= 0 {
        return Err(Refused::usage("the amount is not above zero"));
    }
    if wish.dry_run {
        let after =
            known.row.paid.checked_add(amount.major()).ok_or_else(|| Refused::usage("the amount is too large"))?;
        return Ok(json!({
            "schema": "wattstile.order/1", "dry_run": true, "account": account.as_str(), "currency": currency.code(),
            "amount": amount.major(), "paid": known.row.paid, "paid_after": after,
        }));
    }
    let op = operation(directory, &account, wish.operation.as_deref())?;
    order(directory, &account, op, Command::TopUp { op, amount, source })
}

fn stop(views: &Views, directory: &Directory, id: &str) -> Result<Value, Refused> {
    let session: SessionId = id.parse().map_err(Refused::usage)?;
    let known = views.session(session).ok_or_else(|| Refused::not_found(format!("there is no session {session}")))?;
    let state = known.map(|sheet| sheet.row.state).unwrap_or_default();
    let over = matches!(state.as_str(), "settling" | "closed");
    if !over && directory.post(Input::StopSession(session, StopReason::Operator)).is_err() {
        return Err(Refused::busy());
    }
    Ok(json!({
        "schema": "wattstile.order/1", "session": session.to_string(), "state": state, "ordered": !over,
    }))
}

/// Hands an order to its account and waits until what follows from it is durable.
fn order(directory: &Directory, account: &AccountId, op: OpId, command: Command) -> Result<Value, Refused> {
    let (tell, told) = mpsc::channel();
    let reply = OrderReply(Box::new(move |ordered| {
        let _ = tell.send(ordered);
    }));
    if directory.post(Input::Order(account.clone(), Box::new(command), reply)).is_err() {
        return Err(Refused::busy());
    }
    match told.recv_timeout(PATIENCE) {
        Ok(Ordered::Done(balance)) => Ok(done(account, op, &balance)),
        Ok(Ordered::Refused(rejection)) => Err(Refused::conflict(rejection)),
        // It may be carried out yet: the same operation can be asked for again.
        Err(_) => Err(Refused::new(504, format!("no answer in time; ask again with the operation {op}"))),
    }
}

fn done(account: &AccountId, op: OpId, balance: &Balance) -> Value {
    let major = |minor: i64| Amount::new(minor, balance.currency).major();
    json!({
        "schema": "wattstile.order/1", "dry_run": false, "account": account.as_str(), "operation": op.to_string(),
        "currency": balance.currency.code(), "paid": major(balance.posted.paid),
        "promotional": major(balance.posted.promotional), "held": major(balance.held.total()),
        "available": major(balance.available()),
    })
}

/// The order's idempotency key: the one that was named, or a fresh one.
fn operation(directory: &Directory, account: &AccountId, named: Option<&str>) -> Result<OpId, Refused> {
    if let Some(named) = named {
        return named.parse().map_err(Refused::usage);
    }
    let house = directory.house();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_unix_ms(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    Ok(SessionId::new(now, PartitionId::of(account.as_str(), house.partitions), (house.dice)()).operation(1))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(Refused::usage)
}
