//! `wattstile ocpp`: the passwords of chargers that show no certificate.

use super::{CliError, Exit, Output};
use crate::app::passwords::{self, PasswordsError};
use crate::units::ChargerId;
use serde_json::json;
use std::path::PathBuf;

/// Passwords of chargers that speak OCPP and have no certificate.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Give a charger a fresh password, and show it once; a running gate takes it at the next connection
    #[command(after_help = "Example:\n  wattstile ocpp password AMS-0007 --file /etc/wattstile/ocpp.passwords")]
    Password {
        /// Its id
        charger: ChargerId,
        /// The file of the setting `ocpp.passwords_file`
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Take its password away instead
        #[arg(long)]
        remove: bool,
    },
    /// List the chargers that have a password
    Ls {
        /// The file of the setting `ocpp.passwords_file`
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs the command.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Password { charger, file, remove: false } => {
            let password = passwords::set(&file, &charger).map_err(wrong)?;
            let document = json!({ "charger": charger, "password": password });
            output.answer("ocpp-password/1", &document, |out| {
                writeln!(out, "user      {charger}\npassword  {password}")?;
                writeln!(out, "It is shown this once: the file keeps its hash.")
            })?;
        }
        Verb::Password { charger, file, remove: true } => {
            if !passwords::remove(&file, &charger).map_err(wrong)? {
                return Err(CliError::not_found(format!("{}: charger {charger} has no password here", file.display())));
            }
            let document = json!({ "charger": charger, "password": null });
            output.answer("ocpp-password/1", &document, |out| writeln!(out, "{charger} has no password any more"))?;
        }
        Verb::Ls { file } => {
            let chargers = passwords::chargers(&file).map_err(wrong)?;
            let document = json!({ "chargers": chargers });
            output.answer("ocpp-chargers/1", &document, |out| {
                chargers.iter().try_for_each(|charger| writeln!(out, "{charger}"))
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn wrong(error: PasswordsError) -> CliError {
    CliError::caused(Exit::Config, &error)
}
