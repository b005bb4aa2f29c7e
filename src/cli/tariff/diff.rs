//! `wattstile tariff diff`: what recorded sessions would have cost under another tariff.

use super::price::zone_named;
use super::{at, one_tariff};
use crate::cli::{CliError, Exit, Output};
use crate::tariff::{RecordedSession, Tariff};
use crate::units::{Amount, Energy, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Tell what recorded sessions would have cost under another tariff
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

#[derive(Debug, Deserialize)]
struct Row {
    session_id: String,
    start: String,
    end: String,
    energy_wh: rust_decimal::Decimal,
    #[serde(default)]
    inactive_s: Option<i64>,
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
    for (line, row) in rows(&args.sessions)?.into_iter().enumerate() {
        let named = |error: &dyn std::fmt::Display| at(&args.sessions, format!("row {}: {error}", line + 2));
        let session = row.session().map_err(|error| named(&error))?;
        let price = |tariff: &Tariff| payable(&session, tariff, &zone);
        let (a, b) = (price(&old).map_err(|error| named(&error))?, price(&new).map_err(|error| named(&error))?);
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

fn rows(path: &Path) -> Result<Vec<Row>, CliError> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| at(path, error))?;
    reader.deserialize().collect::<Result<_, _>>().map_err(|error| at(path, error))
}

impl Row {
    fn session(&self) -> Result<RecordedSession, String> {
        let time = |text: &str| Timestamp::parse_rfc3339(text).map_err(|error| error.to_string());
        let (start, end) = (time(&self.start)?, time(&self.end)?);
        let energy = Energy::from_kwh(self.energy_wh / rust_decimal::Decimal::ONE_THOUSAND);
        let energy = energy.filter(|energy| *energy >= Energy::ZERO);
        let energy = energy.ok_or_else(|| format!("energy_wh {} is out of range", self.energy_wh))?;
        let inactive = TimeSpan::from_secs(self.inactive_s.unwrap_or(0).max(0));
        RecordedSession::of_total(start, end, energy, inactive).ok_or_else(|| "it ends before it starts".to_owned())
    }
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
