//! Orders of operators: an account is opened, money is put on it, a session is stopped.

use super::accounts::AccountSheet;
use super::answers::{AccountOrdered, BackedUp, KeysLoaded, ORDER, SessionStopped};
use super::object::object_or_null;
use super::refused::{Refused, Why};
use super::views::Views;
use crate::account::{Balance, Command, TopUpSource};
use crate::actors::directory::Directory;
use crate::actors::snapshot_scheduler::Backup;
use crate::host::wall_clock;
use crate::node::input::Input;
use crate::node::query::state_name;
use crate::node::reply::{Ordered, ReplyTo};
use crate::node::topping_up::TopUpOrder;
use crate::payment::{Credential, CredentialKind};
use crate::session::StopReason;
use crate::units::shape::described;
use crate::units::{
    AccountId, Amount, Currency, Fingerprint, HoldId, OpId, PartitionId, PaymentId, ProcessorId, SessionId, Timestamp,
    Typed,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

described! {
/// Money is put on an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// How much, in major units of the account's currency.
    pub amount: Typed,
    /// The processor that captured it; none: it came to the bank.
    #[serde(default)]
    pub processor: Option<String>,
    /// The credential that pays now: the money is requested from a processor, and credited to the account when it was
    /// captured.
    #[serde(default, deserialize_with = "object_or_null")]
    pub credential: Option<PresentedCredential>,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
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
    pub credit_limit: Typed,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
/// A credential is linked to an account, or no longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linking {
    /// The driver's credential; only its fingerprint is kept.
    #[serde(default, deserialize_with = "object_or_null")]
    pub credential: Option<PresentedCredential>,
    /// Instead of the credential: its printable form, such as `rfid:0011223344556677`.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
/// A credential as an operator types it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresentedCredential {
    /// `card`, `wallet`, `contract` or `rfid`.
    pub kind: String,
    /// The token, the contract's id or the card's UID.
    pub token: String,
}
}

/// The token never reaches a log.
impl std::fmt::Debug for PresentedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}(…)", self.kind)
    }
}

described! {
/// Promotional money is granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// How much, in major units of the account's currency.
    pub amount: Typed,
    /// When the unused rest lapses (RFC 3339); none: never.
    #[serde(default)]
    pub until: Option<String>,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
/// The credit limit of an account is changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditLimit {
    /// How far paid money may go below zero, in major units of the account's currency.
    pub limit: Typed,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
/// An account is closed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The idempotency key, for a repetition.
    #[serde(default)]
    pub operation: Option<String>,
}
}

described! {
/// A backup of the running gate is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackUp {
    /// Where to: a directory on the gate's machine, with its whole path, that is empty or not there.
    pub to: PathBuf,
}
}

/// How long a backup may take.
pub const BACKUP_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Longest time for a payment at a processor: a request, perhaps a repetition, and the capture.
const PAYING: Duration = Duration::from_secs(45);

/// Most processors that a refusal lists.
const PROCESSORS_LISTED: usize = 20;

/// How long an order may take until it is durable.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The gate that orders go to.
pub(super) fn running(views: &Views) -> Result<&Directory, Refused> {
    views.directory().map(|directory| &**directory).ok_or_else(|| Refused::conflict("no gate is running"))
}

/// Opens an account.
///
/// # Errors
/// An id or a currency that is none, an account that was opened otherwise, a rule against it, or no answer in time.
pub fn open_account(views: &Views, opening: &Opening) -> Result<AccountOrdered, Refused> {
    let directory = running(views)?;
    let account = AccountId::new(&opening.account).map_err(Refused::usage)?;
    let currency: Currency = opening.currency.parse().map_err(Refused::usage)?;
    let credit_limit = opening.credit_limit.amount(currency).map_err(Refused::usage)?;
    let known = views.account(&account)?;
    if let Some(known) = known.as_ref().filter(|known| known.row.state == "open") {
        let mut differs = Vec::new();
        if known.row.currency != currency.code() {
            differs.push(format!("currency {}, not {}", known.row.currency, currency.code()));
        } else if known.opened_with != credit_limit.major() {
            let (was, wanted) = (known.opened_with, credit_limit.major());
            differs.push(format!("credit limit {currency} {was}, not {currency} {wanted}"));
        }
        if !differs.is_empty() {
            let differs = differs.join(" and ");
            return Err(Refused::conflict(format!("account {account} exists and was opened with {differs}")));
        }
    }
    if opening.dry_run {
        return Ok(AccountOrdered {
            exists: Some(known.is_some()),
            currency: Some(currency.code().to_owned()),
            credit_limit: Some(credit_limit.major()),
            ..AccountOrdered::dry(&account)
        });
    }
    let op = operation(directory, &account, opening.operation.as_deref())?;
    let command = Command::Open { op, account: account.clone(), currency, credit_limit };
    order(directory, &account, op, command)
}

/// Puts money on an account: money that came in, or money that a credential pays now.
///
/// # Errors
/// An account that does not exist, an amount that is none, a rule against it, or no answer in time.
pub fn top_up(views: &Views, account: &AccountId, wish: &TopUp) -> Result<AccountOrdered, Refused> {
    let (directory, known) = (running(views)?, known(views, account)?);
    let currency: Currency = known.row.currency.parse().map_err(Refused::usage)?;
    let amount = wish.amount.amount(currency).map_err(Refused::usage)?;
    let source = match &wish.processor {
        None => TopUpSource::Bank,
        Some(processor) => {
            let processor = ProcessorId::new(processor).map_err(Refused::usage)?;
            known_processor(directory, &processor, "")?;
            TopUpSource::Processor(processor)
        }
    };
    if amount.minor <= 0 {
        return Err(Refused::usage("the amount is not above zero"));
    }
    if wish.dry_run {
        let after =
            known.row.paid.checked_add(amount.major()).ok_or_else(|| Refused::usage("the amount is too large"))?;
        return Ok(AccountOrdered {
            currency: Some(currency.code().to_owned()),
            amount: Some(amount.major()),
            paid: Some(known.row.paid),
            paid_after: Some(after),
            ..AccountOrdered::dry(account)
        });
    }
    let op = operation(directory, account, wish.operation.as_deref())?;
    let Some(presented) = &wish.credential else {
        return order(directory, account, op, Command::TopUp { op, amount, source });
    };
    if wish.processor.is_some() {
        return Err(Refused::usage("name what pays, or the processor that was paid already"));
    }
    let id = top_up_id(op, account, directory.node_config().partitions);
    let paying = TopUpOrder { id, account: account.clone(), amount, credential: credential(presented)? };
    let mut document = hand_over(directory, account, op, PAYING, |reply| Input::TopUp(Box::new(paying), reply))?;
    document.top_up = Some(id.to_string());
    document.hold = Some(HoldId(id.operation(1)).to_string());
    Ok(document)
}

/// The id of a card's top-up, which is the same for the same key and account. It lies in the account's partition: a key of
/// the gate's own does already, of any other one the digest with the account is taken.
fn top_up_id(key: OpId, account: &AccountId, partitions: u16) -> PaymentId {
    let home = PartitionId::of(account.as_str(), partitions);
    let made_here = key.payment().begun() > Timestamp::from_unix_ms(0) && key == key.payment().operation(1);
    if made_here && key.payment().partition() == home {
        return key.payment();
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&key.as_u128().to_be_bytes());
    context.update(account.as_str().as_bytes());
    // The part for the time stays empty: such an id is older than every one that the gate makes.
    let mut within = [0; 12];
    let digest = context.finish();
    let (_, random) = within.split_at_mut(6);
    random.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    SessionId::in_partition(home, within).payment()
}

/// Refuses a processor that never connected and that no setting names: money would be expected of it for ever.
pub(super) fn known_processor(directory: &Directory, processor: &ProcessorId, mend: &str) -> Result<(), Refused> {
    let known = known_processors(directory);
    if known.contains(processor) {
        return Ok(());
    }
    let names = known.iter().map(ProcessorId::as_str).take(PROCESSORS_LISTED).collect::<Vec<_>>().join(", ");
    let list = if names.is_empty() { "none is known".to_owned() } else { format!("known are {names}") };
    Err(Refused::usage(format!("processor {processor} never connected and is not configured; {list}{mend}")))
}

/// The processors that connected once, or that a setting names.
fn known_processors(directory: &Directory) -> BTreeSet<ProcessorId> {
    let routes = directory.node_config().routing.routes();
    let connected = directory.processors().keys().cloned().collect::<Vec<_>>();
    let remembered = routes.registry.processors.keys().cloned();
    let configured = routes.registry.rules.iter().map(|rule| rule.processor.clone());
    connected.into_iter().chain(remembered).chain(configured).collect()
}

/// Grants an account promotional money.
///
/// # Errors
/// An account that does not exist, an amount that is none, a rule against it, or no answer in time.
pub fn promote(views: &Views, account: &AccountId, wish: &Promotion) -> Result<AccountOrdered, Refused> {
    let (directory, known) = (running(views)?, known(views, account)?);
    let currency: Currency = known.row.currency.parse().map_err(Refused::usage)?;
    let amount = wish.amount.amount(currency).map_err(Refused::usage)?;
    let until = wish.until.as_deref().map(Timestamp::parse_rfc3339).transpose().map_err(Refused::usage)?;
    if amount.minor <= 0 {
        return Err(Refused::usage("the amount is not above zero"));
    }
    if let Some(until) = until.filter(|until| *until <= wall_clock()) {
        return Err(Refused::usage(format!("until {until} is over already; name a time that is to come")));
    }
    if wish.dry_run {
        return Ok(AccountOrdered {
            currency: Some(currency.code().to_owned()),
            amount: Some(amount.major()),
            promotional: Some(known.row.promotional),
            promotional_after: Some(known.row.promotional + amount.major()),
            ..AccountOrdered::dry(account)
        });
    }
    let op = operation(directory, account, wish.operation.as_deref())?;
    order(directory, account, op, Command::GrantPromotion { op, amount, expires_at: until })
}

/// Links a credential to an account.
///
/// # Errors
/// An account that does not exist, a credential that is none or linked to another account, a rule against it, or no answer in time.
pub fn link(views: &Views, account: &AccountId, wish: &Linking) -> Result<AccountOrdered, Refused> {
    set_link(views, account, wish, true)
}

/// Takes a credential from an account.
///
/// # Errors
/// An account that does not exist, a credential that is none, a rule against it, or no answer in time.
pub fn unlink(views: &Views, account: &AccountId, wish: &Linking) -> Result<AccountOrdered, Refused> {
    set_link(views, account, wish, false)
}

fn set_link(views: &Views, account: &AccountId, wish: &Linking, on: bool) -> Result<AccountOrdered, Refused> {
    let (directory, known) = (running(views)?, known(views, account)?);
    let node_config = directory.node_config();
    let credential = match (&wish.credential, wish.fingerprint.as_deref()) {
        (Some(presented), None) => {
            let credential = credential(presented)?;
            if let Some(code) = node_config.refuses(&credential) {
                return Err(Refused::usage(code.meaning()));
            }
            node_config.mark(&credential)
        }
        (None, Some(shown)) => fingerprint(shown)?,
        _ => return Err(Refused::usage("name a credential or a fingerprint")),
    };
    let linked_to = node_config.credentials.links().find(credential);
    if let Some(other) = linked_to.as_ref().filter(|other| on && *other != account) {
        return Err(Refused::conflict(format!("{credential} is linked to {other}")));
    }
    let shown = credential.to_string();
    let mut document = if wish.dry_run {
        AccountOrdered {
            linked: Some(linked_to.is_some()),
            credentials: Some(known.credentials.len()),
            ..AccountOrdered::dry(account)
        }
    } else {
        let op = operation(directory, account, wish.operation.as_deref())?;
        let (command, free) = if on {
            let claimed = node_config.credentials.links().claim(credential, account);
            claimed.map_err(|other| Refused::conflict(format!("{credential} is linked to {other}")))?;
            (Command::LinkCredential { op, credential }, linked_to.is_none())
        } else {
            (Command::UnlinkCredential { op, credential }, false)
        };
        let ordered = order(directory, account, op, command);
        if ordered.as_ref().is_err_and(|refused| refused.why == Why::Conflict) && free {
            node_config.credentials.links().release(credential, account);
        }
        ordered?
    };
    document.credential = Some(shown);
    Ok(document)
}

/// Changes how far an account's paid money may go below zero.
///
/// # Errors
/// An account that does not exist, an amount that is none, a rule against it, or no answer in time.
pub fn set_credit_limit(views: &Views, account: &AccountId, wish: &CreditLimit) -> Result<AccountOrdered, Refused> {
    let (directory, known) = (running(views)?, known(views, account)?);
    let currency: Currency = known.row.currency.parse().map_err(Refused::usage)?;
    let limit = wish.limit.amount(currency).map_err(Refused::usage)?;
    if wish.dry_run {
        return Ok(AccountOrdered {
            currency: Some(currency.code().to_owned()),
            credit_limit: Some(known.row.credit_limit),
            credit_limit_after: Some(limit.major()),
            available: Some(known.row.available),
            ..AccountOrdered::dry(account)
        });
    }
    let op = operation(directory, account, wish.operation.as_deref())?;
    order(directory, account, op, Command::SetCreditLimit { op, limit })
}

/// Closes an account.
///
/// # Errors
/// An account that does not exist, an amount that is none, a rule against it, or no answer in time.
pub fn close_account(views: &Views, account: &AccountId, wish: &Closing) -> Result<AccountOrdered, Refused> {
    let (directory, known) = (running(views)?, known(views, account)?);
    if wish.dry_run {
        if known.row.state == "open" && known.row.owes > Decimal::ZERO {
            let (currency, owes) = (&known.row.currency, known.row.owes);
            return Err(Refused::conflict(format!(
                "account {account} owes {currency} {owes}; it is closed when that is paid"
            )));
        }
        return Ok(AccountOrdered {
            currency: Some(known.row.currency),
            paid_out: Some(known.row.paid),
            forfeited: Some(known.row.promotional),
            open_holds: Some(known.row.open_holds),
            ..AccountOrdered::dry(account)
        });
    }
    let op = operation(directory, account, wish.operation.as_deref())?;
    order(directory, account, op, Command::Close { op })
}

/// Loads the keys of tokens again.
///
/// # Errors
/// The file cannot be read, or lacks a key that is in use.
pub fn reload_keys(views: &Views) -> Result<KeysLoaded, Refused> {
    let vault = running(views)?.node_config().credentials.keys().reload().map_err(Refused::failed)?;
    Ok(KeysLoaded { schema: ORDER.to_owned(), keys: vault.ids().collect() })
}

fn known(views: &Views, account: &AccountId) -> Result<AccountSheet, Refused> {
    views.account(account)?.ok_or_else(|| Refused::not_found(format!("there is no account {account}")))
}

pub(super) fn credential(presented: &PresentedCredential) -> Result<Credential, Refused> {
    let kind = match presented.kind.as_str() {
        "card" => CredentialKind::CardToken,
        "wallet" => CredentialKind::WalletToken,
        "contract" => CredentialKind::EvAccount,
        "rfid" => CredentialKind::Rfid,
        _ => return Err(Refused::usage("a credential is a card, wallet, contract or rfid")),
    };
    let token = presented.token.trim().as_bytes();
    if kind == CredentialKind::Rfid && !is_uid(token) {
        return Err(Refused::usage(
            "the UID of an RFID card is 4 to 10 bytes in hexadecimal digits, such as 04:A2:B3:C4 or 04A2B3C4D5E6F7",
        ));
    }
    match token.len() {
        1..=Credential::MAX_TOKEN => Ok(Credential { kind, token: token.into() }),
        _ => Err(Refused::usage(format!("a token has 1 to {} bytes", Credential::MAX_TOKEN))),
    }
}

/// Whether it is the UID of a card as people write it; separators are those that a charger's UID is compared without.
fn is_uid(token: &[u8]) -> bool {
    let mut digits = token.iter().filter(|byte| !b" :-*".contains(byte));
    matches!(digits.clone().count(), 8 | 10 | 12 | 14 | 16 | 18 | 20) && digits.all(u8::is_ascii_hexdigit)
}

/// A fingerprint as it is shown: `rfid:0011223344556677`, `fp_0011223344556677`, or its digits alone.
fn fingerprint(shown: &str) -> Result<Fingerprint, Refused> {
    let digits = shown.rsplit([':', '_']).next().unwrap_or(shown);
    let mut bytes = [0; 8];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| Refused::usage("a fingerprint has 16 hexadecimal digits, such as rfid:0011223344556677"))?;
    Ok(Fingerprint(bytes))
}

/// Stops a session that charges.
///
/// # Errors
/// A session that does not exist, or a gate that is busy.
pub fn stop_session(views: &Views, session: SessionId) -> Result<SessionStopped, Refused> {
    let directory = running(views)?;
    let known = views.state(session)?.ok_or_else(|| Refused::not_found(format!("there is no session {session}")))?;
    let state = state_name(&known);
    let over = matches!(state, "settling" | "closed");
    if !over && directory.post(Input::StopSession(session, StopReason::Operator)).is_err() {
        return Err(Refused::busy());
    }
    Ok(SessionStopped {
        schema: ORDER.to_owned(),
        session: session.to_string(),
        state: state.to_owned(),
        ordered: !over,
    })
}

/// Has a backup taken beside everything else, and waits for it.
///
/// # Errors
/// A path that is not whole, a directory that is not empty, or a backup that fails.
pub fn back_up(views: &Views, BackUp { to }: BackUp) -> Result<BackedUp, Refused> {
    running(views)?;
    if !to.is_absolute() {
        return Err(Refused::usage(format!("{}: wanted a whole path", to.display())));
    }
    let snapshot_scheduler = views.snapshot_scheduler().ok_or_else(Refused::busy)?;
    let (reply, taken) = mpsc::channel();
    snapshot_scheduler.try_send(Backup { to, reply }).map_err(|_| Refused::busy())?;
    match taken.recv_timeout(BACKUP_TIMEOUT) {
        Ok(Ok(manifest)) => Ok(BackedUp { schema: "wattstile.backup/1".to_owned(), manifest }),
        Ok(Err(failure)) => {
            Err(if failure.exit_code() == 78 { Refused::conflict(failure) } else { Refused::failed(failure) })
        }
        Err(_) => Err(Refused::no_answer("the backup was not ready in time")),
    }
}

/// Hands an order to its account and waits until what follows from it is durable.
fn order(directory: &Directory, account: &AccountId, op: OpId, command: Command) -> Result<AccountOrdered, Refused> {
    let id = account.clone();
    hand_over(directory, account, op, TIMEOUT, move |reply| Input::Order(id, Box::new(command), reply))
}

fn hand_over(
    directory: &Directory,
    account: &AccountId,
    op: OpId,
    timeout: Duration,
    input: impl FnOnce(ReplyTo) -> Input,
) -> Result<AccountOrdered, Refused> {
    match directory.order(timeout, input).map_err(|_| Refused::busy())?.wait() {
        Ok(Ordered::Done(balance)) => Ok(done(account, op, &balance)),
        Ok(Ordered::Refused(rejection)) => Err(Refused::conflict(rejection)),
        Ok(Ordered::Declined(reason)) => Err(Refused::conflict(reason)),
        Ok(
            Ordered::Asked(_)
            | Ordered::MoneyRefused(_)
            | Ordered::Ruled(_)
            | Ordered::NoSession
            | Ordered::NoCharger
            | Ordered::Noted
            | Ordered::Charger(_),
        ) => Err(Refused::failed("an account answered as if it were a session")),
        // The order may still be carried out: the same operation can be requested again.
        Err(_) => Err(Refused::no_answer(format!("no answer in time; ask again with the operation {op}"))),
    }
}

fn done(account: &AccountId, op: OpId, balance: &Balance) -> AccountOrdered {
    let major = |minor: i64| Some(Amount::new(minor, balance.currency).major());
    AccountOrdered {
        operation: Some(op.to_string()),
        currency: Some(balance.currency.code().to_owned()),
        paid: major(balance.posted.paid),
        promotional: major(balance.posted.promotional),
        held: major(balance.held.total()),
        available: major(balance.available()),
        ..AccountOrdered::done(account)
    }
}

/// The order's idempotency key: the one that was named, or a fresh one.
fn operation(directory: &Directory, account: &AccountId, named: Option<&str>) -> Result<OpId, Refused> {
    if let Some(named) = named {
        return named.parse().map_err(Refused::usage);
    }
    let node_config = directory.node_config();
    Ok(OpId::new(wall_clock(), PartitionId::of(account.as_str(), node_config.partitions), (node_config.random)()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::money;
    use crate::api::object::parse;
    use serde::de::DeserializeOwned;

    #[test]
    fn only_the_uid_of_a_card_is_linked_as_one() {
        let read = |kind: &str, token: &str| {
            credential(&PresentedCredential { kind: kind.to_owned(), token: token.to_owned() })
                .map_err(|why| why.message)
        };
        for uid in ["04A2B3C4", "04:a2:b3:c4", "04 A2 B3 C4 D5 E6 F7", "04-A2-B3-C4-D5-E6-F7-08-09-0A", " 04A2B3C4 "] {
            assert!(read("rfid", uid).is_ok(), "{uid}");
        }
        for other in ["zz", "", "04A2B3", "04A2B3C", "driver-1", "04A2B3C4D5E6F708090A0B", "04:A2:B3:ZZ", "::::::::"] {
            assert!(read("rfid", other).is_err_and(|why| why.contains("04:A2:B3:C4")), "{other}");
        }
        assert!(read("contract", "DE-TNM-C12345678-9").is_ok());
    }

    /// `[1]` was a top-up of 1.00, `[null]` a refund of everything.
    #[test]
    fn the_body_of_an_order_is_an_object() {
        fn refused<T: DeserializeOwned>(body: &str) -> bool {
            parse::<T>(body.as_bytes())
                .is_err_and(|why| why.why == Why::Usage && why.message.contains("wanted a JSON object"))
        }
        for body in ["[1]", "[]", "[null]", "[\"500\"]", "null", "1", "\"x\"", "", " ", "{", "{} {}", "{}]"] {
            assert!(refused::<TopUp>(body), "{body}");
            assert!(refused::<money::Refunding>(body), "{body}");
            assert!(refused::<CreditLimit>(body), "{body}");
            assert!(refused::<Closing>(body), "{body}");
        }
        assert!(refused::<Linking>(r#"{"credential": ["rfid", "00112233"]}"#));
        assert!(!refused::<Linking>(r#"{"credential": {"kind": "rfid", "token": "00112233"}}"#));
        assert!(!refused::<Linking>(r#"{"credential": null, "fingerprint": "rfid:00"}"#));
        assert!(!refused::<Closing>(" {} "));
    }
}
