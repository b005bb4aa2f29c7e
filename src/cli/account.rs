//! `wattstile account`: prepaid and postpaid accounts.

use super::gate_or_data::{List, Most, Source, Which, give, moment, table};
use super::{CliError, Exit, Output};
use crate::api::{
    AccountRow, AccountSheet, Closing, CreditLimit, Linking, Opening, PresentedCredential, Promotion, TopUp,
};
use crate::units::{Typed, counted};
use crate::web::segment;
use rust_decimal::Decimal;
use std::io::{self, Write};

/// Accounts.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List accounts
    Ls(Most),
    /// Open an account
    #[command(after_help = "Example:\n  wattstile account open driver-1 --currency EUR")]
    Open(Open),
    /// Put paid money on an account
    #[command(after_help = "Examples:\n  wattstile account top-up driver-1 25.00 --dry-run\n  \
        wattstile account top-up driver-1 25.00 --card - < token.txt")]
    #[command(name = "top-up", alias = "topup")]
    Topup(Topup),
    /// Put promotional money on an account
    #[command(after_help = "Example:\n  wattstile account promote driver-1 5.00 --until 2027-01-01T00:00:00Z")]
    Promote(Promote),
    /// Change how far paid money may go below zero: above 0 the account is postpaid
    #[command(after_help = "Example:\n  wattstile account limit fleet-7 500.00 --dry-run")]
    Limit(Limit),
    /// Let a credential pay from an account
    #[command(after_help = "Examples:\n  wattstile account link driver-1 --rfid 04:A2:B3:C4\n  \
        wattstile account link fleet-7 --contract DE-TNM-C12345678-9\n  \
        wattstile account link driver-1 --card - < token.txt")]
    Link(Link),
    /// No longer let a credential pay from an account; what it holds stays held
    Unlink(Link),
    /// Pay out paid money, forfeit promotional money, and take nothing more
    Close(Close),
    /// Show what is on an account
    Show(One),
    /// Show the last movements of an account
    Statement(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The account
    id: String,
}

#[derive(Debug, clap::Args)]
struct Open {
    /// The account
    id: String,
    /// Its currency
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// How far paid money may go below zero
    #[arg(long, default_value = "0")]
    credit_limit: Typed,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Topup {
    /// The account
    id: String,
    /// How much, in the account's currency: 1.50, 1,50, EUR 1.50
    amount: Typed,
    /// The processor that captured the money already; without it: it came to the bank
    #[arg(long, conflicts_with_all = ["card", "wallet"])]
    processor: Option<String>,
    /// The token of the card that pays now: a processor is asked, and the account has the money when it was captured
    #[arg(long, value_name = "TOKEN", conflicts_with = "wallet")]
    card: Option<String>,
    /// The token of the wallet that pays now
    #[arg(long, value_name = "TOKEN")]
    wallet: Option<String>,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order whose answer was lost: any 32 hexadecimal digits, for a card's payment too
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Promote {
    /// The account
    id: String,
    /// How much, in the account's currency: 1.50, 1,50, EUR 1.50
    amount: Typed,
    /// When what is left of it lapses (RFC 3339); without it: never
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Limit {
    /// The account
    id: String,
    /// The new limit, in the account's currency; 0 for prepaid
    limit: Typed,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Link {
    /// The account
    id: String,
    #[command(flatten)]
    what: Credential,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

/// A credential; `-` instead of a token reads it from standard input, so that it stands in no list of processes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Credential {
    /// The UID of an RFID card
    #[arg(long, value_name = "UID")]
    rfid: Option<String>,
    /// An e-mobility account id (a contract)
    #[arg(long, value_name = "ID")]
    contract: Option<String>,
    /// A card's token
    #[arg(long, value_name = "TOKEN")]
    card: Option<String>,
    /// A wallet's token
    #[arg(long, value_name = "TOKEN")]
    wallet: Option<String>,
    /// What is shown of a credential, such as rfid:0011223344556677
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Close {
    /// The account
    id: String,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

impl Link {
    fn order(self, source: &Source, verb: &str, output: &Output) -> Result<(), CliError> {
        let Link { id, what: Credential { rfid, contract, card, wallet, fingerprint }, dry_run, operation } = self;
        let given = [("rfid", rfid), ("contract", contract), ("card", card), ("wallet", wallet)];
        let presented = given.into_iter().find_map(|(kind, token)| Some((kind, token?)));
        let credential = match presented {
            Some((kind, token)) => Some(PresentedCredential { kind: kind.to_owned(), token: typed(token)? }),
            None => None,
        };
        let wish = Linking { credential, fingerprint, dry_run, operation };
        let document = source.post(&format!("accounts/{}/{verb}", segment(&id)), &wish)?;
        give(output, &document, |out| {
            let would = if dry_run { "would be " } else { "" };
            let credential = document["credential"].as_str().unwrap_or("?");
            writeln!(out, "{credential}  {would}{verb}ed  {id}")
        })
    }
}

fn typed(token: String) -> Result<String, CliError> {
    match token.as_str() {
        "-" => io::read_to_string(io::stdin()).map_err(CliError::failed),
        _ => Ok(token),
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Ls(most) => {
            let list = List {
                path: "accounts",
                query: Vec::new(),
                most: most.limit,
                heads: &["account", "state", ">paid", ">promotional", ">held", ">available", "currency"],
                if_empty: None,
            };
            list.give(&source, output, cells)?;
        }
        Verb::Open(Open { id, currency, credit_limit, dry_run, operation }) => {
            let wish = Opening { account: id, currency, credit_limit, dry_run, operation };
            let document = source.post("accounts", &wish)?;
            give(output, &document, |out| match (dry_run, document["exists"].as_bool()) {
                (true, Some(true)) => writeln!(out, "{}  exists already", wish.account),
                (true, _) => writeln!(out, "{}  would be opened", wish.account),
                (false, _) => writeln!(out, "{}  is open", wish.account),
            })?;
        }
        Verb::Topup(Topup { id, amount, processor, card, wallet, dry_run, operation }) => {
            let pays = card.map(|token| ("card", token)).or(wallet.map(|token| ("wallet", token)));
            let credential = match pays {
                Some((kind, token)) => Some(PresentedCredential { kind: kind.to_owned(), token: typed(token)? }),
                None => None,
            };
            let wish = TopUp { amount, processor, credential, dry_run, operation };
            let document = source.post(&format!("accounts/{}/topup", segment(&id)), &wish)?;
            let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| {
                if dry_run {
                    writeln!(
                        out,
                        "{id}  would go from {currency} {} to {currency} {}  (nothing was changed)",
                        text("paid"),
                        text("paid_after"),
                        currency = text("currency")
                    )
                } else {
                    let (currency, available) = (text("currency"), text("available"));
                    writeln!(out, "{id}  {currency} {} paid, {currency} {available} available", text("paid"))?;
                    writeln!(out, "  operation  {}", text("operation"))?;
                    match document["hold"].as_str() {
                        Some(hold) => writeln!(out, "  hold       {hold}"),
                        None => Ok(()),
                    }
                }
            })?;
        }
        Verb::Promote(Promote { id, amount, until, dry_run, operation }) => {
            let wish = Promotion { amount, until, dry_run, operation };
            let document = source.post(&format!("accounts/{}/promotion", segment(&id)), &wish)?;
            let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| {
                let (key, note) =
                    if dry_run { ("promotional_after", "  (nothing was changed)") } else { ("promotional", "") };
                writeln!(out, "{id}  {} {} promotional{note}", text("currency"), text(key))
            })?;
        }
        Verb::Limit(Limit { id, limit, dry_run, operation }) => {
            let document = source.post(
                &format!("accounts/{}/limit", segment(&id)),
                &CreditLimit { limit: limit.clone(), dry_run, operation },
            )?;
            let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| {
                let note = if dry_run { "  (nothing was changed)" } else { "" };
                writeln!(out, "{id}  limit {limit}, available {} {}{note}", text("currency"), text("available"))
            })?;
        }
        Verb::Link(link) => link.order(&source, "link", output)?,
        Verb::Unlink(link) => link.order(&source, "unlink", output)?,
        Verb::Close(Close { id, dry_run, operation }) => {
            let document = source.post(&format!("accounts/{}/close", segment(&id)), &Closing { dry_run, operation })?;
            let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| {
                if dry_run {
                    writeln!(
                        out,
                        "{id}  would pay out {} {}  (nothing was changed)",
                        text("currency"),
                        text("paid_out")
                    )
                } else {
                    writeln!(out, "{id}  is closed")
                }
            })?;
        }
        Verb::Show(One { id }) => {
            let document = source.get(&format!("accounts/{}", segment(&id)), &[])?;
            let sheet: AccountSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| {
                show(out, &sheet.row)?;
                sheet.credentials.iter().try_for_each(|shown| writeln!(out, "  {:<14}{shown}", "credential"))
            })?;
        }
        Verb::Statement(One { id }) => {
            let document = source.get(&format!("accounts/{}", segment(&id)), &[])?;
            let sheet: AccountSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| {
                let rows: Vec<Vec<String>> = sheet
                    .movements
                    .iter()
                    .map(|movement| {
                        vec![
                            moment(&movement.at),
                            movement.kind.clone(),
                            movement.change.to_string(),
                            movement.balance.to_string(),
                            sheet.row.currency.clone(),
                            movement.operation.clone(),
                        ]
                    })
                    .collect();
                table(out, &["at", "movement", ">change", ">balance", "currency", "operation"], &rows)
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn cells(row: &AccountRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.state.clone(),
        row.paid.to_string(),
        row.promotional.to_string(),
        row.held.to_string(),
        row.available.to_string(),
        row.currency.clone(),
    ]
}

fn show(out: &mut dyn Write, row: &AccountRow) -> io::Result<()> {
    let money = |amount: Decimal| format!("{} {amount}", row.currency);
    writeln!(out, "{}  {}", row.id, row.state)?;
    for (name, value) in [
        ("paid", money(row.paid)),
        ("promotional", money(row.promotional)),
        ("held", format!("{}  by {}", money(row.held), counted(row.open_holds, "hold"))),
        ("credit limit", money(row.credit_limit)),
        ("available", money(row.available)),
    ] {
        writeln!(out, "  {name:<14}{value}")?;
    }
    if row.owes > Decimal::ZERO {
        let note = match row.state.as_str() {
            "closed" => "a top-up of this amount pays it",
            _ if row.paid + row.credit_limit < Decimal::ZERO => "no session is admitted until it is paid",
            _ => "within the credit limit",
        };
        writeln!(out, "  {:<14}{}  {note}", "owes", money(row.owes))?;
    }
    Ok(())
}
