//! `wattstile bench`: measurements of a gate, made by the program itself.

mod callbacks;
mod idle;
mod in_process;
mod observers;
mod prepaid;
mod readings;
mod recover;
mod tls;

use super::{CliError, Exit, Output};
use crate::bench::load::html;
use serde::Serialize;
use std::path::PathBuf;

/// Measure how many readings per second a gate makes durable
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  wattstile bench --sessions 10000 --chargers 1000 --connections 100 --rate 50000\n  \
wattstile bench --in-process --sessions 1000000 --rate max --for 60s\n  \
wattstile bench --in-process --sessions 1000000 --rate 33334 --observed\n  \
wattstile bench --ocpp --connections 5000 --rate max --window 4 --storm\n\n\
The loop is open: a reading's latency counts from when it was due. With --rate max \
it is closed, and every connection keeps --window readings unacknowledged. In process \
the chargers have no connections: machines, actors and journal are measured alone.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    readings: readings::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Recover(recover::Args),
    Prepaid(prepaid::Args),
    Callbacks(callbacks::Args),
    Idle(idle::Args),
}

/// A measurement as a page.
#[derive(Clone, Debug, clap::Args)]
struct Page {
    /// Write a page with the figures to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Page {
    /// Writes it, if it is wanted.
    fn write(&self, title: &str, report: &impl Serialize) -> Result<(), CliError> {
        let Some(path) = &self.html else { return Ok(()) };
        let value = serde_json::to_value(report).map_err(CliError::failed)?;
        std::fs::write(path, html(title, &value)).map_err(|error| CliError::file(path, &error))
    }
}

/// A flat price: the load is about the way of a reading, not about tariffs.
const TARIFF: &str = r#"{
    "country_code": "NL", "party_id": "WST", "id": "BENCH", "currency": "EUR",
    "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.29, "vat": 21, "step_size": 1 }] }],
    "last_updated": "2026-01-01T00:00:00Z"
}"#;

/// As many shards as `serve` and `demo` have: one for each core.
fn default_shards() -> u16 {
    crate::app::shards_of(0, 256)
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    output.inform(format_args!(
        "shards of this machine: {}, unless --shards says otherwise",
        super::shards(default_shards())
    ));
    match args.verb {
        None => readings::run(args.readings, output),
        Some(Verb::Recover(args)) => recover::run(args, output),
        Some(Verb::Prepaid(args)) => prepaid::run(&args, output),
        Some(Verb::Callbacks(args)) => callbacks::run(args, output),
        Some(Verb::Idle(args)) => idle::run(&args, output),
    }
}
