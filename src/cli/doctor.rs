//! `wattstile doctor`: whether everything is there that a gate needs, before it is missed.

use super::config::ConfigArgs;
use super::look::Which;
use super::output::{BAD, GOOD, WARNING};
use super::{CliError, Exit, Output};
use crate::app::SystemClock;
use crate::config::Config;
use crate::journal::{self, DataDir, Failure};
use crate::transport::identity::Door;
use crate::transport::tls::{Source, Tls};
use crate::units::{Clock, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

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

/// What was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Wrong,
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
const DAYS_WANTED: i64 = 30;
const DAY_MS: i64 = 86_400_000;
/// No gate ran before this.
const EARLIEST: i64 = 1_760_000_000_000;
/// Open files beside connections.
const FILES_BESIDE: u64 = 256;

/// Looks at everything.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let config = args.config.load()?;
    let data = config.gate.data_dir.join("data");
    let running = Which::at(&config.gate.data_dir).running()?.is_some();
    let mut findings = vec![files(&config)];
    findings.extend(certificates(&config));
    findings.push(log(&data, running));
    let existing = nearest(&data);
    findings.extend([room(&existing), sync(&existing), clock(&data), open_files(&config)]);
    findings.push(ports(&config, running));
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

fn good(name: &'static str, detail: impl ToString) -> Finding {
    Finding { name, state: State::Good, detail: detail.to_string(), help: None }
}

fn warning(name: &'static str, detail: impl ToString, help: &'static str) -> Finding {
    Finding { name, state: State::Warning, detail: detail.to_string(), help: Some(help) }
}

fn wrong(name: &'static str, detail: impl ToString, help: &'static str) -> Finding {
    Finding { name, state: State::Wrong, detail: detail.to_string(), help: Some(help) }
}

fn files(config: &Config) -> Finding {
    let missing = config.missing_files();
    match missing.first() {
        None => good("config", "every setting is valid, every file that it names is there"),
        Some((section, key, path)) => wrong(
            "config",
            format!("{section}.{key} names {}, which is not there", path.display()),
            "`wattstile config check` shows every such setting",
        ),
    }
}

/// The certificates of both listeners, each once; the one that expires first decides.
fn certificates(config: &Config) -> Vec<Finding> {
    if config.tls.certificate_file.is_none() && !config.pki_folder().exists() {
        let detail = "there are none yet; in development the first start makes them";
        return vec![warning("certificates", detail, "`wattstile cert init` makes them now")];
    }
    let (mut expiries, mut found) = (BTreeSet::new(), Vec::new());
    for door in [Door::Chargers, Door::Processors] {
        match Tls::new(config.tls_policy(door), Source::Files(config.tls_files(door))) {
            Ok(tls) => expiries.extend(tls.expiries().into_iter().map(|(name, at)| (at, name))),
            Err(error) => found.push(wrong(
                "certificates",
                format!("the listener for {door}: {error}"),
                "`wattstile cert check` tells more",
            )),
        }
    }
    let now = SystemClock::new().now().wall;
    if let Some((at, name)) = expiries.first() {
        found.push(expiry(name, *at, now));
    }
    found
}

fn expiry(name: &str, at: Timestamp, now: Timestamp) -> Finding {
    let days = at.since(now).ms().div_euclid(DAY_MS);
    // A list is made anew often; a certificate is not.
    let wanted = if name.contains("revocation list") { 1 } else { DAYS_WANTED };
    match days {
        ..0 => wrong("certificates", format!("{name} expired at {at}"), "`wattstile cert renew`, or a new file"),
        days if days < wanted => {
            warning("certificates", format!("{name} expires in {days} days"), "`wattstile cert renew`, or a new file")
        }
        days => good("certificates", format!("the first one to expire, {name}, does in {days} days")),
    }
}

/// The data directory and its log. Without a gate that runs, every record is read.
fn log(data: &Path, running: bool) -> Finding {
    if running {
        return good("data", "a gate runs on it and answers");
    }
    let checked = DataDir::open(data).and_then(|dir| {
        drop(dir);
        journal::verify(data)
    });
    match checked {
        Ok(found) if found.whole => {
            let (records, bytes, sessions) = (found.records, found.bytes >> 20, found.archived_sessions);
            good("data", format!("whole: {records} records in {bytes} MiB of log, {sessions} archived sessions"))
        }
        Ok(found) => {
            let damage = found.damage.first().cloned().unwrap_or_default();
            wrong(
                "data",
                damage,
                "`wattstile journal verify` names every damage; `wattstile backup restore` brings it back",
            )
        }
        Err(Failure::Absent { .. }) => good("data", "none yet; the first start makes it"),
        Err(failure @ Failure::InUse { .. }) => warning("data", failure, "a process that does not answer holds it"),
        Err(failure) => wrong("data", failure, "a newer program may have made it, or the wrong directory is named"),
    }
}

/// The directory, or the nearest above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Room on the disk, as df(1) tells it.
fn room(place: &Path) -> Finding {
    let told = Command::new("df").arg("-Pk").arg(place).output();
    let free = told.ok().and_then(|told| {
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free.map(|kib| kib << 10) {
        None => warning("disk", "nobody could tell how much room is left", "`df` is not there"),
        Some(free) if free < ROOM_LEAST => {
            wrong("disk", format!("{} MiB are left", free >> 20), "on a full disk no log can even be opened")
        }
        Some(free) if free < ROOM_WANTED => {
            warning("disk", format!("{} MiB are left", free >> 20), "log, snapshots and ballast want 2 GiB")
        }
        Some(free) => good("disk", format!("{} GiB are left", free >> 30)),
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
        Err(error) => wrong("sync", format!("{}: {error}", place.display()), "the gate must be able to write here"),
        Ok(took) if took > SYNC_SLOW => {
            warning("sync", format!("one takes {} ms", took.as_millis()), "every acknowledgement waits for one")
        }
        Ok(took) => good("sync", format!("one takes {} µs", took.as_micros())),
    }
}

/// Whether the clock can be right: not before this program, and not before what was written here.
fn clock(data: &Path) -> Finding {
    let now = SystemClock::new().now().wall;
    let written = fs::metadata(data.join("mark")).and_then(|mark| mark.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_millis());
    let ahead = written.is_some_and(|at| at > u128::try_from(now.unix_ms()).unwrap_or(0) + 60_000);
    let help = "receipts and certificates depend on it; start a time service";
    if now.unix_ms() < EARLIEST {
        return wrong("clock", format!("it says {now}, which cannot be"), help);
    }
    match ahead {
        true => wrong("clock", format!("it says {now}, and the data is younger than that: it was set back"), help),
        false => good("clock", now),
    }
}

/// Whether every connection that is allowed can have a descriptor, as proc(5) tells it.
fn open_files(config: &Config) -> Finding {
    let wanted =
        u64::from(config.chargers.connections_max) + u64::from(config.processors.connections_max) + FILES_BESIDE;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    match limit.and_then(|limit| limit.parse::<u64>().ok()) {
        None => good("open files", "no limit is told"),
        Some(limit) if limit < wanted => warning(
            "open files",
            format!("{limit} are allowed, all connections would take {wanted}"),
            "raise it (`ulimit -n`, LimitNOFILE=), or lower connections_max",
        ),
        Some(limit) => good("open files", format!("{limit} are allowed, {wanted} are wanted")),
    }
}

/// Whether the listeners' addresses can be taken; a gate that runs has taken them.
fn ports(config: &Config, running: bool) -> Finding {
    let addresses = [config.chargers.listen, config.processors.listen, config.console.listen];
    if running {
        return good("ports", "the running gate has them");
    }
    let taken = |address: &&SocketAddr| TcpListener::bind(**address).is_err();
    match addresses.iter().find(taken) {
        None => good("ports", addresses.map(|address| address.to_string()).join(", ")),
        Some(address) => wrong("ports", format!("{address} cannot be listened on"), "another process may have it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_unix_ms(EARLIEST + days * DAY_MS)
    }

    #[test]
    fn what_expires_is_told_before_it_does() {
        let state = |name, days| expiry(name, at(days), at(0)).state;
        assert_eq!(state("the certificate of gate", 90), State::Good);
        assert_eq!(state("the certificate of gate", 6), State::Warning);
        assert_eq!(state("the certificate of gate", -1), State::Wrong);
        assert_eq!(state("the revocation list of CA", 6), State::Good, "lists live for days");
        assert_eq!(state("the revocation list of CA", 0), State::Warning);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_and_one_that_can_is_left_clean() {
        let place = tempfile::tempdir().unwrap();
        assert_ne!(sync(place.path()).state, State::Wrong);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        assert_eq!(sync(&place.path().join("nowhere")).state, State::Wrong);
        assert_eq!(nearest(&place.path().join("a/b/c")), place.path());
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(clock(place.path()).state, State::Good);
        let mark = fs::File::create(place.path().join("mark")).unwrap();
        mark.set_modified(SystemTime::now() + Duration::from_secs(3_600)).unwrap();
        assert_eq!(clock(place.path()).state, State::Wrong);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        let free = |config: &mut Config| {
            for address in [&mut config.chargers.listen, &mut config.processors.listen, &mut config.console.listen] {
                *address = SocketAddr::from(([127, 0, 0, 1], 0));
            }
        };
        free(&mut config);
        assert_eq!(ports(&config, false).state, State::Good);
        config.processors.listen = taken.local_addr().unwrap();
        let found = ports(&config, false);
        assert_eq!(found.state, State::Wrong);
        assert!(found.detail.contains(&config.processors.listen.to_string()), "{}", found.detail);
    }
}
