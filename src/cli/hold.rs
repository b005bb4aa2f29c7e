//! `wattstile hold`, `operation` and `refund`: the money of sessions, and orders about it.

use super::gate_or_data::{List, Most, Source, Which, give, moment, table};
use super::{CliError, Exit, Output};
use crate::api::{HoldRow, HoldSheet, OperationRow, OperationSheet, Refunding, Releasing, SessionSheet, TimelineRow};
use crate::units::{SessionId, Typed};
use crate::web::segment;
use rust_decimal::Decimal;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Holds.
#[derive(Debug, clap::Args)]
pub struct Holds {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List holds that have not ended
    Ls(Most),
    /// Show one, and everything that was asked about it
    #[command(after_help = "Example:\n  wattstile hold show op_0198c...")]
    Show(One),
    /// Release one, whatever its session thinks; refused once money is being taken from it
    #[command(after_help = "Example:\n  wattstile hold release op_0198c... --dry-run")]
    Release(Release),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The hold: its own id, or that of its authorization
    id: String,
}

#[derive(Debug, clap::Args)]
struct Release {
    /// The hold: its own id, or that of its authorization
    id: String,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

/// Operations.
#[derive(Debug, clap::Args)]
pub struct Operations {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: OperationVerb,
}

#[derive(Debug, clap::Subcommand)]
enum OperationVerb {
    /// Show one: what was asked of whom, and what became of it
    #[command(after_help = "Example:\n  wattstile operation show op_0198c...")]
    Show(Operation),
}

#[derive(Debug, clap::Args)]
struct Operation {
    /// Its id
    id: String,
}

/// Refunds.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  wattstile refund 0198c --amount 2.50 --dry-run\n  wattstile refund 0198c --all\n\n\
    Without --all, --amount or --total it asks on a terminal, and refuses elsewhere."
)]
pub struct Refund {
    #[command(flatten)]
    which: Which,
    /// The session's id, or the beginning of it; or the whole id of a top-up
    id: String,
    /// Give back everything that is left
    #[arg(long, conflicts_with_all = ["amount", "total"])]
    all: bool,
    /// How much
    #[arg(long, conflicts_with = "total")]
    amount: Option<Typed>,
    /// How much in all, earlier refunds included: repeating the order gives nothing back twice
    #[arg(long)]
    total: Option<Typed>,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

/// `wattstile hold`
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn holds(args: Holds, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Ls(most) => {
            let list = List {
                path: "holds",
                query: Vec::new(),
                most: most.limit,
                heads: &["hold", "processor", "state", ">authorized", ">captured", "currency", "lapses"],
                if_empty: None,
            };
            list.give(&source, output, hold_cells)?;
        }
        Verb::Show(One { id }) => {
            let document = source.get(&format!("holds/{}", segment(&id)), &[])?;
            let sheet: HoldSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| show(out, &sheet))?;
        }
        Verb::Release(Release { id, dry_run }) => {
            let document = source.post(&format!("holds/{}/release", segment(&id)), &Releasing { dry_run })?;
            give(output, &document, |out| asked(out, &document))?;
        }
    }
    Ok(Exit::Ok)
}

/// `wattstile operation`
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn operations(args: Operations, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    let OperationVerb::Show(Operation { id }) = args.verb;
    let document = source.get(&format!("operations/{}", segment(&id)), &[])?;
    let sheet: OperationSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
    give(output, &document, |out| {
        let row = &sheet.row;
        writeln!(out, "{}  {} of {} {}: {}", row.id, row.kind, sheet.currency, row.amount, row.state)?;
        let mut lines = vec![("session", sheet.session.clone()), ("processor", row.processor.clone())];
        lines.push(("hold", format!("{}  {}", row.hold_id, row.hold)));
        lines.extend(row.reference.clone().map(|name| ("reference", name)));
        lines.extend(row.requested_at.clone().map(|at| ("asked at", moment(&at))));
        lines.extend(row.answered_at.clone().map(|at| ("answered at", moment(&at))));
        for (name, value) in lines {
            writeln!(out, "  {name:<16}{value}")?;
        }
        timeline(out, &sheet.timeline, sheet.timeline_is_cut)
    })?;
    Ok(Exit::Ok)
}

/// `wattstile refund`
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn refund(args: Refund, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    let id = match (source.get(&format!("sessions/{}", segment(&args.id)), &[]), args.id.parse::<SessionId>()) {
        (Ok(found), _) => serde_json::from_value::<SessionSheet>(found).map_err(CliError::failed)?.row.id,
        // A top-up is no session, and its money can be given back all the same.
        (Err(error), Ok(whole)) if error.exit == Exit::NotFound => whole.to_string(),
        (Err(error), _) => return Err(error),
    };
    let is_said = args.all || args.amount.is_some() || args.total.is_some() || args.dry_run;
    // By here everything is meant where no amount is named: by --all, by a dry run, or by the answer to the question.
    let all = args.amount.is_none() && args.total.is_none();
    let wish = Refunding { amount: args.amount, total: args.total, all, dry_run: args.dry_run };
    if !is_said && !everything_is_meant(&source, &id, output)? {
        return Ok(Exit::Refused);
    }
    let document = source.post(&format!("sessions/{id}/refund"), &wish)?;
    give(output, &document, |out| asked(out, &document))?;
    Ok(Exit::Ok)
}

/// Asks for confirmation that the whole rest is to be refunded, where no amount is given.
///
/// # Errors
///
/// [`Exit::Usage`] without a terminal for the question.
fn everything_is_meant(source: &Source, session: &str, output: &Output) -> Result<bool, CliError> {
    if output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let error = CliError::new(Exit::Usage, "how much is to be given back is not stated");
        return Err(error.help("--all gives back everything that is left, --amount or --total a part of it"));
    }
    let wish = Refunding { all: true, dry_run: true, ..Refunding::default() };
    let document = source.post(&format!("sessions/{}/refund", segment(session)), &wish)?;
    let mut shown = Vec::new();
    asked(&mut shown, &document).map_err(CliError::failed)?;
    eprint!("{}Give all of it back? [y/N] ", String::from_utf8_lossy(&shown));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(CliError::failed)?;
    let is_meant = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !is_meant {
        output.inform("nothing was given back");
    }
    Ok(is_meant)
}

fn hold_cells(row: &HoldRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.processor.clone(),
        row.state.clone(),
        row.authorized.to_string(),
        row.captured.to_string(),
        row.currency.clone(),
        moment(&row.expires_at),
    ]
}

fn show(out: &mut dyn Write, sheet: &HoldSheet) -> io::Result<()> {
    let row = &sheet.row;
    let money = |amount: Decimal| format!("{} {amount}", row.currency);
    writeln!(out, "{}  {}", row.id, row.state)?;
    for (name, value) in [
        ("session", format!("{}  {}", row.session, sheet.session_state)),
        ("processor", row.processor.clone()),
        ("reference", row.reference.clone().unwrap_or_else(|| "not known".to_owned())),
        ("authorized", money(row.authorized)),
        ("captured", money(row.captured)),
        ("refunded", money(sheet.refunded)),
        ("lapses", moment(&row.expires_at)),
    ] {
        writeln!(out, "  {name:<16}{value}")?;
    }
    let cells: Vec<Vec<String>> = sheet.operations.iter().map(cells).collect();
    table(out, &["operation", "what", ">amount", "state", "asked at"], &cells)?;
    timeline(out, &sheet.timeline, sheet.timeline_is_cut)
}

/// The history with sources and times: each line was on disk before its consequences left the gate.
fn timeline(out: &mut dyn Write, rows: &[TimelineRow], is_cut: bool) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| vec![moment(&row.at), after(row.after_ms), row.by.clone(), row.text.clone()]).collect();
    writeln!(out)?;
    table(out, &["when", ">after", "who", "what"], &cells)?;
    if is_cut { writeln!(out, "  … later repetitions and inquiries are not listed") } else { Ok(()) }
}

/// `+81 ms`, `+8.081 s`, `+2 h 5 min`.
fn after(ms: i64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms.abs() < 1_000 => format!("{ms:+} ms"),
        ms if ms.abs() < 120_000 => format!("{:+}.{:03} s", ms / 1_000, ms.abs() % 1_000),
        ms if ms.abs() < 7_200_000 => format!("{:+} min", ms / 60_000),
        ms => format!("{:+} h {} min", ms / 3_600_000, ms.abs() / 60_000 % 60),
    }
}

fn cells(row: &OperationRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.kind.clone(),
        row.amount.to_string(),
        row.state.clone(),
        row.requested_at.as_deref().map(moment).unwrap_or_default(),
    ]
}

/// The requests to processors of an order about money.
fn asked(out: &mut dyn Write, document: &Value) -> io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let currency = text(&document["currency"]);
    let operations = document["operations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if operations.is_empty() {
        return writeln!(out, "{}  it was asked for before; nothing more is", text(&document["session"]));
    }
    let dry = document["dry_run"].as_bool() == Some(true);
    for operation in operations {
        let (kind, processor) = (text(&operation["kind"]), text(&operation["processor"]));
        let amount = operation["amount"].as_str().map(|amount| format!(" {currency} {amount}")).unwrap_or_default();
        if dry {
            writeln!(out, "{processor}  would be asked: {kind}{amount}  (nothing was changed)")?
        } else {
            writeln!(out, "{processor}  is asked: {kind}{amount}  {}", text(&operation["operation"]))?
        }
    }
    let standing = ["captured", "refunded", "refunding", "held"];
    let standing = standing.map(|key| format!("{key} {}", text(&document[key])));
    writeln!(out, "  {currency}  {}", standing.join(", "))
}
