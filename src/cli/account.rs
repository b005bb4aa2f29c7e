//! `wattstile account`: prepaid and postpaid accounts.

use super::look::{Which, give, items, table};
use super::{CliError, Exit, Output};
use crate::console::{AccountRow, AccountSheet, Opening, TopUp};
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
    Ls,
    /// Open an account
    #[command(after_help = "Example:\n  wattstile account open driver-1 --currency EUR")]
    Open(Open),
    /// Put paid money on an account
    #[command(after_help = "Example:\n  wattstile account topup driver-1 25.00 --dry-run")]
    Topup(Topup),
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
    credit_limit: Decimal,
    /// Only say what would happen
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
    /// How much, in the account's currency
    amount: Decimal,
    /// The processor that captured the money; without it: it came to the bank
    #[arg(long)]
    processor: Option<String>,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// The idempotency key, to repeat an order
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Ls => {
            let document = source.get("accounts", &[])?;
            let rows: Vec<AccountRow> = items(&document)?;
            give(output, &document, |out| {
                let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
                table(out, &["account", "state", ">paid", ">promotional", ">held", ">available", ""], &cells)
            })?;
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
        Verb::Topup(Topup { id, amount, processor, dry_run, operation }) => {
            let wish = TopUp { amount, processor, dry_run, operation };
            let document = source.post(&format!("accounts/{id}/topup"), &wish)?;
            let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| match dry_run {
                true => writeln!(
                    out,
                    "{id}  would go from {currency} {} to {currency} {}  (nothing was changed)",
                    text("paid"),
                    text("paid_after"),
                    currency = text("currency")
                ),
                false => {
                    let (currency, available) = (text("currency"), text("available"));
                    writeln!(out, "{id}  {currency} {} paid, {currency} {available} available", text("paid"))?;
                    writeln!(out, "  operation  {}", text("operation"))
                }
            })?;
        }
        Verb::Show(One { id }) => {
            let document = source.get(&format!("accounts/{id}"), &[])?;
            let sheet: AccountSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| show(out, &sheet.row))?;
        }
        Verb::Statement(One { id }) => {
            let document = source.get(&format!("accounts/{id}"), &[])?;
            let sheet: AccountSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| {
                let rows: Vec<Vec<String>> = sheet
                    .movements
                    .iter()
                    .map(|movement| {
                        vec![
                            movement.at.clone(),
                            movement.kind.clone(),
                            movement.change.to_string(),
                            movement.balance.to_string(),
                            sheet.row.currency.clone(),
                            movement.operation.clone(),
                        ]
                    })
                    .collect();
                table(out, &["at", "movement", ">change", ">balance", "", "operation"], &rows)
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
        ("held", format!("{}  by {} holds", money(row.held), row.open_holds)),
        ("credit limit", money(row.credit_limit)),
        ("available", money(row.available)),
    ] {
        writeln!(out, "  {name:<14}{value}")?;
    }
    Ok(())
}
