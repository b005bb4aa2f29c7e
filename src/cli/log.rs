//! The log: text for people on a terminal, JSON elsewhere, always on standard error.

use super::{CliError, Exit};
use crate::config::{Log, LogFormat};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts the log of this process, once; what was logged before is lost. Text from peers is escaped by its writers.
pub fn start(log: &Log) -> Result<(), CliError> {
    let filter: EnvFilter =
        log.level.parse().map_err(|error| CliError::new(Exit::Config, format!("log.level: {error}")))?;
    let terminal = stderr().is_terminal();
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // A log that cannot be written, say on a full disk, is no reason to end.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    let started = match json {
        true => lines.json().flatten_event(true).with_current_span(false).try_init(),
        false => lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false).try_init(),
    };
    started.map_err(|error| CliError::failed(format!("the log: {error}")))
}
