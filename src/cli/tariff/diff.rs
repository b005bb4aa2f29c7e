//! `wattstile tariff diff`: what recorded sessions would have cost under another tariff.

use super::price::zone_named;
use super::{at, one_tariff};
use crate::billing::reconciliation::table::{self, BadRows, Encoding, Finder, read_text, shortened, wrong_fields};
use crate::cli::{CliError, Exit, Output};
use crate::limits::SETTLEMENT_FILE_BYTES_MAX;
use crate::tariff::{RecordedSession, Tariff};
use crate::units::{Amount, Energy, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Compare what recorded sessions cost with what another tariff would have charged
#[derive(Debug, clap::Args)]
#[command(after_help = "Sessions are a CSV file with the columns session_id, start, end, energy_wh and, if known, \
                        inactive_s (time at the end in which nothing flowed). Power is constant until then.\n\n\
                        Example: wattstile tariff diff old.json new.json --sessions sessions.csv")]
pub struct Args {
    /// The tariff in force
    #[arg(value_name = "A")]
    old: PathBuf,
    /// The tariff to compare it with
    #[arg(value_name = "B")]
    new: PathBuf,
    /// Recorded sessions (CSV)
    #[arg(long, value_name = "FILE")]
    sessions: PathBuf,
    /// The chargers' time zone (IANA)
    #[arg(long, alias = "zone", value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// How many sessions with the largest changes to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    largest: usize,
}

/// A recorded session with its name in the file.
#[derive(Debug)]
struct Row {
    session_id: String,
    line: u64,
    session: RecordedSession,
}

#[derive(Debug, Serialize)]
struct Answer {
    currency: String,
    sessions: u64,
    total_a: String,
    total_b: String,
    difference: String,
    dearer: u64,
    cheaper: u64,
    unchanged: u64,
    largest: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    session: String,
    a: String,
    b: String,
    difference: String,
    #[serde(skip)]
    minor: i64,
}

/// Prices every session twice; amounts are payable amounts after tax.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let tariff = |path: &Path| -> Result<Tariff, CliError> { Ok(one_tariff(path, None)?.tariff) };
    let (old, new) = (tariff(&args.old)?, tariff(&args.new)?);
    if old.currency() != new.currency() {
        let message = format!("{} and {} are different currencies", old.currency(), new.currency());
        return Err(CliError::new(Exit::Usage, message));
    }
    let zone = zone_named(&args.timezone)?;
    let currency = old.currency();
    let overflow = |error: crate::units::MoneyError| at(&args.sessions, error);
    let (mut total_a, mut total_b) = (Amount::zero(currency), Amount::zero(currency));
    let (mut dearer, mut cheaper, mut unchanged) = (0, 0, 0);
    let mut changes: Vec<Change> = Vec::new();
    for row in rows(&args.sessions)? {
        let named = |error: crate::tariff::RatingError| at(&args.sessions, format!("line {}: {error}", row.line));
        let price = |tariff: &Tariff| payable(&row.session, tariff, &zone);
        let (a, b) = (price(&old).map_err(named)?, price(&new).map_err(named)?);
        total_a = total_a.checked_add(a).map_err(overflow)?;
        total_b = total_b.checked_add(b).map_err(overflow)?;
        let difference = b.checked_sub(a).map_err(overflow)?;
        match difference.minor {
            0 => unchanged += 1,
            1.. => dearer += 1,
            _ => cheaper += 1,
        }
        if difference.minor != 0 {
            let text = |amount: Amount| amount.major().to_string();
            let (session, minor) = (row.session_id, difference.minor);
            changes.push(Change { session, a: text(a), b: text(b), difference: text(difference), minor });
        }
    }
    changes.sort_by_key(|change| std::cmp::Reverse(change.minor.unsigned_abs()));
    changes.truncate(args.largest);
    let difference = total_b.checked_sub(total_a).map_err(overflow)?;
    let answer = Answer {
        currency: currency.to_string(),
        sessions: dearer + cheaper + unchanged,
        total_a: total_a.major().to_string(),
        total_b: total_b.major().to_string(),
        difference: difference.major().to_string(),
        dearer,
        cheaper,
        unchanged,
        largest: changes,
    };
    output.answer("tariff-diff/1", &answer, |out| text(out, &answer))?;
    Ok(Exit::Ok)
}

/// The sessions of a file; every row that cannot be read is reported at once.
fn rows(path: &Path) -> Result<Vec<Row>, CliError> {
    let file = std::fs::File::open(path).map_err(|error| CliError::file(path, &error))?;
    let text = read_text(file, Encoding::Utf8, SETTLEMENT_FILE_BYTES_MAX).map_err(|fault| at(path, fault))?;
    let (mut reader, names) = table::open(&text, b',').map_err(|error| at(path, error))?;
    let mut finder = Finder::of(&names);
    let columns = COLUMNS.map(|name| finder.find(name));
    let inactive = finder.has(INACTIVE).then(|| finder.find(INACTIVE));
    finder.done().map_err(|error| at(path, format!("line 1: {error}")))?;
    let (mut rows, mut bad) = (Vec::new(), BadRows::default());
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| at(path, error))?;
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let read = if record.len() == names.len() {
            session_of(&record, &columns, inactive).map_err(|(column, why)| {
                let value = shortened(record.get(column).unwrap_or_default());
                format!("column `{}`: `{value}` {why}", names.get(column).unwrap_or_default())
            })
        } else {
            Err(wrong_fields(&record, names.len()))
        };
        match read {
            Ok(session) => {
                let session_id = record.get(columns[0]).unwrap_or_default().to_owned();
                match seen.entry(session_id.clone()) {
                    // An empty name names nothing: such a file has sessions without ids.
                    Entry::Occupied(earlier) if !session_id.is_empty() => {
                        let (value, first) = (shortened(&session_id), earlier.get());
                        bad.push(format!("line {line}, column `{}`: `{value}` is in line {first} already", COLUMNS[0]));
                    }
                    entry => {
                        entry.or_insert(line);
                        rows.push(Row { session_id, line, session });
                    }
                }
            }
            Err(why) => bad.push(format!("line {line}, {why}")),
        }
    }
    match (bad.is_empty(), rows.is_empty()) {
        (false, _) => Err(at(path, bad)),
        (true, true) => Err(at(path, "there is no session below the line of names")),
        (true, false) => Ok(rows),
    }
}

/// The columns that a file has, and one that it may have.
const COLUMNS: [&str; 4] = ["session_id", "start", "end", "energy_wh"];
const INACTIVE: &str = "inactive_s";

/// A session, or the column that cannot be read and why.
fn session_of(
    record: &csv::StringRecord,
    columns: &[usize; 4],
    inactive: Option<usize>,
) -> Result<RecordedSession, (usize, String)> {
    let text = |column: usize| record.get(column).unwrap_or_default();
    let time = |column: usize| {
        let wrong = |_| (column, "is not an RFC 3339 time with offset, like 2026-03-01T10:00:00+01:00".to_owned());
        Timestamp::parse_rfc3339(text(column)).map_err(wrong)
    };
    let (start, end) = (time(columns[1])?, time(columns[2])?);
    let energy = text(columns[3]).parse::<Decimal>().ok().and_then(|wh| Energy::from_kwh(wh / Decimal::ONE_THOUSAND));
    let energy = energy.filter(|energy| *energy >= Energy::ZERO);
    let energy = energy
        .ok_or_else(|| (columns[3], "is not an energy in Wh, of 0 or more and with a decimal point".to_owned()))?;
    let inactive = match inactive.filter(|column| !text(*column).is_empty()) {
        Some(column) => text(column)
            .parse::<u32>()
            .map_err(|_| (column, format!("is not a whole number from 0 to {}", u32::MAX)))?,
        None => 0,
    };
    let inactive = TimeSpan::from_secs(i64::from(inactive));
    RecordedSession::of_total(start, end, energy, inactive)
        .ok_or_else(|| (columns[2], "lies before the start".to_owned()))
}

fn payable(session: &RecordedSession, tariff: &Tariff, zone: &TimeZone) -> Result<Amount, crate::tariff::RatingError> {
    let total = session.price(tariff, zone)?.rating.total(tariff)?;
    Ok(total.payable()?)
}

fn text(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    let Answer { currency, sessions, total_a, total_b, difference, dearer, cheaper, unchanged, largest } = answer;
    writeln!(
        out,
        "{}: {currency} {total_a} under A, {currency} {total_b} under B ({difference})",
        crate::units::counted(*sessions, "session")
    )?;
    writeln!(out, "{dearer} dearer, {cheaper} cheaper, {unchanged} unchanged")?;
    for Change { session, a, b, difference, .. } in largest {
        writeln!(out, "  {session:<24} {a:>10} -> {b:>10}  ({difference})")?;
    }
    Ok(())
}
