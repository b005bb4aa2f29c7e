//! `wattstile charger`, `processor` and `hold`: what is there now.

use super::look::{Which, give, items, table};
use super::{CliError, Exit, Output};
use crate::console::{ChargerRow, HoldRow, ProcessorRow};

/// Chargers.
#[derive(Debug, clap::Args)]
pub struct Chargers {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: ChargerVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ChargerVerb {
    /// List chargers
    #[command(after_help = "Example:\n  wattstile charger ls AMS-")]
    Ls {
        /// The beginning of their ids
        prefix: Option<String>,
    },
}

/// Processors.
#[derive(Debug, clap::Args)]
pub struct Processors {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: List,
}

/// Holds.
#[derive(Debug, clap::Args)]
pub struct Holds {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: List,
}

#[derive(Debug, clap::Subcommand)]
enum List {
    /// List them
    Ls,
}

/// `wattstile charger`
pub fn chargers(args: Chargers, output: &Output) -> Result<Exit, CliError> {
    let ChargerVerb::Ls { prefix } = args.verb;
    let query: Vec<(&str, String)> = prefix.into_iter().map(|prefix| ("prefix", prefix)).collect();
    let document = args.which.open(output)?.get("chargers", &query)?;
    let rows: Vec<ChargerRow> = items(&document)?;
    give(output, &document, |out| {
        let cells = rows.iter().map(|row| {
            vec![
                row.id.clone(),
                if row.online { "online" } else { "offline" }.to_owned(),
                row.sessions.len().to_string(),
                row.connectors.join("; "),
                row.firmware.clone(),
            ]
        });
        table(out, &["charger", "link", ">sessions", "connectors", "firmware"], &cells.collect::<Vec<_>>())
    })?;
    Ok(Exit::Ok)
}

/// `wattstile processor`
pub fn processors(args: Processors, output: &Output) -> Result<Exit, CliError> {
    let List::Ls = args.verb;
    let document = args.which.open(output)?.get("processors", &[])?;
    let rows: Vec<ProcessorRow> = items(&document)?;
    give(output, &document, |out| {
        let cells = rows.iter().map(|row| {
            vec![
                row.id.clone(),
                if row.connections > 0 { "up" } else { "down" }.to_owned(),
                row.connections.to_string(),
                row.in_flight.to_string(),
                row.sent.to_string(),
                row.answers.to_string(),
                row.not_sent.to_string(),
            ]
        });
        let heads = ["processor", "link", ">connections", ">in flight", ">sent", ">answers", ">not sent"];
        table(out, &heads, &cells.collect::<Vec<_>>())
    })?;
    Ok(Exit::Ok)
}

/// `wattstile hold`
pub fn holds(args: Holds, output: &Output) -> Result<Exit, CliError> {
    let List::Ls = args.verb;
    let document = args.which.open(output)?.get("holds", &[])?;
    let rows: Vec<HoldRow> = items(&document)?;
    give(output, &document, |out| {
        let cells = rows.iter().map(|row| {
            vec![
                row.id.clone(),
                row.processor.clone(),
                row.state.clone(),
                row.authorized.to_string(),
                row.captured.to_string(),
                row.currency.clone(),
                row.expires_at.clone(),
            ]
        });
        let heads = ["hold", "processor", "state", ">authorized", ">captured", "", "lapses"];
        table(out, &heads, &cells.collect::<Vec<_>>())
    })?;
    Ok(Exit::Ok)
}
