//! `wattstile data`: upgrades the data directory of a gate that is not running.

use super::gate_or_data::existing_data_or_interrupted;
use super::journal::error;
use super::output::GOOD;
use super::{CliError, Exit, Output};
use crate::app::{self, BookBalance, UpgradeError, Upgraded, UpgradedFigures};
use crate::journal::DATA_VERSION;
use crate::journal::upgrade::Room;
use crate::units::counted;
use std::io::Write;
use std::path::PathBuf;

/// The data directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Convert the data of an older version of the program
    ///
    /// Reads everything, writes it in the form of this version beside the data, reads
    /// that back, compares, and only then lets it take the place of the older data,
    /// which is kept under another name. It can be interrupted at any moment; the next
    /// run goes on.
    #[command(after_help = "Examples:\n  wattstile data upgrade .wattstile/gate/data --dry-run\n  \
        wattstile data upgrade .wattstile/gate/data\n\n\
        To go back, stop the gate, move the new directory away, and give the kept one its\n\
        old name; what happened since is then missing.")]
    Upgrade(Upgrade),
}

#[derive(Debug, clap::Args)]
struct Upgrade {
    /// The gate's data directory
    #[arg(env = "WATTSTILE_DATA", default_value = "./.wattstile")]
    data: PathBuf,
    /// Read everything, show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let Verb::Upgrade(Upgrade { data, dry_run }) = args.verb;
    let data = existing_data_or_interrupted(&data)?;
    let upgraded = app::upgrade(&data, dry_run, &mut |step| {
        output.inform(step.as_str());
        Ok(())
    });
    let upgraded = upgraded.map_err(|wrong| match wrong {
        UpgradeError::Failure(failure) => error(&failure),
        UpgradeError::NoRoom { .. } => CliError::new(Exit::Temporary, wrong),
        UpgradeError::Differs { .. } => CliError::new(Exit::Corrupt, wrong),
    })?;
    output.answer("data-upgrade/1", &upgraded, |out| show(&upgraded, out))?;
    Ok(Exit::Ok)
}

fn show(upgraded: &Upgraded, out: &mut dyn Write) -> std::io::Result<()> {
    let Upgraded { dry_run, data, from_version, to_version: _, backup, figures, room } = upgraded;
    let Some(figures) = figures else {
        return match backup {
            Some(_) if *dry_run => {
                writeln!(out, "the new data is complete; without --dry-run the last names are changed")
            }
            Some(backup) => writeln!(out, "{GOOD}done{GOOD:#}       the older data is in {}", backup.display()),
            None => writeln!(out, "{} is data of version {DATA_VERSION}: nothing to do", data.display()),
        };
    };
    let UpgradedFigures {
        partitions, snapshots, records, chargers, sessions, sessions_live, accounts, entries, ..
    } = figures;
    writeln!(out, "data       {}, version {from_version} to {DATA_VERSION}", data.display())?;
    writeln!(
        out,
        "read       {}, {}, {} behind them",
        counted(*partitions, "partition"),
        counted(*snapshots, "snapshot"),
        counted(*records, "record")
    )?;
    writeln!(
        out,
        "holds      {}, {} ({} live), {}",
        counted(*chargers, "charger"),
        counted(*sessions, "session"),
        sessions_live,
        counted(*accounts, "account")
    )?;
    let balance = match figures.books_imbalance_minor {
        0 => "in balance".to_owned(),
        off => format!("off balance by {off}"),
    };
    writeln!(out, "books      {}, {balance}", counted(*entries, "entry"))?;
    for BookBalance { account, currency, balance_minor } in &figures.books {
        writeln!(out, "           {account}  {currency} {balance_minor} minor units")?;
    }
    if let Some(Room { backup_bytes, needed_bytes, free_bytes }) = room {
        let (kept, needed, free) =
            (counted(*backup_bytes, "byte"), counted(*needed_bytes, "byte"), counted(*free_bytes, "byte"));
        writeln!(out, "room       {kept} stay as the backup, {needed} are needed beside them, {free} are free")?;
    }
    let backup = backup.as_deref().unwrap_or(data).display();
    if *dry_run {
        writeln!(out, "nothing was changed; without --dry-run the older data will be kept in {backup}")
    } else {
        writeln!(out, "{GOOD}done{GOOD:#}       the older data is in {backup}")
    }
}
