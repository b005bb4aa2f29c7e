//! `wattstile ledger`: the books.

use super::gate_or_data::{Source, Which, give, table};
use super::output::{BAD, GOOD};
use super::{CliError, Exit, Output};
use crate::api::{BooksSummary, TrialView};
use crate::units::counted;
use serde_json::Value;

/// The books.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check that the books balance; ends with 1 when they do not
    Check,
    /// Show every account with its balance
    TrialBalance,
    /// Write every entry for another program, with the balances, which it checks
    #[command(after_help = "Examples:\n  wattstile ledger export --format hledger | hledger -f- bal\n  \
        wattstile ledger export --format csv --since 2026-11-01T00:00:00Z > november.csv")]
    Export {
        /// In which form
        #[arg(long, default_value = "hledger", value_parser = ["hledger", "beancount", "csv"])]
        format: String,
        /// Only entries from then on (RFC 3339); what came before is brought forward in one
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Check => {
            let (document, trial) = trial(&source)?;
            let good = trial.imbalance_minor == 0 && trial.broken.is_empty();
            give(output, &document, |out| {
                match trial.imbalance_minor {
                    0 => writeln!(out, "{GOOD}balanced{GOOD:#}  ±0  {}", counted(trial.entries, "entry"))?,
                    off => writeln!(out, "{BAD}not balanced{BAD:#}  {} off", counted(off, "minor unit"))?,
                }
                trial
                    .broken
                    .iter()
                    .try_for_each(|broken| writeln!(out, "  {BAD}below zero{BAD:#}, which it must not be: {broken}"))
            })?;
            return Ok(if good { Exit::Ok } else { Exit::Failed });
        }
        Verb::TrialBalance => {
            let (document, trial) = trial(&source)?;
            give(output, &document, |out| {
                let cells = trial.rows.iter().map(|row| {
                    vec![
                        row.code.clone(),
                        row.account.clone(),
                        row.debits.to_string(),
                        row.credits.to_string(),
                        row.balance.to_string(),
                        row.currency.clone(),
                    ]
                });
                let heads = ["code", "account", ">debits", ">credits", ">balance", "currency"];
                table(out, &heads, &cells.collect::<Vec<_>>())?;
                writeln!(
                    out,
                    "off by {} after {}",
                    counted(trial.imbalance_minor, "minor unit"),
                    counted(trial.entries, "entry")
                )
            })?;
        }
        Verb::Export { format, since } => {
            let mut query = vec![("format", format)];
            query.extend(since.map(|since| ("since", since)));
            output.raw(&source.text("ledger/export", &query)?)?;
        }
    }
    Ok(Exit::Ok)
}

/// The books with every account. Accounts come page by page: while a gate posts, a later page knows more than the first.
///
/// # Errors
/// What the gate refuses.
pub(super) fn trial_balance(source: &Source) -> Result<TrialView, CliError> {
    let books: BooksSummary = serde_json::from_value(source.get("ledger", &[])?).map_err(CliError::failed)?;
    let BooksSummary { entries, imbalance_minor, broken } = books;
    let schema = "wattstile.trial-balance/1".to_owned();
    Ok(TrialView { schema, entries, imbalance_minor, broken, rows: source.items("ledger/accounts", &[], None)? })
}

fn trial(source: &Source) -> Result<(Value, TrialView), CliError> {
    let trial = trial_balance(source)?;
    Ok((serde_json::to_value(&trial).map_err(CliError::failed)?, trial))
}
