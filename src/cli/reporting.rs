//! `wattstile reporting`: the database that finance can query with SQL.

use super::config::ConfigArgs;
use super::gate_or_data::{Source, Which, give};
use super::output::{BAD, GOOD};
use super::{CliError, Exit, Output};
use crate::api::ReportingStatus;
use crate::app;
use crate::app::configured;
use crate::config::reporting_url::{FILE, ReportingUrl};
use crate::reporting;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The database that finance can query with SQL.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show how far the database has come; ends with 1 when it cannot go on
    Status {
        #[command(flatten)]
        database: Database,
    },
    /// Make the database anew from archive, log and state
    ///
    /// A running gate does it beside everything else: tables are there at once, and are
    /// filled again while the gate goes on. Without a gate it is made from the data
    /// directory.
    #[command(after_help = "Examples:\n  wattstile reporting rebuild --wait 10m\n  \
        wattstile reporting rebuild --url sqlite:/tmp/books.sqlite")]
    Rebuild {
        #[command(flatten)]
        database: Database,
        /// Wait until a running gate has filled it, at most so long
        #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
        wait: Option<Duration>,
    },
}

/// Which database, where no gate runs.
#[derive(Debug, clap::Args)]
struct Database {
    #[command(flatten)]
    config: ConfigArgs,
    /// The database, where no gate runs; without it, that of the configuration, or `reporting.sqlite` in the data directory
    #[arg(long)]
    url: Option<ReportingUrl>,
}

impl Database {
    fn url(&self, data: &Path) -> Result<ReportingUrl, CliError> {
        if let Some(url) = &self.url {
            return Ok(url.clone().in_data(data));
        }
        let (config, _) = self.config.load_with_warnings()?;
        let configured = configured::reporting(&config).map_err(|error| CliError::caused(Exit::Config, &error))?;
        match (configured, data.join(FILE)) {
            (Some(url), _) => Ok(url),
            (None, file) if file.exists() => Ok(ReportingUrl::Sqlite(file)),
            (None, _) => {
                let error = CliError::new(Exit::Usage, "there is no reporting database: `reporting.url` is not set");
                Err(error.help("name one with --url, or the configuration with --config"))
            }
        }
    }
}

/// Interval at which a filling is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let data = args.which.existing_data()?;
    let gate = args.which.running()?;
    match args.verb {
        Verb::Status { database } => {
            let status = match gate {
                Some(gate) => status_of(&gate)?.1,
                None => {
                    let url = database.url(&data)?;
                    let failed = |error| CliError::new(Exit::Unreachable, format!("{url}: {error}"));
                    reporting::look(&url).map_err(failed)?
                }
            };
            show(&status, output)?;
            Ok(if status.state == "stopped" { Exit::Failed } else { Exit::Ok })
        }
        Verb::Rebuild { database, wait } => {
            let status = match gate {
                Some(gate) => rebuild_beside(&gate, wait)?,
                None => {
                    let url = database.url(&data)?;
                    let views = app::read(&data).map_err(|error| CliError::start(&error))?;
                    output.inform(format_args!("no gate is running; made from {}", data.display()));
                    reporting::rebuild(url, views).map_err(|error| CliError::new(Exit::Failed, error))?
                }
            };
            show(&status, output)?;
            Ok(Exit::Ok)
        }
    }
}

fn status_of(gate: &Source) -> Result<(Value, ReportingStatus), CliError> {
    let document = gate.get("reporting", &[])?;
    let status = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
    Ok((document, status))
}

fn rebuild_beside(gate: &Source, wait: Option<Duration>) -> Result<ReportingStatus, CliError> {
    let ordered = gate.post("reporting/rebuild", &json!({}))?;
    let mut status: ReportingStatus = serde_json::from_value(ordered).map_err(CliError::failed)?;
    let Some(wait) = wait else { return Ok(status) };
    let begun = Instant::now();
    while begun.elapsed() < wait {
        std::thread::sleep(LOOK);
        status = status_of(gate)?.1;
        // A busy gate has newer facts at nearly every moment: it is filled when it had all of them once.
        if status.lag_ms.is_some() {
            return Ok(status);
        }
    }
    let state = status.fault.unwrap_or(status.state);
    Err(CliError::new(Exit::Temporary, format!("the database is not filled yet: {state}")))
}

fn show(status: &ReportingStatus, output: &Output) -> Result<(), CliError> {
    let document = serde_json::to_value(status).map_err(CliError::failed)?;
    give(output, &document, |out| {
        let Some(database) = &status.database else { return writeln!(out, "off: `reporting.url` is not set") };
        writeln!(out, "database      {database}")?;
        let style = if status.fault.is_none() { GOOD } else { BAD };
        writeln!(out, "state         {style}{}{style:#}", status.state)?;
        match (status.is_current, status.lag_ms) {
            (true, _) => writeln!(out, "behind        not at all: every durable fact is in it")?,
            (false, Some(ms)) => {
                writeln!(out, "behind        {}", humantime::format_duration(Duration::from_millis(ms)))?
            }
            (false, None) => writeln!(
                out,
                "behind        it had not everything since the start of the gate, or since it was made anew"
            )?,
        }
        if let Some(block) = status.block {
            writeln!(out, "log           up to block {block}")?;
        }
        writeln!(out, "written       {} rows in {} transactions", status.rows, status.transactions)?;
        if status.unreadable > 0 {
            writeln!(out, "missing       {BAD}{} archived sessions that cannot be read{BAD:#}", status.unreadable)?;
        }
        if let Some(fault) = &status.fault {
            writeln!(out, "fault         {BAD}{fault}{BAD:#}")?;
        }
        Ok(())
    })
}
