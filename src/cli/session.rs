//! `wattstile session`: what sessions there are, and one in full.

use super::gate_or_data::{List, Source, Which, cost, give, kwh, moment, table};
use super::{CliError, Exit, Output, quarantine};
use crate::api::{FLAGS, SESSION_STATES, SessionRow, SessionSheet};
use crate::billing::duration;
use crate::units::{Timestamp, counted};
use crate::web::segment;
use rust_decimal::Decimal;
use serde_json::Value;
use std::io::{self, Write};

/// Sessions.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List sessions, the newest first
    #[command(after_help = "Example:\n  wattstile session ls --state charging --charger AMS-")]
    Ls(Ls),
    /// Show one session: figures and what was asked of processors
    #[command(after_help = "Example:\n  wattstile session show 0198c")]
    Show(One),
    /// Explain a session's price, line by line
    #[command(after_help = "Example:\n  wattstile session explain --last")]
    Explain(One),
    /// Stop a session
    #[command(after_help = "Example:\n  wattstile session stop 0198c")]
    Stop(One),
    /// Review what was reported of sessions and is not billed
    #[command(subcommand)]
    Quarantine(quarantine::Verb),
}

#[derive(Debug, clap::Args)]
struct Ls {
    /// Only sessions in this state
    #[arg(long, value_name = "STATE", value_parser = SESSION_STATES)]
    state: Option<String>,
    /// The beginning of a charger's id
    #[arg(long, value_name = "PREFIX")]
    charger: Option<String>,
    /// Only sessions with this flag
    #[arg(long, value_name = "FLAG", value_parser = FLAGS)]
    flag: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The session's id, or the beginning of it
    #[arg(required_unless_present = "last")]
    id: Option<String>,
    /// The newest session
    #[arg(long, conflicts_with = "id")]
    last: bool,
}

impl One {
    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("last")
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Ls(ls) => list(&source, &ls, output)?,
        Verb::Show(one) => {
            let (document, sheet) = sheet(&source, &one)?;
            give(output, &document, |out| show(out, &sheet))?;
        }
        Verb::Quarantine(verb) => quarantine::run(verb, &source, output)?,
        Verb::Explain(one) => {
            let (document, sheet) = sheet(&source, &one)?;
            give(output, &document, |out| explain(out, &sheet))?;
        }
        Verb::Stop(one) => {
            let (_, sheet) = sheet(&source, &one)?;
            let document = source.post(&format!("sessions/{}/stop", sheet.row.id), &serde_json::json!({}))?;
            give(output, &document, |out| match document["ordered"].as_bool() {
                Some(true) => writeln!(out, "{}  is ordered to stop", sheet.row.id),
                _ => writeln!(out, "{}  is over already ({})", sheet.row.id, sheet.row.shown_state()),
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn sheet(source: &Source, one: &One) -> Result<(Value, SessionSheet), CliError> {
    let document = source.get(&format!("sessions/{}", segment(one.name())), &[])?;
    let sheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
    Ok((document, sheet))
}

fn list(source: &Source, ls: &Ls, output: &Output) -> Result<(), CliError> {
    let state = ls.state.clone().map(|state| ("state", state));
    let charger = ls.charger.clone().map(|charger| ("charger", charger));
    let list = List {
        path: "sessions",
        query: state.into_iter().chain(charger).chain(ls.flag.clone().map(|flag| ("flag", flag))).collect(),
        most: Some(ls.limit),
        heads: &[
            "session",
            "state",
            "charger",
            "protocol",
            "started",
            ">kWh",
            ">cost",
            ">held",
            ">captured",
            "currency",
        ],
        if_empty: None,
    };
    list.give(source, output, cells)
}

fn cells(row: &SessionRow) -> Vec<String> {
    vec![
        row.id.clone(),
        row.shown_state().to_owned(),
        format!("{}/{}", row.charger, row.connector),
        row.protocol.clone(),
        moment(&row.started_at),
        kwh(row.energy_kwh),
        cost(row.cost, row.held.scale()),
        row.held.to_string(),
        row.captured.to_string(),
        row.currency.clone(),
    ]
}

fn head(out: &mut dyn Write, sheet: &SessionSheet, moment: &dyn Fn(&str) -> String) -> io::Result<()> {
    let row = &sheet.row;
    writeln!(
        out,
        "{}  {}/{}  tariff {} (sha256 {}…)  {}",
        row.id,
        row.charger,
        row.connector,
        sheet.tariff,
        sheet.tariff_sha256.get(..8).unwrap_or_default(),
        row.shown_state()
    )?;
    let until = match (&row.ended_at, &row.end_reason) {
        (Some(at), Some(why)) => format!(" → {}  {why}", moment(at)),
        _ => String::new(),
    };
    writeln!(out, "  {}{until}", moment(&row.started_at))
}

fn show(out: &mut dyn Write, sheet: &SessionSheet) -> io::Result<()> {
    head(out, sheet, &moment)?;
    let (row, [first, last]) = (&sheet.row, sheet.register_kwh);
    let money = |amount: Decimal| format!("{} {amount}", row.currency);
    let exact = if sheet.gross == sheet.payable {
        String::new()
    } else {
        format!("  ({} before rounding)", sheet.gross.normalize())
    };
    let mut facts = vec![
        ("credential", row.credential.clone()),
        ("energy", format!("{} kWh  (meter {} to {})", kwh(row.energy_kwh), kwh(first), kwh(last))),
        ("readings", format!("{}  ({} rejected)", row.readings, sheet.suspects)),
        ("to pay", format!("{}{exact}", money(sheet.payable))),
        ("held", money(row.held)),
        ("captured", money(row.captured)),
        ("released", money(sheet.released)),
    ];
    if let Some(kept) = row.quarantined_kwh {
        facts.push(("for review", format!("{} kWh", kwh(kept))));
    }
    for value in &sheet.signed_values {
        facts.push((
            "signed",
            format!("at the {}, {}: {}", value.moment, value.encoding, value.verification.replace('_', " ")),
        ));
    }
    if let Some(quarantine) = &sheet.quarantine {
        let ruled = match (&quarantine.ruling, &quarantine.ruled_at) {
            (Some(ruling), Some(at)) => format!(": {ruling} at {}", moment(at)),
            _ => String::new(),
        };
        facts.push(("kept", format!("{}{ruled}", quarantine.cause)));
    }
    if !row.flags.is_empty() {
        facts.push(("flags", row.flags.join(", ")));
    }
    facts.extend(sheet.limit.map(|limit| ("limit", money(limit))));
    if !sheet.shortfall.is_zero() {
        facts.push(("still owed", money(sheet.shortfall)));
    }
    for dispute in &sheet.disputes {
        let outcome = match dispute.state.as_str() {
            "open" => "disputed, not decided yet".to_owned(),
            state => format!("dispute {state}"),
        };
        facts.push(("dispute", format!("{}  {outcome}", money(dispute.amount))));
    }
    facts.extend(sheet.settled_at.as_deref().map(|at| ("settled", moment(at))));
    writeln!(out)?;
    for (name, value) in facts {
        writeln!(out, "  {name:<12}{value}")?;
    }
    writeln!(out)?;
    let rows: Vec<Vec<String>> = sheet
        .operations
        .iter()
        .map(|operation| {
            let blank = String::new();
            vec![
                format!("  {}", operation.kind),
                operation.processor.clone(),
                operation.amount.to_string(),
                operation.state.clone(),
                operation.reference.clone().unwrap_or(blank),
                operation.id.clone(),
            ]
        })
        .collect();
    table(out, &["  operation", "processor", ">amount", "state", "reference", "id"], &rows)
}

fn explain(out: &mut dyn Write, sheet: &SessionSheet) -> io::Result<()> {
    // The lines have the charger's clock, and the head beside them the same.
    head(out, sheet, &|time| on_the_clock_of(&sheet.zone, time))?;
    writeln!(out)?;
    let clock = |time: &str| time.get(11..16).unwrap_or(time).to_owned();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in &sheet.lines {
        let name = line.dimension.replace('_', " ").to_uppercase();
        let (unit, show): (&str, fn(Decimal) -> String) = match line.unit.as_str() {
            "kWh" => ("kWh", kwh),
            "s" => ("", duration),
            _ => ("", |count| count.normalize().to_string()),
        };
        let quantity = if line.measured == line.billed {
            format!("{} {unit}", show(line.billed))
        } else {
            format!("{} → {} {unit}", show(line.measured), show(line.billed))
        };
        let per = match line.unit.as_str() {
            "kWh" => "/kWh",
            "s" => "/h",
            _ => "",
        };
        rows.push(vec![
            format!("  {} {} {}", line.element, name, line.reason).trim_end().to_owned(),
            clock(&line.from),
            clock(&line.to),
            quantity.trim_end().to_owned(),
            format!("{}{per}", line.price),
            four(if line.price_includes_vat { line.gross } else { line.net }),
        ]);
    }
    let sum = |name: String, figure: Decimal| {
        vec![String::new(), String::new(), String::new(), String::new(), name, four(figure)]
    };
    let includes_vat = sheet.lines.first().is_some_and(|line| line.price_includes_vat);
    let vat: Vec<Vec<String>> = sheet
        .vat
        .iter()
        .filter(|(_, vat)| !vat.is_zero())
        .map(|(percent, vat)| sum(percent.map_or("VAT".to_owned(), |percent| format!("VAT {percent} %")), *vat))
        .collect();
    if includes_vat {
        // The lines hold it already.
        rows.push(sum("total".to_owned(), sheet.gross));
        rows.push(sum("net in it".to_owned(), sheet.net));
        rows.extend(vat);
    } else {
        rows.push(sum("net".to_owned(), sheet.net));
        rows.extend(vat);
        rows.push(sum("total".to_owned(), sheet.gross));
    }
    let basis = if includes_vat { ">incl. VAT" } else { ">excl. VAT" };
    table(out, &["  element", "from", "to", ">quantity", ">price", basis], &rows)?;
    let currency = &sheet.row.currency;
    writeln!(
        out,
        "  rounded once  →  {currency} {}    captured {currency} {}    released {currency} {}",
        sheet.payable, sheet.row.captured, sheet.released
    )?;
    let receipt = if sheet.receipt { ", signed receipt in the archive" } else { "" };
    writeln!(out, "  proof: {}{receipt}", counted(sheet.row.readings, "reading"))
}

/// A time of a document on the clock of a zone: `2026-11-30 06:22:30+01:00`.
fn on_the_clock_of(zone: &str, time: &str) -> String {
    let local = || {
        let zone = jiff::tz::TimeZone::get(zone).ok()?;
        let at = Timestamp::parse_rfc3339(time).ok()?.in_zone(&zone).ok()?;
        Some(at.strftime("%Y-%m-%d %H:%M:%S%:z").to_string())
    };
    local().unwrap_or_else(|| moment(time))
}

fn four(value: Decimal) -> String {
    at_least(value, 4)
}

fn at_least(value: Decimal, decimals: u32) -> String {
    let mut value = value.normalize();
    if value.scale() < decimals {
        value.rescale(decimals);
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_charger() {
        let time = "2026-11-30T05:22:30.79Z";
        assert_eq!(on_the_clock_of("Europe/Amsterdam", time), "2026-11-30 06:22:30+01:00");
        assert_eq!(on_the_clock_of("UTC", time), "2026-11-30 05:22:30+00:00");
        assert_eq!(on_the_clock_of("Nowhere/None", time), "2026-11-30 05:22:30Z");
    }
}
