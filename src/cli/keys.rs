//! `wattstile keys`: the keys under which tokens are kept.

use super::gate_or_data::{Source, Which, give};
use super::{CliError, Exit, Output};
use crate::app::configured;
use crate::app::keys::{self, KEYS_FILE, KeysError};
use serde_json::json;
use std::path::PathBuf;

/// Keys under which tokens are kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The file of the keys; without it, credential.keys in the data directory
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a file with a first key, where there is none
    #[command(after_help = "Example:\n  wattstile keys init --file /etc/wattstile/credential.keys")]
    Init {
        /// Make the key that recognises credentials (fingerprint.key beside the data), where it was lost: credentials are to be
        /// linked again
        #[arg(long)]
        fingerprint: bool,
    },
    /// List the numbers of the keys; the last one seals
    Ls,
    /// Add a fresh key and let a running gate seal with it; older ones stay to open what they sealed
    #[command(after_help = "Example:\n  wattstile keys rotate --file /etc/wattstile/credential.keys")]
    Rotate {
        /// Only show what would happen
        #[arg(long)]
        dry_run: bool,
    },
    /// Take an older key away. What was sealed with it and is still to be sent cannot be opened any more: wait until the
    /// authorizations from before the rotation are decided, a few minutes
    Retire {
        /// Its number
        id: u32,
        /// Only show what would happen
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if let Verb::Init { fingerprint: true } = args.verb {
        return init_fingerprint(args.file, &args.which, output);
    }
    let path = match args.file {
        Some(file) => file,
        None => args.which.folder()?.join(KEYS_FILE),
    };
    if !matches!(args.verb, Verb::Init { .. }) && !path.exists() {
        let error = CliError::not_found(format!("{}: there is no file of keys here", path.display()));
        return Err(error.help("name it with --file FILE, or the data directory beside it with --data DIR"));
    }
    if matches!(args.verb, Verb::Init { .. }) {
        drop(keys::kept(&path).map_err(wrong)?);
    }
    let mut ids: Vec<u32> = keys::read(&path).map_err(wrong)?.ids().collect();
    let (changed, dry_run) = match args.verb {
        Verb::Init { .. } | Verb::Ls => (false, false),
        Verb::Rotate { dry_run } => {
            let next = if dry_run {
                ids.last().copied().unwrap_or_default().saturating_add(1)
            } else {
                keys::rotate(&path).map_err(wrong)?
            };
            ids.push(next);
            (!dry_run, dry_run)
        }
        Verb::Retire { id, dry_run } => {
            if !dry_run {
                keys::retire(&path, id).map_err(wrong)?;
            }
            ids.retain(|known| *known != id);
            (!dry_run, dry_run)
        }
    };
    let loaded = match if changed { args.which.running()? } else { None } {
        Some(running) => load(&running)?,
        None => false,
    };
    let document = json!({
        "schema": "wattstile.keys/1", "file": path.display().to_string(), "keys": ids, "seals": ids.last(),
        "dry_run": dry_run, "loaded": loaded,
    });
    give(output, &document, |out| {
        let note = if dry_run { "  (nothing was changed)" } else { "" };
        ids.iter().try_for_each(|id| {
            if ids.last() == Some(id) {
                writeln!(out, "{id}  seals and opens{note}")
            } else {
                writeln!(out, "{id}  opens")
            }
        })?;
        match (changed, loaded) {
            (true, true) => writeln!(out, "the running gate has loaded them"),
            (true, false) => writeln!(out, "no gate is running; they are loaded when it starts"),
            (false, _) => Ok(()),
        }
    })?;
    Ok(Exit::Ok)
}

fn init_fingerprint(file: Option<PathBuf>, which: &Which, output: &Output) -> Result<Exit, CliError> {
    let path = match file {
        Some(file) => file,
        None => which.folder()?.join(configured::FINGERPRINT_KEY),
    };
    let made = !path.exists();
    if made {
        configured::make_fingerprint_key(&path).map_err(|error| CliError::caused(Exit::Config, &error))?;
    }
    let document = json!({ "schema": "wattstile.fingerprint-key/1", "file": path.display().to_string(), "made": made });
    give(output, &document, |out| {
        writeln!(out, "{}: {}", path.display(), if made { "made" } else { "it is there, and was left as it is" })
    })?;
    Ok(Exit::Ok)
}

fn load(gate: &Source) -> Result<bool, CliError> {
    gate.post("keys/reload", &json!({}))?;
    Ok(true)
}

fn wrong(error: KeysError) -> CliError {
    CliError::caused(Exit::Config, &error)
}
