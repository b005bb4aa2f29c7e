//! The log: text for people on a terminal, JSON elsewhere, always on standard error.

use super::{CliError, Exit};
use crate::config::{Log, LogFormat};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the level of a log that was started.
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), CliError>>;

/// Starts the log of this process, once; what was logged before is lost. Text from peers is escaped by its writers.
pub fn start(log: &Log) -> Result<SetLevel, CliError> {
    let (filter, level) = reload::Layer::new(filter_of(&log.level)?);
    let terminal = stderr().is_terminal();
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // A log that cannot be written, say on a full disk, is no reason to end.
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).log_internal_errors(false);
    let lines = match json {
        true => lines.json().flatten_event(true).with_current_span(false).boxed(),
        false => lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false).boxed(),
    };
    let started = tracing_subscriber::registry().with(lines).with(filter).try_init();
    started.map_err(|error| CliError::failed(format!("the log: {error}")))?;
    Ok(Box::new(move |text| level.reload(filter_of(text)?).map_err(CliError::failed)))
}

/// Targets and levels only: patterns for spans and fields can take seconds to be read, and half a gigabyte.
fn filter_of(level: &str) -> Result<Targets, CliError> {
    level.parse().map_err(|error| CliError::new(Exit::Config, format!("log.level: {error}")))
}
