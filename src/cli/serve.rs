//! `wattstile serve`: the gate itself.

use super::config::ConfigArgs;
use super::interrupts::{Interrupts, Wish};
use super::{CliError, Exit, Output, journal, log};
use crate::app::configured::{SetupError, Tariffs, settings};
use crate::app::{Gate, StartError, SystemClock};
use crate::config::Config;
use crate::console::{Console, PLACE_FILE};
use crate::journal::Progress;
use crate::transport::files::read_secret;
use serde::Serialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Run the gate
///
/// Chargers and processors connect over mutual TLS. In development mode certificates are made where there are none.
/// SIGTERM or SIGINT end it in good order; SIGHUP loads certificates, revocation lists, tariffs and keys of tokens again.
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
    /// Where the console is; its token is never printed, because this goes to a log.
    console: String,
    /// The file with its token, readable by the gate's user only.
    console_token_in: String,
    recovered_records: u64,
    recovery_ms: u128,
}

/// Runs until a signal says otherwise.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let (config, warnings) = args.config.load_with_warnings()?;
    log::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let interrupts = Interrupts::new().map_err(CliError::failed)?;
    let token = config.console.token_file.as_deref().map(read_secret).transpose().map_err(CliError::failed)?;
    let token = token.map(|token| String::from_utf8_lossy(&token).trim().to_owned());
    let mut settings = settings(&config, Arc::new(SystemClock::new())).map_err(setup_error)?;
    // Health is answered from the first moment: live, and not ready.
    let starting = Arc::new(Starting::new());
    let how_far = starting.clone();
    let console = Console::listen(config.console.listen, token, Box::new(move || how_far.to_string()));
    let mut console = console.map_err(|error| CliError::failed(format!("{}: {error}", config.console.listen)))?;
    settings.progress = Box::new(move |progress| starting.note(progress));
    journal::end_when_the_store_cannot_write();
    let gate = Gate::start(settings).map_err(|error| start_error(&error))?;
    gate.show_in(&mut console).map_err(CliError::failed)?;
    let text = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
    let ready = Ready {
        chargers: text(gate.chargers),
        processors: text(gate.processors),
        console: format!("http://{}", console.address),
        console_token_in: config
            .console
            .token_file
            .clone()
            .unwrap_or_else(|| config.gate.data_dir.join("data").join(PLACE_FILE))
            .display()
            .to_string(),
        recovered_records: gate.recovered.records,
        recovery_ms: gate.recovery.as_millis(),
    };
    output.answer("serve/1", &ready, |out| {
        writeln!(out, "chargers    mTLS  {}", ready.chargers.as_deref().unwrap_or("-"))?;
        writeln!(out, "processors  mTLS  {}", ready.processors.as_deref().unwrap_or("-"))?;
        writeln!(out, "console     {}   its token is in {}", ready.console, ready.console_token_in)?;
        writeln!(out, "recovered   {} records in {} ms", ready.recovered_records, ready.recovery_ms)
    })?;
    while interrupts.wait() == Wish::Reload {
        reload(&config, &gate);
    }
    output.say("what was decided becomes durable, connections say goodbye");
    console.stop();
    gate.stop();
    Ok(Exit::Ok)
}

/// Loads certificates, lists and tariffs again. Running sessions keep the tariff that they began with; what is wrong is
/// said, and the old stays in force.
fn reload(config: &Config, gate: &Gate) {
    if let Some(edge) = gate.edge() {
        edge.reload();
    }
    match gate.directory().house().keys.reload() {
        Ok(_) => tracing::info!("keys of tokens loaded again"),
        Err(error) => tracing::error!("keys of tokens not loaded, the old ones stay in force: {error}"),
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

/// How far the start has come, for whoever asks, and in the log now and then.
struct Starting {
    begun: Instant,
    seen: Mutex<(String, Instant)>,
}

/// How often the log tells of it.
const TELL: Duration = Duration::from_secs(1);

impl Starting {
    fn new() -> Starting {
        let now = Instant::now();
        Starting { begun: now, seen: Mutex::new(("the store is opened".to_owned(), now)) }
    }

    fn note(&self, progress: Progress) {
        let now = match progress {
            Progress::Snapshots { done, of } => format!("{done} of {of} snapshots taken in"),
            Progress::Log { blocks, of_at_least } => format!("{blocks} of {of_at_least} blocks of the log read"),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 = now;
        if seen.1.elapsed() >= TELL {
            seen.1 = Instant::now();
            tracing::info!(after_ms = self.begun.elapsed().as_millis(), "starting: {}", seen.0);
        }
    }
}

impl fmt::Display for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seen.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn setup_error(error: SetupError) -> CliError {
    CliError::new(Exit::Config, error)
}

fn start_error(error: &StartError) -> CliError {
    match error {
        StartError::Journal(failure) => journal::error(failure),
        StartError::System { .. } => CliError::failed(error),
    }
}
