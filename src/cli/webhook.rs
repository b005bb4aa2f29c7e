//! `wattstile webhook`: endpoints that events are pushed to.

use super::gate_or_data::{Source, Which, give, moment, table};
use super::{CliError, Exit, Output};
use crate::transport::files::read_secret;
use crate::web::webhooks::{WebhookRow, WebhookWish};
use crate::web::{Replaying, Rotating, segment};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Endpoints that events are pushed to.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make an endpoint; it gets what happens from now on
    #[command(after_help = "Example:\n  wattstile webhook create --url https://example.com/hook \\\n    \
        --secret-file hook.secret --types 'session.settled,capture.*'")]
    Create {
        /// Where: https, or http where `webhooks.allow` names the host
        #[arg(long)]
        url: String,
        /// File with its secret: whsec_ and the base64 of 24 to 64 random bytes
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        /// Types of events with commas between; `capture.*` stands for all that begin so
        #[arg(long, default_value = "*")]
        types: String,
    },
    /// List endpoints, how far each has come, and what could not be delivered
    Ls,
    /// Send an endpoint a message of type `webhook.test`
    Test {
        /// Its id
        id: String,
    },
    /// Send an endpoint what comes behind an event, again
    Replay {
        /// Its id
        id: String,
        /// The cursor of an event; `oldest`: from the oldest event of the log; `now`: nothing again
        #[arg(long, value_name = "CURSOR")]
        from: String,
    },
    /// Give an endpoint another secret; the present one stays valid beside it until the next change
    Rotate {
        /// Its id
        id: String,
        /// File with the new secret
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
    /// Remove an endpoint
    Rm {
        /// Its id
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    args.which.existing_data()?;
    let gate = args.which.running()?.ok_or_else(|| {
        let error = CliError::new(Exit::Unreachable, "no gate is running: webhooks are those of a running gate");
        error.help("start it with `wattstile serve`")
    })?;
    let at = |id: &str, order: &str| format!("webhooks/{}/{order}", segment(id));
    match args.verb {
        Verb::Create { url, secret_file, types } => {
            let wish = WebhookWish { url, types, secret: secret(&secret_file)? };
            let document = gate.post("webhooks", &wish)?;
            give(output, &document, |out| writeln!(out, "{}", document["id"].as_str().unwrap_or("?")))?;
        }
        Verb::Ls => ls(&gate, output)?,
        Verb::Test { id } => {
            let document = gate.post(&at(&id, "test"), &json!({}))?;
            give(output, &document, |out| {
                writeln!(out, "{id}  answered {} after {} ms", document["status"], document["took_ms"])
            })?;
            if document["taken"] != true {
                return Ok(Exit::Refused);
            }
        }
        Verb::Replay { id, from } => {
            let document = gate.post(&at(&id, "replay"), &Replaying { from })?;
            give(output, &document, |out| writeln!(out, "{id}  is sent what comes from there on"))?;
        }
        Verb::Rotate { id, secret_file } => {
            let document = gate.post(&at(&id, "rotate"), &Rotating { secret: secret(&secret_file)? })?;
            give(output, &document, |out| {
                writeln!(out, "{id}  has another secret; the one before is valid beside it")
            })?;
        }
        Verb::Rm { id } => {
            let document = gate.post(&at(&id, "remove"), &json!({}))?;
            give(output, &document, |out| writeln!(out, "{id}  is removed"))?;
        }
    }
    Ok(Exit::Ok)
}

fn secret(file: &Path) -> Result<String, CliError> {
    let text = read_secret(file).map_err(|error| CliError::caused(Exit::Config, &error))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn ls(gate: &Source, output: &Output) -> Result<(), CliError> {
    let document = gate.get("webhooks", &[])?;
    let rows: Vec<WebhookRow> = serde_json::from_value(document["items"].clone()).map_err(CliError::failed)?;
    let cells = |row: &WebhookRow| {
        let delivered = row.delivered.to_string();
        vec![
            row.id.clone(),
            row.state.clone(),
            delivered,
            row.parked.len().to_string(),
            row.types.join(","),
            row.url.clone(),
        ]
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    give(output, &document, |out| {
        table(out, &["webhook", "state", ">delivered", ">parked", "types", "url"], &cells)?;
        for row in &rows {
            if let Some(fault) = &row.last_fault {
                let next = row.next_attempt_at.as_deref().map(moment).unwrap_or_default();
                writeln!(out, "  {}: {} attempts failed, the next one {next}: {fault}", row.id, row.attempts)?;
            }
            for parked in &row.parked {
                writeln!(
                    out,
                    "  {}: {} parked {}, from {}: {}",
                    row.id,
                    parked.id,
                    moment(&parked.at),
                    parked.from,
                    parked.fault
                )?;
            }
        }
        Ok(())
    })
}
