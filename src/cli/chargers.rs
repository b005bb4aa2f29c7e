//! `wattstile charger`: the chargers of a gate, as they are now.

use super::gate_or_data::{List, Most, Which};
use super::{CliError, Exit, Output};
use crate::api::ChargerRow;

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
        #[command(flatten)]
        most: Most,
    },
}

/// `wattstile charger`
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn chargers(args: Chargers, output: &Output) -> Result<Exit, CliError> {
    let ChargerVerb::Ls { prefix, most } = args.verb;
    let list = List {
        path: "chargers",
        query: prefix.into_iter().map(|prefix| ("prefix", prefix)).collect(),
        most: most.limit,
        heads: &["charger", "link", ">sessions", "connectors", "firmware"],
        if_empty: None,
    };
    list.give(&args.which.open(output)?, output, |row: &ChargerRow| {
        vec![
            row.id.clone(),
            if row.online { "online" } else { "offline" }.to_owned(),
            row.sessions.len().to_string(),
            row.connectors.join("; "),
            row.firmware.clone(),
        ]
    })?;
    Ok(Exit::Ok)
}
