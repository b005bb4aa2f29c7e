//! `wattstile doctor`: whether everything is there that a gate needs, before it is missed.

use super::config::ConfigArgs;
use super::gate_or_data::Which;
use super::output::{BAD, GOOD, WARNING};
use super::{CliError, Exit, Output};
use crate::app::preflight::{Finding, State, preflight};
use crate::config::Config;
use crate::host::SystemClock;
use crate::journal;
use crate::limits;
use crate::transport::descriptors::{self, Plan};
use crate::units::{Clock, counted};
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Check that everything is there that a gate needs
///
/// Looks at the configuration, certificates and their expiry, the data directory
/// and its log, room on the disk, how long a sync takes, the clock, the limit of
/// open files, and the ports. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile doctor --config wattstile.toml\n\n\
Ends with 0 when a gate can run, with 1 when something is wrong.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    well: bool,
    findings: Vec<Finding>,
}

/// A sync that takes longer makes every acknowledgement late.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// The log, two snapshots, and the ballast need about so much.
const ROOM_WANTED: u64 = 2 << 30;
const ROOM_LEAST: u64 = 256 << 20;
/// About so many files are open when a gate's listeners open.
const FILES_BESIDE: u64 = 128;

/// Runs all checks.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.config.load(output)?;
    let data = config.data_folder();
    let running = Which::at(&config.gate.data_dir).running()?.is_some();
    let mut findings = preflight(&config, SystemClock::new().now().wall, running);
    let usable = findings.iter().any(|finding| finding.name == "data" && finding.state == State::Good);
    if usable && !running && data.exists() {
        // Every record is read, which takes longer than a start may.
        findings.retain(|finding| finding.name != "data");
        findings.push(log(&data));
    }
    let existing = nearest(&data);
    findings.extend([room(&existing), sync(&existing), open_files(&config)]);
    let well = findings.iter().all(|finding| finding.state != State::Wrong);
    let report = Report { well, findings };
    output.answer("doctor/1", &report, |out| show(&report, out))?;
    Ok(if report.well { Exit::Ok } else { Exit::Failed })
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    for Finding { name, state, detail, help } in &report.findings {
        match state {
            State::Good => writeln!(out, "{GOOD}✓{GOOD:#} {name:<12} {detail}")?,
            State::Warning => writeln!(out, "{WARNING}!{WARNING:#} {name:<12} {detail}")?,
            State::Wrong => writeln!(out, "{BAD}✗{BAD:#} {name:<12} {detail}")?,
        }
        if let Some(help) = help {
            writeln!(out, "  {:<12} {help}", "")?;
        }
    }
    Ok(())
}

/// Every record of the log.
fn log(data: &Path) -> Finding {
    match journal::verify(data) {
        Ok(found) if found.whole => {
            let (records, bytes, sessions) = (found.records, found.bytes >> 20, found.archived_sessions);
            let detail = format!(
                "whole: {} in {bytes} MiB of journal, {}",
                counted(records, "record"),
                counted(sessions, "archived session")
            );
            Finding::good("data", detail)
        }
        Ok(found) => {
            let damage = found.damage.first().cloned().unwrap_or_default();
            let help = "`wattstile journal verify` names every damage; `wattstile backup restore` brings it back";
            Finding::wrong("data", damage, help)
        }
        Err(failure) => Finding::wrong("data", failure, "`wattstile journal verify` shows more"),
    }
}

/// The directory, or the nearest above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Free space on the disk, as df(1) reports it.
fn room(place: &Path) -> Finding {
    let answered = Command::new("df").arg("-Pk").arg(place).output();
    let free = answered.ok().and_then(|answered| {
        let text = String::from_utf8_lossy(&answered.stdout).into_owned();
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free.map(|kib| kib << 10) {
        None => Finding::warning("disk", "how much room is left is not known", "`df` is not there"),
        Some(free) if free < ROOM_LEAST => {
            Finding::wrong("disk", format!("{} MiB are left", free >> 20), "on a full disk no log can even be opened")
        }
        Some(free) if free < ROOM_WANTED => {
            Finding::warning("disk", format!("{} MiB are left", free >> 20), "log, snapshots and ballast want 2 GiB")
        }
        Some(free) => Finding::good("disk", format!("{} GiB are left", free >> 30)),
    }
}

/// Whether the disk syncs, and how long that takes: the middle one of a few.
fn sync(place: &Path) -> Finding {
    let path = place.join(format!(".wattstile-doctor-{}", std::process::id()));
    let measured = (|| {
        let mut file = fs::File::create(&path)?;
        let mut took = Vec::new();
        for _ in 0..7 {
            file.write_all(&[0x5a; 4_096])?;
            let begun = Instant::now();
            file.sync_data()?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok::<_, std::io::Error>(took[took.len() / 2])
    })();
    // Whatever came of it, nothing stays behind.
    let _ = fs::remove_file(&path);
    match measured {
        Err(error) => {
            Finding::wrong("sync", format!("{}: {error}", place.display()), "the gate must be able to write here")
        }
        Ok(took) if took > SYNC_SLOW => Finding::warning(
            "sync",
            format!("one takes {} ms", took.as_millis()),
            "every acknowledgement waits for one",
        ),
        Ok(took) => Finding::good("sync", format!("one takes {} µs", took.as_micros())),
    }
}

/// Whether every connection that is allowed can have a file, beside what the journal keeps open.
fn open_files(config: &Config) -> Finding {
    let most = |connections: u32| connections as usize;
    let plan = Plan::wanted(most(config.chargers.connections_max), most(config.processors.connections_max));
    let limit = descriptors::highest_limit();
    match plan.within(limit, FILES_BESIDE) {
        Err(scarce) => Finding::wrong("open files", scarce.to_string(), "no listener would open"),
        Ok((plan, Some(scarce))) => {
            let (chargers, processors) = (plan.chargers.connections, plan.processors.connections);
            let help = format!("{chargers} chargers and {processors} connections of processors would be taken");
            Finding::warning("open files", scarce.to_string(), help)
        }
        Ok((_, None)) if limit == u64::MAX => Finding::good("open files", "any number is allowed"),
        Ok((plan, None)) => {
            let wanted = plan.total() + FILES_BESIDE + limits::DESCRIPTORS_RESERVED;
            Finding::good("open files", format!("{limit} are allowed, {wanted} are wanted"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_named_and_one_that_can_is_left_clean() {
        let place = tempfile::tempdir().unwrap();
        assert_ne!(sync(place.path()).state, State::Wrong);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        assert_eq!(sync(&place.path().join("nowhere")).state, State::Wrong);
        assert_eq!(nearest(&place.path().join("a/b/c")), place.path());
    }
}
