//! The command line: one file per verb, data on standard output, messages on standard error, `--json` everywhere.
//!
//! A verb is a module with `struct Args` (clap) and `fn run(args: Args, output: &Output) -> Result<Exit, CliError>`,
//! one variant of `Verb` and one line in `Verb::run`.

pub mod account;
pub mod backup;
pub mod bench;
pub mod cert;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod hold;
pub mod interrupts;
mod invoice;
pub mod journal;
pub mod keys;
mod layout;
pub mod ledger;
mod live;
pub mod log;
mod look;
pub mod metrics;
pub mod output;
mod own_gate;
pub mod processor;
pub mod receipt;
mod recon;
pub mod replay;
pub mod serve;
pub mod session;
pub mod sim;
pub mod simulate;
pub mod tariff;
pub mod things;

pub use exit::{CliError, Exit};
pub use output::Output;

use crate::units::screen::masked;
use clap::Parser;
use std::process::ExitCode;

/// The payment gatekeeper of a charging network.
#[derive(Debug, Parser)]
#[command(name = "wattstile", version, max_term_width = 80, after_help = exit_codes())]
struct Arguments {
    #[command(flatten)]
    manners: Manners,
    #[command(subcommand)]
    verb: Verb,
}

/// How every verb speaks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Manners {
    /// Give the answer as one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing on standard error but warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: output::Color,
}

/// What can be done.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Open, fill and show accounts
    Account(account::Args),
    /// Measure how many readings per second a gate makes durable
    Bench(bench::Args),
    /// Make, show, check and revoke certificates
    Cert(cert::Args),
    /// Run a gate with simulated chargers, drivers and processors
    Demo(demo::Args),
    /// Make, check and show the configuration
    Config(config::Args),
    /// Check that everything is there that a gate needs
    Doctor(doctor::Args),
    /// Back up, check and restore a data directory
    Backup(backup::Args),
    /// Check and show the log of a gate that is not running
    Journal(journal::Args),
    /// Show chargers
    Charger(things::Chargers),
    /// List, show and release holds
    Hold(hold::Holds),
    /// Check and export the books
    Ledger(ledger::Args),
    /// Invoices and credit notes, and the check of their series
    Invoice(invoice::Args),
    /// Keys under which tokens are kept
    Keys(keys::Args),
    /// List the metrics that the gate exports
    Metrics(metrics::Args),
    /// Show and check receipts
    Receipt(receipt::Args),
    /// Run the gate
    Serve(serve::Args),
    /// Compare what processors settled with what was captured
    Recon(recon::Args),
    /// Tell recorded sessions to a gate, and compare what it bills with what was billed
    Replay(replay::Args),
    /// Run simulated chargers and processors
    Sim(sim::Args),
    /// Show one operation that was asked of a processor
    Operation(hold::Operations),
    /// List, show, drain and test processors
    Processor(processor::Args),
    /// Give captured money back
    Refund(hold::Refund),
    /// Simulate a gate, its chargers and its processors while everything goes wrong
    Simulate(simulate::Args),
    /// List, show, explain and stop sessions
    Session(session::Args),
    /// Check, explain and price tariffs
    Tariff(tariff::Args),
}

impl Verb {
    fn run(self, output: &Output) -> Result<Exit, CliError> {
        match self {
            Verb::Account(args) => account::run(args, output),
            Verb::Bench(args) => bench::run(args, output),
            Verb::Cert(args) => cert::run(args, output),
            Verb::Demo(args) => demo::run(args, output),
            Verb::Config(args) => config::run(args, output),
            Verb::Doctor(args) => doctor::run(args, output),
            Verb::Backup(args) => backup::run(args, output),
            Verb::Journal(args) => journal::run(args, output),
            Verb::Charger(args) => things::chargers(args, output),
            Verb::Hold(args) => hold::holds(args, output),
            Verb::Ledger(args) => ledger::run(args, output),
            Verb::Invoice(args) => invoice::run(args, output),
            Verb::Keys(args) => keys::run(args, output),
            Verb::Metrics(args) => metrics::run(args, output),
            Verb::Processor(args) => processor::run(args, output),
            Verb::Operation(args) => hold::operations(args, output),
            Verb::Refund(args) => hold::refund(args, output),
            Verb::Receipt(args) => receipt::run(args, output),
            Verb::Serve(args) => serve::run(args, output),
            Verb::Recon(args) => recon::run(args, output),
            Verb::Replay(args) => replay::run(args, output),
            Verb::Sim(args) => sim::run(args, output),
            Verb::Simulate(args) => simulate::run(args, output),
            Verb::Session(args) => session::run(args, output),
            Verb::Tariff(args) => tariff::run(args, output),
        }
    }
}

/// Reads the arguments, does what they say, and returns the exit code.
pub fn run() -> ExitCode {
    // Whatever this process makes (the log's database, exports, backups) is its user's alone, unless its mode is set by name.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) if wrong.use_stderr() => {
            // What was typed is quoted, but never a card's number in it.
            anstream::eprint!("{}", masked(&wrong.render().ansi().to_string()));
            return ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(2));
        }
        Err(help) => help.exit(),
    };
    let manners = arguments.manners;
    let output = Output::new(manners.json, manners.quiet, manners.color);
    match arguments.verb.run(&output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.is_logged {
                output.error(&error);
            }
            error.exit.into()
        }
    }
}

/// How many threads run partitions, beside how many cores there are.
fn shards(shards: u16) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (threads, of) = (if shards == 1 { "thread" } else { "threads" }, if cores == 1 { "core" } else { "cores" });
    format!("{shards} {threads} on {cores} {of}")
}

/// The table of exit codes, under the help text.
fn exit_codes() -> String {
    let rows: Vec<String> = Exit::ALL.iter().map(|(exit, what)| format!("  {:>3}  {what}", exit.code())).collect();
    format!("Exit codes:\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_verbs_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_can_stand_after_the_verb() {
        let arguments = Arguments::try_parse_from(["wattstile", "metrics", "--json"]).unwrap();
        assert!(arguments.manners.json);
    }
}
