//! The log: text for people on a terminal, JSON elsewhere, always on standard error.

mod limiter;

use super::{CliError, Exit};
use crate::config::{self, LogFormat};
use crate::units::screen::masked;
use limiter::Limiter;
use std::io::{IsTerminal, stderr, stdout};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

pub use limiter::SETUP;

/// The log of this process.
pub struct Log {
    level: reload::Handle<Targets, Registry>,
    limiter: Limiter,
    json: bool,
}

impl Log {
    /// Starts the log of this process, once; what was logged before is lost. Text from peers is escaped by its writers.
    ///
    /// # Errors
    /// The level cannot be understood, or there is a log already.
    pub fn start(log: &config::Log) -> Result<Log, CliError> {
        let (filter, level) = reload::Layer::new(filter_of(&log.level)?);
        let terminal = stderr().is_terminal();
        let json = match log.format {
            LogFormat::Json => true,
            LogFormat::Text => false,
            LogFormat::Auto => !terminal,
        };
        // An unwritable log, for example on a full disk, is no reason to end.
        let lines = tracing_subscriber::fmt::layer().with_writer(stderr).log_internal_errors(false);
        let lines = if json {
            lines.json().flatten_event(true).with_current_span(false).boxed()
        } else {
            lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false).boxed()
        };
        let limiter = Limiter::new();
        let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(limiter.clone());
        subscriber.try_init().map_err(|error| CliError::failed(format!("the log: {error}")))?;
        limiter.report_regularly();
        if json {
            report_panics();
        }
        Ok(Log { level, limiter, json })
    }

    /// Changes the level of the log.
    ///
    /// # Errors
    /// The level cannot be understood; the old one stays.
    pub fn set_level(&self, text: &str) -> Result<(), CliError> {
        self.level.reload(filter_of(text)?).map_err(CliError::failed)
    }

    /// Whether every line of standard error is a JSON document.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether text on standard output would stand among the JSON documents of the log: both go to the same place.
    pub fn shares_stdout(&self) -> bool {
        let same =
            |(out, err): (rustix::fs::Stat, rustix::fs::Stat)| (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino);
        let both = rustix::fs::fstat(stdout()).and_then(|out| Ok((out, rustix::fs::fstat(stderr())?)));
        self.json && both.is_ok_and(same)
    }

    /// Logs why the process ends, if the log consists of JSON documents, so that the error is not printed among them.
    pub fn failed(&self, error: CliError) -> CliError {
        if !self.json {
            return error;
        }
        let help = error.help.as_deref().map(plain);
        let code = error.exit.code();
        tracing::error!(exit_code = code, help, "{}", masked(&plain(&error.message)));
        CliError { is_logged: true, ..error }
    }
}

/// Nothing that was left out stays untold.
impl Drop for Log {
    fn drop(&mut self) {
        self.limiter.report(true);
    }
}

/// A panic becomes a line of the log, instead of plain text among its lines; it ends the process as ever.
fn report_panics() {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("no text");
        let at = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(target: "wattstile::cli", at, %backtrace, "a broken promise of the program ends it: {text}");
        std::process::abort();
    }));
}

/// An error for people as one line of a log.
pub fn plain(message: &str) -> String {
    anstream::adapter::strip_str(message).to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Targets and levels only: patterns for spans and fields can take seconds to be read, and half a gigabyte.
fn filter_of(level: &str) -> Result<Targets, CliError> {
    level.parse().map_err(|error| CliError::new(Exit::Config, format!("log.level: {error}")))
}
