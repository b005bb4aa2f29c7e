//! `wattstile serve`: the gate itself.

use super::config::ConfigArgs;
use super::interrupts::{Interrupts, Wish};
use super::{CliError, Exit, Output};
use crate::app::configured::{SetupError, Tariffs, settings};
use crate::app::{Gate, StartError, SystemClock};
use crate::config::{Config, LogFormat};
use crate::journal::Failure;
use serde::Serialize;
use std::io::IsTerminal;
use std::sync::Arc;

/// Run the gate
///
/// Chargers and processors connect over mutual TLS. In development mode certificates are made where there are none.
/// SIGTERM or SIGINT end it in good order; SIGHUP loads certificates, revocation lists and tariffs again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile serve --config wattstile.toml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// What is said when the gate is ready.
#[derive(Debug, Serialize)]
struct Ready {
    chargers: Option<String>,
    processors: Option<String>,
    recovered_records: u64,
    recovery_ms: u128,
}

/// Runs until a signal says otherwise.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.config.load()?;
    start_log(&config);
    let interrupts = Interrupts::new().map_err(CliError::failed)?;
    let settings = settings(&config, Arc::new(SystemClock::new())).map_err(setup_error)?;
    let gate = Gate::start(settings).map_err(|error| start_error(&error))?;
    let text = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
    let ready = Ready {
        chargers: text(gate.chargers),
        processors: text(gate.processors),
        recovered_records: gate.recovered.records,
        recovery_ms: gate.recovery.as_millis(),
    };
    output.answer("serve/1", &ready, |out| {
        writeln!(out, "chargers    mTLS  {}", ready.chargers.as_deref().unwrap_or("-"))?;
        writeln!(out, "processors  mTLS  {}", ready.processors.as_deref().unwrap_or("-"))?;
        writeln!(out, "recovered   {} records in {} ms", ready.recovered_records, ready.recovery_ms)
    })?;
    loop {
        match interrupts.wait() {
            Wish::Reload => reload(&config, &gate),
            Wish::Terminate | Wish::Interrupt => break,
        }
    }
    output.say("what was decided becomes durable, connections say goodbye");
    gate.stop();
    Ok(Exit::Ok)
}

/// Loads certificates, lists and tariffs again. Running sessions keep the tariff that they began with; what is wrong is
/// said, and the old stays in force.
fn reload(config: &Config, gate: &Gate) {
    if let Some(edge) = gate.edge() {
        edge.reload();
    }
    match Tariffs::load(config) {
        Ok((tariffs, findings)) => {
            for (file, finding) in findings {
                tracing::warn!(%file, "{finding}");
            }
            gate.directory().house().places.store(Arc::new(Box::new(tariffs)));
            tracing::info!("tariffs loaded again");
        }
        Err(error) => tracing::error!("tariffs not loaded, the old ones stay in force: {error}"),
    }
}

/// Starts the log on standard error.
fn start_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log.level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match config.log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    // A second start in one process (a test) keeps the first log.
    let _ = match json {
        true => log.json().try_init(),
        false => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}

fn setup_error(error: SetupError) -> CliError {
    CliError::new(Exit::Config, error)
}

fn start_error(error: &StartError) -> CliError {
    let exit = match error {
        StartError::Journal(failure) => match failure {
            Failure::Damaged(_) | Failure::Unreadable { .. } | Failure::Format { .. } | Failure::Absent { .. } => {
                Exit::Corrupt
            }
            _ => Exit::Temporary,
        },
        StartError::System { .. } => Exit::Failed,
    };
    CliError::new(exit, error)
}
