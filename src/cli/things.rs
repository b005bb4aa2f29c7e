//! `wattstile charger`: what is there now.

use super::look::{Which, give, items, table};
use super::{CliError, Exit, Output};
use crate::console::ChargerRow;

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
