//! `wattstile bench`: measurements of a gate, made by the program itself.

mod tls;
mod usage;

use super::{CliError, Exit, Output};

/// Measure how many readings per second a gate makes durable
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:\n  wattstile bench --sessions 10000 --chargers 1000 --connections 100 --rate 50000\n\n\
The loop is open: a reading's latency counts from when it was due. With --rate max\n\
it is closed, and every connection keeps --window readings unacknowledged.")]
pub struct Args {
    #[command(flatten)]
    tls: tls::Args,
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    tls::run(args.tls, output)
}
