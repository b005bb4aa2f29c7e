//! `wattstile backup`: takes, checks and restores backups of a data directory.

use super::journal::{end_when_the_store_panics, error};
use super::output::GOOD;
use super::{CliError, Exit, Output};
use crate::journal::backup::{self, Manifest};
use crate::journal::{self, Inspection};
use std::path::PathBuf;

/// Backups.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Back up the data directory of a gate that is not running
    #[command(after_help = "Example:\n  wattstile backup create .wattstile/data /mnt/backup/2026-11-22")]
    Create {
        /// The gate's data directory
        data: PathBuf,
        /// Where the backup goes: a directory that is empty or not there
        to: PathBuf,
    },
    /// Check a backup: its files, and what comes out of them in a temporary place
    #[command(after_help = "Ends with 0 when the backup can be restored, with 65 when it is damaged.")]
    Verify {
        /// The backup
        from: PathBuf,
        /// Where it is restored to for the check
        #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
        temporary: PathBuf,
    },
    /// Make a new data directory from a backup
    Restore {
        /// The backup
        from: PathBuf,
        /// The new data directory: empty or not there
        data: PathBuf,
    },
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    end_when_the_store_panics();
    match args.verb {
        Verb::Create { data, to } => {
            let manifest = backup::create(&data, &to).map_err(|failure| error(&failure))?;
            tell(&manifest, output)
        }
        Verb::Verify { from, temporary } => {
            let place = temporary.join(format!("wattstile-backup-{}", std::process::id()));
            let checked = backup::restore(&from, &place).and_then(|_| journal::verify(&place));
            // What is left of the check is in the way of nobody but the disk.
            let removed = std::fs::remove_dir_all(&place);
            let found = checked.map_err(|failure| error(&failure))?;
            if let Err(left) = removed {
                output.warn(format!("{}: {left}", place.display()));
            }
            show(&found, output)
        }
        Verb::Restore { from, data } => {
            let manifest = backup::restore(&from, &data).map_err(|failure| error(&failure))?;
            tell(&manifest, output)
        }
    }
}

fn tell(manifest: &Manifest, output: &Output) -> Result<Exit, CliError> {
    output.answer("backup/1", manifest, |out| {
        let Manifest { blocks, records, bytes, files, .. } = manifest;
        writeln!(out, "{} files, {bytes} bytes, {records} records in {blocks} blocks", files.len())
    })?;
    Ok(Exit::Ok)
}

fn show(found: &Inspection, output: &Output) -> Result<Exit, CliError> {
    output.answer("backup-check/1", found, |out| {
        for damage in &found.damage {
            writeln!(out, "damaged: {damage}")?;
        }
        let (records, sessions) = (found.records, found.archived_sessions);
        let word = if found.whole { format!("{GOOD}whole{GOOD:#}") } else { "not whole".to_owned() };
        writeln!(out, "{word}: {records} records, {sessions} archived sessions")
    })?;
    Ok(if found.whole { Exit::Ok } else { Exit::Corrupt })
}
