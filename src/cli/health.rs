//! `wattstile health`: one question to a running gate, for probes of containers and scripts.

use super::gate_or_data::{Health, Source, Which};
use super::{CliError, Exit, Output};
use crate::transport::resolve;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Ask a running gate whether it is ready
///
/// A gate is ready when it has recovered and every shard answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile health --data /var/lib/wattstile\n\n\
Ends with 0 when the gate is ready, with 1 when it runs and is not, with 5 when\nnone answers.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Where its console listens (`console.listen`), instead of what its data directory says; answers during a start, too
    #[arg(value_parser = resolve, long, value_name = "ADDRESS", conflicts_with = "data")]
    console: Option<SocketAddr>,
    /// Ask only whether the process answers
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    console: SocketAddr,
    ready: bool,
    detail: String,
}

/// Sends one request.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let console = match args.console {
        Some(address) => address,
        None => match args.which.running()? {
            Some(Source::Running(place)) => place.address,
            _ => {
                let error = CliError::new(Exit::Unreachable, "no gate is running");
                return Err(error.help("name its data directory with --data, or its console with --console"));
            }
        },
    };
    let path = if args.live { "/livez" } else { "/readyz" };
    let Health { good, detail } = Health::ask(console, path, args.timeout)?;
    let report = Report { console, ready: good, detail };
    output.answer("health/1", &report, |out| writeln!(out, "{}", report.detail))?;
    Ok(if good { Exit::Ok } else { Exit::Failed })
}
