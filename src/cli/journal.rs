//! `wattstile journal`: reads the data directory of a gate that is not running.

use super::output::{BAD, DIM, GOOD};
use super::{CliError, Exit, Output, gate_or_data};
use crate::journal::{
    self, DATA_VERSION, DataDir, Failure, Inspection, Left, Lost, Record, RecordKind, RescuedPartition,
};
use crate::node::fact::Fact;
use crate::node::version_4;
use crate::units::{by_count, counted};
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The journal.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check every record, snapshot and archived session
    #[command(after_help = "Example:\n  wattstile journal verify\n\n\
        Ends with 0 when everything is as it was written, with 65 when something is \
        damaged: each damage is named with its place and with what is lost.")]
    Verify(DataArgs),
    /// Write intact data in a damaged data directory into a new one
    ///
    /// Takes of every partition its newest whole snapshot and every record behind it up
    /// to the first one that is missing, and the archive as it is. The loss is named.
    /// The damaged directory is only read.
    #[command(after_help = "Example:\n  wattstile journal rescue .wattstile/gate/data /srv/wattstile/rescued\n\n\
        Ends with 0 when nothing is lost, with 65 when something is; the new directory is \
        there in both cases. `backup restore` may know more: compare before you go on.")]
    Rescue {
        /// The damaged data directory
        data: PathBuf,
        /// The new data directory: empty or not there
        to: PathBuf,
    },
    /// Show every record of the journal, one JSON document a line
    #[command(after_help = "Example:\n  wattstile journal dump --partition 7 | head")]
    Dump(Dump),
}

#[derive(Debug, clap::Args)]
struct DataArgs {
    /// The gate's data directory
    #[arg(env = "WATTSTILE_DATA", default_value = "./.wattstile")]
    data: PathBuf,
}

impl DataArgs {
    fn data(&self) -> Result<PathBuf, CliError> {
        gate_or_data::existing_data(&self.data)
    }
}

#[derive(Debug, clap::Args)]
struct Dump {
    #[command(flatten)]
    place: DataArgs,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<u16>,
    /// Only records of this kind
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<RecordKind>,
    /// Show payloads as bytes in hexadecimal, not as what they mean
    #[arg(long)]
    raw: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Verify(place) => verify(&place, output),
        Verb::Rescue { data, to } => rescue(&data, &to, output),
        Verb::Dump(dump) => dump.run(output),
    }
}

fn verify(place: &DataArgs, output: &Output) -> Result<Exit, CliError> {
    let found = journal::verify(&place.data()?).map_err(|failure| error(&failure))?;
    output.answer("journal-check/1", &found, |out| show(&found, out))?;
    Ok(if found.whole { Exit::Ok } else { Exit::Corrupt })
}

fn show(found: &Inspection, out: &mut dyn Write) -> std::io::Result<()> {
    for totals in &found.partitions {
        let kinds: Vec<String> = totals.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let snapshot = totals.snapshot_at.map_or_else(|| "none".to_owned(), |at| at.to_string());
        writeln!(
            out,
            "partition {:>5}  last {:>12}  snapshot {snapshot:>12}  in the journal {:>10}  {DIM}{}{DIM:#}",
            totals.partition,
            totals.last,
            totals.records,
            kinds.join(", ")
        )?;
    }
    writeln!(
        out,
        "journal    {} in {}, {}, opened {} times",
        counted(found.records, "record"),
        counted(found.blocks, "block"),
        counted(found.bytes, "byte"),
        found.open_count
    )?;
    if let Some(torn) = &found.torn_tail {
        writeln!(out, "torn tail  {torn}; none of it was acknowledged, and the next start cuts it off")?;
    }
    writeln!(out, "snapshots  {}", counted(found.snapshot_bytes, "byte"))?;
    writeln!(
        out,
        "archive    {}, {}",
        counted(found.archived_sessions, "session"),
        counted(found.archive_bytes, "byte")
    )?;
    for damage in &found.damage {
        writeln!(out, "{BAD}damaged{BAD:#}    {damage}")?;
    }
    for Left { partition, good_to, after } in &found.left {
        write!(out, "left       partition {:>5}  whole up to {good_to}", partition.0)?;
        match after {
            0 => writeln!(out, "; whether there was more is unknown")?,
            after => writeln!(out, "; {} behind the damage", counted(*after, "whole record"))?,
        }
    }
    show_lost(&found.lost, out)?;
    if found.whole { writeln!(out, "{GOOD}whole{GOOD:#}") } else { Ok(()) }
}

fn rescue(data: &Path, to: &Path, output: &Output) -> Result<Exit, CliError> {
    let rescued = journal::rescue(&gate_or_data::existing_data(data)?, to).map_err(|failure| error(&failure))?;
    output.answer("journal-rescue/1", &rescued, |out| {
        for each in &rescued.partitions {
            let RescuedPartition { partition, snapshot_at, good_to, left_behind } = each;
            write!(out, "partition {partition:>5}  whole up to {good_to:>12}  snapshot {snapshot_at:>12}")?;
            match left_behind {
                0 => writeln!(out)?,
                more => writeln!(
                    out,
                    "  {} behind a loss {} behind",
                    counted(*more, "record"),
                    by_count(*more, "stays", "stay")
                )?,
            }
        }
        writeln!(out, "journal    {} recovered", counted(rescued.records, "record"))?;
        writeln!(out, "archive    {} copied unchanged", counted(rescued.archive_files, "file"))?;
        rescued.damage.iter().try_for_each(|damage| writeln!(out, "{BAD}damaged{BAD:#}    {damage}"))?;
        show_lost(&rescued.lost, out)
    })?;
    Ok(if rescued.lost.is_empty() { Exit::Ok } else { Exit::Corrupt })
}

fn show_lost(lost: &[Lost], out: &mut dyn Write) -> std::io::Result<()> {
    lost.iter().try_for_each(|Lost { partition, first, last }| {
        writeln!(out, "{BAD}lost{BAD:#}       partition {:>5}  records {first} to {last}", partition.0)
    })
}

impl Dump {
    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut gone = false;
        let data = self.place.data()?;
        let version = DataDir::version_of(&data).unwrap_or(DATA_VERSION);
        let torn = journal::dump(&data, &mut |record| {
            let wanted = self.partition.is_none_or(|partition| partition == record.partition.0)
                && self.kind.is_none_or(|kind| kind == record.kind);
            if wanted && !gone {
                // A reader that went away (`| head`) has seen enough; the rest is only checked.
                gone = writeln!(out, "{}", line(record, version, self.raw)).is_err();
            }
            Ok(())
        });
        let flushed = out.flush();
        let torn = torn.map_err(|failure| error(&failure))?;
        if let Some(torn) = torn {
            output.warn(format!("a torn tail from block {}: {}", torn.from_block, torn.why));
        }
        match flushed {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(CliError::failed(format!("standard output: {error}")))
            }
            _ => Ok(Exit::Ok),
        }
    }
}

/// A record as one line of JSON.
fn line(record: Record<'_>, version: u32, raw: bool) -> Value {
    let mut line = json!({
        "partition": record.partition.0,
        "sequence": record.sequence.0,
        "kind": record.kind.name(),
    });
    match (if raw { None } else { meaning(record, version) }, line.as_object_mut()) {
        (Some(Value::Object(members)), Some(line)) => line.extend(members),
        (_, Some(line)) => drop(line.insert("payload".to_owned(), hex::encode(record.payload).into())),
        (_, None) => {}
    }
    line
}

/// The content of the payload, if this program can read it.
fn meaning(record: Record<'_>, version: u32) -> Option<Value> {
    fn of(name: &str, id: &impl ToString, event: &impl serde::Serialize) -> Option<Value> {
        Some(json!({ name: id.to_string(), "event": serde_json::to_value(event).ok()? }))
    }
    let fact = match version {
        DATA_VERSION => Fact::read(record).ok(),
        _ => version_4::read(record).ok(),
    };
    match fact? {
        Fact::Session(id, event) => of("session", &id, &event),
        Fact::Charger(id, event) => of("charger", &id, &event),
        Fact::Account(id, event) => of("account", &id, &event),
        Fact::TariffPinned(hash, source) => Some(json!({ "tariff": hash.to_string(), "source": source })),
        Fact::Billing(id, event) => of("series", &id, &event),
        Fact::TopUp(id, event) => of("top_up", &id, &event),
        Fact::Document(event) => Some(json!({ "event": serde_json::to_value(event).ok()? })),
        Fact::Processor(event) => Some(json!({ "event": serde_json::to_value(event).ok()? })),
        Fact::Settlement(event) => Some(json!({ "event": serde_json::to_value(event).ok()? })),
        Fact::Certificate(event) => Some(json!({ "event": serde_json::to_value(event).ok()? })),
    }
}

fn kind(text: &str) -> Result<RecordKind, String> {
    RecordKind::ALL.iter().find(|kind| kind.name() == text).copied().ok_or_else(|| {
        let names: Vec<&str> = RecordKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("kinds are {}", names.join(", "))
    })
}

/// Converts a failure of the journal.
pub(super) fn error(failure: &Failure) -> CliError {
    let exit = match failure.exit_code() {
        65 => Exit::Corrupt,
        78 => Exit::Config,
        _ => Exit::Temporary,
    };
    let error = CliError::new(exit, failure);
    match failure {
        Failure::Damaged(damage) if damage.is_of_the_log() => error.help(
            "`wattstile journal verify` names what every partition has lost; `wattstile journal rescue DATA NEW` writes \
             what is whole into a new directory",
        ),
        Failure::InUse { .. } => error.help(
            "stop it first, or name another directory; `wattstile session ls`, `backup create` and others that ask a \
             gate work while it runs",
        ),
        _ => error,
    }
}

/// While the gate runs, sled panics over some failures of the disk (its own threads write, and unwrap). That is a failure
/// of the journal like any other. Every other panic is a bug and ends the process as one.
pub(super) fn end_when_the_store_cannot_write() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let of_the_store = panic.location().is_some_and(|at| at.file().contains("/sled-0.34"));
        if of_the_store && panic.payload_as_str().is_some_and(|text| text.contains("Os {")) {
            let _ =
                writeln!(std::io::stderr(), "error: the journal failed, the process ends: its store gave up: {panic}");
            std::process::exit(i32::from(Exit::Temporary.code()));
        }
        otherwise(panic);
    }));
}
