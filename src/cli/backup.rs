//! `wattstile backup`: takes, checks and restores backups of a data directory.

use super::gate_or_data::{Which, existing_data};
use super::journal::error;
use super::output::{BAD, GOOD};
use super::{CliError, Exit, Output};
use crate::api::{BACKUP_TIMEOUT, BackUp};
use crate::app;
use crate::app::configured::FINGERPRINT_KEY;
use crate::journal::backup::{self, Manifest};
use crate::journal::{self, DATA_VERSION, Inspection};
use crate::units::counted;
use std::path::{Path, PathBuf};

/// Backups.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Back up a data directory
    ///
    /// A gate that runs takes the backup itself and goes on meanwhile.
    #[command(after_help = "Example:\n  wattstile backup create .wattstile/gate/data /mnt/backup/2026-11-22\n\n\
        Ends with 65 when the data's archive is damaged: the damage is named, and copied as it is.")]
    Create {
        /// The gate's data directory
        data: PathBuf,
        /// Where the backup goes: a directory that is empty or not there
        to: PathBuf,
    },
    /// Check a backup: its files, what comes out of them in a temporary place, and the books
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

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Create { data, to } => {
            let data = existing_data(&data)?;
            let manifest = match Which::at(&data).running()? {
                None => backup::create(&data, &to).map_err(|failure| error(&failure))?,
                Some(gate) => {
                    let to = std::path::absolute(&to).map_err(|error| CliError::file(&to, &error))?;
                    let mut taken = gate.post_within("backup", &BackUp { to }, BACKUP_TIMEOUT)?;
                    if let Some(members) = taken.as_object_mut() {
                        members.remove("schema");
                    }
                    serde_json::from_value(taken).map_err(CliError::failed)?
                }
            };
            tell(&manifest, output)
        }
        Verb::Verify { from, temporary } => {
            let place = temporary.join(format!("wattstile-backup-{}", std::process::id()));
            let checked = check(&from, &place);
            // A leftover of the check only takes space.
            let removed = std::fs::remove_dir_all(&place);
            let found = checked?;
            if let Err(left) = removed {
                output.warn(format!("{}: {left}", place.display()));
            }
            show(&found, output)
        }
        Verb::Restore { from, data } => {
            let manifest = backup::restore(&from, &data).map_err(|failure| error(&failure))?;
            let shown = tell(&manifest, output)?;
            let beside = data.parent().unwrap_or(Path::new("."));
            if !beside.join(FINGERPRINT_KEY).exists() {
                output.warn(format!(
                    "a backup holds no keys: before a gate is started, put back {} (else no linked card is recognised), \
                     credential.keys or the file that credentials.keys_file names, and {}",
                    beside.join(FINGERPRINT_KEY).display(),
                    data.join("receipt-key.der").display()
                ));
            }
            Ok(shown)
        }
    }
}

/// What came out of a backup.
#[derive(Debug, serde::Serialize)]
struct Checked {
    #[serde(flatten)]
    found: Inspection,
    /// Live sessions that a gate would continue.
    sessions_live: u64,
    /// How far the books are from balance, in minor units: zero, or a defect.
    books_imbalance_minor: i128,
    /// Accounts that are below zero and must not be.
    accounts_below_zero: Vec<String>,
}

/// Restores a backup, checks every record of it, and balances the books.
fn check(from: &Path, place: &Path) -> Result<Checked, CliError> {
    let data = place.join("data");
    let manifest = backup::restore(from, &data).map_err(|failure| error(&failure))?;
    let found = journal::verify(&data).map_err(|failure| error(&failure))?;
    if manifest.version < DATA_VERSION {
        // As an operator would do it after the backup is restored.
        app::upgrade(&data, false, &mut |_| Ok(())).map_err(|error| CliError::new(Exit::Corrupt, error))?;
    }
    let views = app::read(&data).map_err(|error| CliError::new(Exit::Corrupt, error))?;
    let figures = views.figures().map_err(CliError::failed)?;
    let books = &figures.books().books;
    Ok(Checked {
        found,
        sessions_live: figures.sessions_authorizing + figures.sessions_charging + figures.sessions_settling,
        books_imbalance_minor: books.imbalance(),
        accounts_below_zero: books.broken_bounds().iter().map(|broken| format!("{:?}", broken.account)).collect(),
    })
}

fn tell(manifest: &Manifest, output: &Output) -> Result<Exit, CliError> {
    let Manifest { blocks, records, bytes, files, damage, .. } = manifest;
    output.answer("backup/1", manifest, |out| {
        writeln!(
            out,
            "{}, {}, {} in {}",
            counted(files.len(), "file"),
            counted(*bytes, "byte"),
            counted(*records, "record"),
            counted(*blocks, "block")
        )?;
        damage.iter().try_for_each(|damage| writeln!(out, "{BAD}damaged{BAD:#}: {damage}"))
    })?;
    if damage.is_empty() {
        return Ok(Exit::Ok);
    }
    output.inform("what is damaged was copied as it is, and everything else is whole");
    Ok(Exit::Corrupt)
}

fn show(checked: &Checked, output: &Output) -> Result<Exit, CliError> {
    let found = &checked.found;
    let balanced = checked.books_imbalance_minor == 0 && checked.accounts_below_zero.is_empty();
    output.answer("backup-check/1", checked, |out| {
        for damage in &found.damage {
            writeln!(out, "damaged: {damage}")?;
        }
        let (records, sessions, live) = (found.records, found.archived_sessions, checked.sessions_live);
        let word = if found.whole { format!("{GOOD}whole{GOOD:#}") } else { "not whole".to_owned() };
        writeln!(
            out,
            "{word}: {}, {live} live and {}",
            counted(records, "record"),
            counted(sessions, "archived session")
        )?;
        for account in &checked.accounts_below_zero {
            writeln!(out, "below zero, which it must not be: {account}")?;
        }
        match checked.books_imbalance_minor {
            0 => writeln!(out, "{GOOD}balanced{GOOD:#}: debits are credits in every currency"),
            _ => writeln!(out, "the books are off by {}", counted(checked.books_imbalance_minor, "minor unit")),
        }
    })?;
    Ok(if found.whole && balanced { Exit::Ok } else { Exit::Corrupt })
}
