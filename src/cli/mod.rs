//! The command line: one file per verb, data on standard output, messages on standard error, `--json` everywhere.
//!
//! A verb is a module with `struct Args` (clap) and `fn run(args: Args, output: &Output) -> Result<Exit, CliError>`,
//! one variant of `Verb` and one line in `Verb::run`.

pub mod account;
mod audit;
pub mod backup;
pub mod bench;
pub mod cert;
pub mod chargers;
mod completions;
pub mod config;
mod console;
mod data;
pub mod demo;
pub mod doctor;
pub mod exit;
mod gate_or_data;
mod health;
pub mod hold;
pub mod interrupts;
mod invoice;
pub mod journal;
pub mod keys;
mod layout;
pub mod ledger;
mod live;
pub mod log;
mod man;
mod manual;
pub mod metrics;
pub mod ocpp;
pub mod output;
mod own_gate;
pub mod processor;
mod quarantine;
pub mod receipt;
mod recon;
pub mod replay;
mod reporting;
pub mod serve;
mod service_manager;
pub mod session;
pub mod sim;
pub mod simulate;
pub mod tariff;
mod token;
mod top;
mod webhook;

pub use exit::{CliError, Exit};
pub use output::Output;

use crate::units::screen::masked;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use output::error_document;
use std::ffi::OsString;
use std::process::ExitCode;

/// What the program is called.
const NAME: &str = "wattstile";

/// The payment gatekeeper of a charging network.
#[derive(Debug, Parser)]
#[command(name = NAME, version = crate::version::text(), max_term_width = 80, after_help = exit_codes())]
struct Arguments {
    #[command(flatten)]
    manners: Manners,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of output that all verbs have.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Manners {
    /// Give the answer as one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Write only warnings and errors to standard error
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: output::Color,
}

/// What can be done. A verb whose arguments have a long text has none here, which would hide it.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Demo(demo::Args),
    Serve(serve::Args),
    Top(top::Args),
    Doctor(doctor::Args),
    Health(health::Args),
    /// Make, check and show the configuration
    Config(config::Args),
    /// Make, show, check and revoke certificates
    Cert(cert::Args),
    /// Make, list and revoke tokens of the API
    Token(token::Args),
    /// Endpoints that events are pushed to
    Webhook(webhook::Args),
    /// The database that finance can query with SQL
    Reporting(reporting::Args),
    /// Every order that came over the API
    Audit(audit::Args),
    /// The console in a browser
    Console(console::Args),
    /// Keys under which tokens are kept
    Keys(keys::Args),
    /// List, show, explain and stop sessions
    Session(session::Args),
    /// Show chargers
    Charger(chargers::Chargers),
    /// Show and check receipts
    Receipt(receipt::Args),
    /// Give captured money back
    Refund(hold::Refund),
    /// Open, fill and show accounts
    Account(account::Args),
    /// List, show and release holds
    Hold(hold::Holds),
    /// Show one operation that was asked of a processor
    Operation(hold::Operations),
    /// List, show, drain and test processors
    Processor(processor::Args),
    /// Check, explain and price tariffs
    Tariff(tariff::Args),
    /// Invoices and credit notes, and the check of their series
    Invoice(invoice::Args),
    /// Compare what processors settled with what was captured
    Recon(recon::Args),
    /// Check and export the books
    Ledger(ledger::Args),
    /// Check and show the log of a gate that is not running
    Journal(journal::Args),
    /// Back up, check and restore a data directory
    Backup(backup::Args),
    /// Passwords of chargers that speak OCPP and have no certificate
    Ocpp(ocpp::Args),
    /// Upgrade a data directory of an older version
    Data(data::Args),
    /// List the metrics that the gate exports
    Metrics(metrics::Args),
    /// Run simulated chargers and processors
    Sim(sim::Args),
    /// Simulate a gate, its chargers and its processors while everything goes wrong
    #[command(hide = true)]
    Simulate(simulate::Args),
    /// Send recorded sessions to a gate, and compare what it bills with what was billed
    Replay(replay::Args),
    /// Measure how many readings per second a gate makes durable
    Bench(bench::Args),
    Manual(manual::Args),
    /// Print the manual page, or write all of them
    Man(man::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
}

impl Verb {
    fn run(self, output: &Output) -> Result<Exit, CliError> {
        match self {
            Verb::Account(args) => account::run(args, output),
            Verb::Audit(args) => audit::run(args, output),
            Verb::Bench(args) => bench::run(args, output),
            Verb::Cert(args) => cert::run(args, output),
            Verb::Completions(args) => completions::run(args, output),
            Verb::Demo(args) => demo::run(args, output),
            Verb::Config(args) => config::run(args, output),
            Verb::Console(args) => console::run(args, output),
            Verb::Doctor(args) => doctor::run(args, output),
            Verb::Health(args) => health::run(args, output),
            Verb::Backup(args) => backup::run(args, output),
            Verb::Data(args) => data::run(args, output),
            Verb::Journal(args) => journal::run(args, output),
            Verb::Charger(args) => chargers::chargers(args, output),
            Verb::Hold(args) => hold::holds(args, output),
            Verb::Ledger(args) => ledger::run(args, output),
            Verb::Invoice(args) => invoice::run(args, output),
            Verb::Keys(args) => keys::run(args, output),
            Verb::Manual(args) => manual::run(args, output),
            Verb::Man(args) => man::run(args, output),
            Verb::Metrics(args) => metrics::run(args, output),
            Verb::Processor(args) => processor::run(args, output),
            Verb::Ocpp(args) => ocpp::run(args, output),
            Verb::Operation(args) => hold::operations(args, output),
            Verb::Refund(args) => hold::refund(args, output),
            Verb::Receipt(args) => receipt::run(args, output),
            Verb::Serve(args) => serve::run(args, output),
            Verb::Recon(args) => recon::run(args, output),
            Verb::Reporting(args) => reporting::run(args, output),
            Verb::Replay(args) => replay::run(args, output),
            Verb::Sim(args) => sim::run(args, output),
            Verb::Simulate(args) => simulate::run(args, output),
            Verb::Session(args) => session::run(args, output),
            Verb::Tariff(args) => tariff::run(args, output),
            Verb::Token(args) => token::run(args, output),
            Verb::Top(args) => top::run(args, output),
            Verb::Webhook(args) => webhook::run(args, output),
        }
    }
}

/// Parses the arguments, runs the verb, and returns the exit code.
pub fn run() -> ExitCode {
    // Whatever this process makes (the log's database, exports, backups) is its user's alone, unless its mode is set by name.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) if wrong.use_stderr() => {
            let code = u8::try_from(wrong.exit_code()).unwrap_or(2);
            // What was typed is quoted, but never a card's number in it.
            if wants_json(std::env::args_os()) {
                anstream::eprintln!("{}", as_document(&wrong, code))
            } else {
                anstream::eprint!("{}", masked(&wrong.render().ansi().to_string()))
            }
            return ExitCode::from(code);
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

/// All that can be typed, for completions and manual pages.
fn command() -> clap::Command {
    Arguments::command()
}

/// Whether errors are to be JSON, for arguments that could not be parsed as a whole.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// Wrong arguments for programs: the first paragraph is the message, what follows helps.
fn as_document(wrong: &clap::Error, code: u8) -> serde_json::Value {
    let text = wrong.render().to_string();
    let text = masked(text.trim());
    let (message, help) = match wrong.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ("no command is given", &*text),
        _ => text.split_once("\n\n").unwrap_or((&text, "")),
    };
    let message = message.strip_prefix("error: ").unwrap_or(message);
    error_document(code, message, Some(help.trim()).filter(|help| !help.is_empty()))
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
    format!("Long texts: `wattstile manual`\n\nExit codes:\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_verbs_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn long_texts_of_verbs_are_shown() {
        let mut command = super::command();
        command.build();
        for (verb, words) in [
            (vec!["serve"], "SIGHUP"),
            (vec!["demo"], "prepaid accounts"),
            (vec!["doctor"], "Changes nothing"),
            (vec!["health"], "every shard answers"),
            (vec!["bench", "idle"], "resident"),
            (vec!["bench", "recover"], "kills it"),
        ] {
            let found = verb.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
            let long = found.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(long.contains(words), "{verb:?}: {long}");
        }
    }

    #[test]
    fn wrong_arguments_are_a_document_too() {
        let typed = ["wattstile", "session", "ls", "--nope", "--json"];
        assert!(wants_json(typed.iter().map(OsString::from)));
        assert!(!wants_json(["wattstile", "metrics", "--", "--json"].iter().map(OsString::from)));
        let wrong = Arguments::try_parse_from(typed).unwrap_err();
        let document = as_document(&wrong, 2);
        assert_eq!(document["error"]["code"], 2);
        assert_eq!(document["error"]["message"], "unexpected argument '--nope' found");
        assert!(document["error"]["help"].as_str().unwrap().starts_with("Usage: wattstile session ls"), "{document}");
        let none = Arguments::try_parse_from(["wattstile", "account"]).unwrap_err();
        assert_eq!(as_document(&none, 2)["error"]["message"], "no command is given");
    }

    #[test]
    fn json_can_stand_after_the_verb() {
        let arguments = Arguments::try_parse_from(["wattstile", "metrics", "--json"]).unwrap();
        assert!(arguments.manners.json);
    }
}
