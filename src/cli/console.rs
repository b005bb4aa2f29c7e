//! `wattstile console`: the way into the console with a browser.

use super::gate_or_data::{Which, give, moment};
use super::{CliError, Exit, Output};
use crate::web::LoginWish;
use crate::web::access::Role;

/// The console in a browser.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a link with which a browser signs in: it works once, and for five minutes
    #[command(after_help = "Example:\n  wattstile console login --role viewer")]
    Login {
        /// What the browser may do: viewer, operator, finance or admin; without it: everything
        #[arg(long)]
        role: Option<Role>,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    args.which.existing_data()?;
    let Verb::Login { role } = args.verb;
    let gate = args.which.running()?.ok_or_else(|| {
        let error = CliError::new(Exit::Unreachable, "no gate is running: it has no console");
        error.help("start it with `wattstile serve`")
    })?;
    let document = gate.post("logins", &LoginWish { role })?;
    give(output, &document, |out| {
        let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
        writeln!(out, "{}\nworks once, until {}, as {}", text("login"), moment(&text("expires_at")), text("role"))
    })?;
    Ok(Exit::Ok)
}
