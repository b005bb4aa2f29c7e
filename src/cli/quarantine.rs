//! `wattstile session quarantine`: what was reported of sessions and is not billed, and orders on it.

use super::gate_or_data::{List, Most, Source, give, kwh, moment};
use super::{CliError, Output};
use crate::api::{QuarantineBilling, QuarantineDropping, SessionRow, SessionSheet};
use crate::web::segment;
use rust_decimal::Decimal;
use serde_json::Value;
use std::io::{self, Write};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List the sessions of which something is kept for review
    #[command(after_help = "Example:\n  wattstile session quarantine ls")]
    Ls(Most),
    /// Bill what is kept of a session
    #[command(after_help = "Examples:\n  wattstile session quarantine release 0198c --dry-run\n  \
                      wattstile session quarantine release 0198c --kwh 11.5 --account ACCT-0001")]
    Release(Release),
    /// Never bill what is kept of a session
    #[command(after_help = "Example:\n  wattstile session quarantine drop 0198c --dry-run")]
    Drop(Drop),
}

#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The session's id, or the beginning of it
    id: String,
    /// Bill so much, instead of all that is kept
    #[arg(long, value_name = "KWH")]
    kwh: Option<Decimal>,
    /// The account that pays, where it is not that of the session's credential
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Drop {
    /// The session's id, or the beginning of it
    id: String,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub(super) fn run(verb: Verb, source: &Source, output: &Output) -> Result<(), CliError> {
    match verb {
        Verb::Ls(most) => {
            let list = List {
                path: "sessions",
                query: vec![("flag", "quarantined".to_owned())],
                most: most.limit,
                heads: &["session", "state", "charger", "transaction", "started", ">kWh kept", "credential"],
                if_empty: Some("nothing is kept for review"),
            };
            list.give(source, output, cells)
        }
        Verb::Release(Release { id, kwh, account, dry_run }) => {
            let wish = QuarantineBilling { kwh, account, dry_run };
            order(source, output, (&id, "release"), &wish)
        }
        Verb::Drop(Drop { id, dry_run }) => order(source, output, (&id, "drop"), &QuarantineDropping { dry_run }),
    }
}

fn order(
    source: &Source,
    output: &Output,
    (id, verb): (&str, &str),
    wish: &impl serde::Serialize,
) -> Result<(), CliError> {
    let found = source.get(&format!("sessions/{}", segment(id)), &[])?;
    let session = serde_json::from_value::<SessionSheet>(found).map_err(CliError::failed)?.row.id;
    let document = source.post(&format!("sessions/{session}/quarantine/{verb}"), wish)?;
    give(output, &document, |out| outcome(out, &document, verb))
}

fn cells(row: &SessionRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.shown_state().to_owned(),
        format!("{}/{}", row.charger, row.connector),
        row.transaction_id.clone(),
        moment(&row.started_at),
        kwh(row.quarantined_kwh.unwrap_or_default()),
        row.credential.clone(),
    ]
}

fn outcome(out: &mut dyn Write, document: &Value, verb: &str) -> io::Result<()> {
    let text = |key: &str| document[key].as_str().unwrap_or_default();
    let billed = match (text("energy_kwh"), text("payable")) {
        ("", _) => String::new(),
        (energy, "") => format!("  {energy} kWh"),
        (energy, payable) => format!("  {energy} kWh, {} {payable} to pay in all", text("currency")),
    };
    if document["dry_run"].as_bool() == Some(true) && text("ruling").is_empty() {
        let what = if verb == "drop" { "dropped" } else { "released" };
        return writeln!(out, "{}  would be {what}{billed}  (nothing was changed)", text("session"));
    }
    writeln!(out, "{}  {}{billed}", text("session"), text("ruling"))
}
