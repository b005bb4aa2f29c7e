//! `wattstile metrics`: the catalogue of what the gate exports.

use super::{CliError, Exit, Output};
use crate::metrics::CATALOGUE;

/// List the metrics that the gate exports
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wattstile metrics --json")]
pub struct Args {}

/// Prints name, type, labels and meaning of every metric.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(_: Args, output: &Output) -> Result<Exit, CliError> {
    output.answer("metrics/1", &CATALOGUE, |out| {
        for metric in CATALOGUE {
            let labels =
                if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
            writeln!(out, "{} {}{labels}\n    {}", metric.kind.name(), metric.name, metric.help)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}
