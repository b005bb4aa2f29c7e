//! `wattstile audit`: the orders that came over the API.

use super::gate_or_data::{List, Most, Which, give, moment, table};
use super::{CliError, Exit, Output};
use crate::limits::LIST_ITEMS_MAX;
use crate::web::audit::{AUDIT_FILE, AuditRow, Verified, rows_before, verify};
use serde_json::json;
use std::path::Path;

/// The audit trail: every order, who sent it, when, from where and with what outcome.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List orders, the newest first
    Ls(Most),
    /// Check that no line is missing, changed or in another place
    #[command(alias = "check")]
    Verify,
}

const HEADS: &[&str] = &["when", "who", "role", ">status", "order"];

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let file = args.which.existing_data()?.join(AUDIT_FILE);
    match args.verb {
        Verb::Ls(most) => {
            match args.which.running()? {
                Some(gate) => {
                    let if_empty = Some("no order came over the API yet");
                    let list = List { path: "audit", query: Vec::new(), most: most.limit, heads: HEADS, if_empty };
                    list.give(&gate, output, cells)?;
                }
                None => ls(&file, most, output)?,
            }
            Ok(Exit::Ok)
        }
        Verb::Verify => {
            let verified = verify(&file).map_err(|error| CliError::file(&file, &error))?;
            let document = serde_json::to_value(&verified).map_err(CliError::failed)?;
            let Verified { records, head, fault, .. } = &verified;
            give(output, &document, |out| match fault {
                None => writeln!(out, "the audit trail is whole: {records} lines, the last one {head}"),
                Some(fault) => writeln!(out, "the audit trail is damaged: {fault}"),
            })?;
            Ok(if fault.is_some() { Exit::Corrupt } else { Exit::Ok })
        }
    }
}

/// Lists from the file, while no gate runs.
fn ls(file: &Path, most: Most, output: &Output) -> Result<(), CliError> {
    let most = most.limit.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let limit = LIST_ITEMS_MAX.min(most - rows.len());
        let (some, next) = rows_before(file, before, limit).map_err(|error| CliError::file(file, &error))?;
        rows.extend(some);
        before = next;
        if before.is_none() || rows.len() >= most {
            break;
        }
    }
    let document = json!({ "schema": "wattstile.audit-list/1", "items": rows });
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    give(output, &document, |out| table(out, HEADS, &cells))
}

fn cells(row: &AuditRow) -> Vec<String> {
    let status = row.status.map_or("unknown".to_owned(), |status| status.to_string());
    vec![moment(&row.at), row.who.clone(), row.role.clone(), status, row.path.clone()]
}
