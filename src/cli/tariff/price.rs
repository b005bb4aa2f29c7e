//! `wattstile tariff price`: what a session costs, line by line.

use super::{at, faulty, one_tariff, read};
use crate::cli::{CliError, Exit, Output};
use crate::tariff::{Cdr, Parsed, PriceReport, PriceText, RecordedSession, Severity, zone_named as zone};
use crate::units::Currency;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Price a CDR, a run or a list of readings
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("session").required(true),
    after_help = "Examples:\n  wattstile tariff price --tariff T.json --cdr CDR.json --json\n  \
                  wattstile tariff price --tariff T.json --readings R.json"
)]
pub struct Args {
    /// The OCPI tariff; without it, the one inside the CDR
    #[arg(long, value_name = "FILE", required_unless_present = "cdr")]
    tariff: Option<PathBuf>,
    /// The tariff's id, where its file is a list; without it, the one that the CDR names
    #[arg(long, value_name = "ID", requires = "tariff")]
    tariff_id: Option<String>,
    /// An OCPI CDR
    #[arg(long, value_name = "FILE", group = "session")]
    cdr: Option<PathBuf>,
    /// A session of which only power, energy and times are known
    #[arg(long, value_name = "FILE", group = "session")]
    run: Option<PathBuf>,
    /// A session's meter readings
    #[arg(long, value_name = "FILE", group = "session")]
    readings: Option<PathBuf>,
    /// The charger's time zone (IANA), instead of the one in the file
    #[arg(long, alias = "zone", value_name = "ZONE")]
    timezone: Option<String>,
}

/// Prices and prints.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let zone = args.timezone.as_deref().map(zone_named).transpose()?;
    let report = match (&args.cdr, &args.run, &args.readings) {
        (Some(path), ..) => of_cdr(&args, path, zone)?,
        (_, Some(path), _) => of_session(&args, path, zone, RecordedSession::parse_run)?,
        (_, _, Some(path)) => of_session(&args, path, zone, RecordedSession::parse_readings)?,
        (None, None, None) => return Err(CliError::new(Exit::Usage, "nothing to price")),
    };
    output.answer("tariff-price/1", &report, |out| text(out, &report))?;
    Ok(Exit::Ok)
}

fn of_cdr(args: &Args, path: &Path, zone: Option<TimeZone>) -> Result<PriceReport, CliError> {
    let cdr = Cdr::parse(&read(path)?).map_err(|error| faulty(path, &error))?;
    let tariff = match &args.tariff {
        Some(file) => of_list(file, args.tariff_id.as_deref(), cdr.tariff_id.as_deref())?,
        None => match cdr.own_tariff() {
            Some(tariff) => Parsed {
                tariff: tariff.map_err(|error| at(path, format!("the tariff in the CDR: {error}")))?,
                warnings: Vec::new(),
            },
            None => return Err(at(path, "there is no tariff in the CDR").help("name one with --tariff")),
        },
    };
    let known = zone.or_else(|| cdr.zone.clone());
    let zone = known.clone().unwrap_or(TimeZone::UTC);
    let priced = cdr.price(&tariff.tariff, &zone).map_err(|error| at(path, error))?;
    let mut report = PriceReport::of_cdr(&cdr, &priced, &tariff.tariff).map_err(|error| at(path, error))?;
    let totals = cdr.check_totals(&report);
    if let Some(wrong) = totals.iter().find(|finding| finding.severity == Severity::Error) {
        let refusal = at(path, format!("{}: {}: {}", wrong.position, wrong.path, wrong.message));
        return Err(refusal.help(wrong.help.as_deref().unwrap_or_default()));
    }
    report.found("CDR", &cdr.findings);
    report.found("CDR", &cdr.check(&tariff.tariff, &zone, &priced).map_err(|error| at(path, error))?);
    report.found("CDR", &totals);
    report.found("tariff", &tariff.warnings);
    without_zone(&mut report, known.as_ref());
    Ok(report)
}

fn of_session(
    args: &Args,
    path: &Path,
    zone: Option<TimeZone>,
    parse: fn(&str) -> Result<RecordedSession, crate::tariff::TariffError>,
) -> Result<PriceReport, CliError> {
    let Some(tariff) = &args.tariff else { return Err(CliError::new(Exit::Usage, "--tariff is needed")) };
    let tariff = one_tariff(tariff, args.tariff_id.as_deref())?;
    let session = parse(&read(path)?).map_err(|error| faulty(path, &error))?;
    let known = zone.or_else(|| session.zone.clone());
    let zone = known.clone().unwrap_or(TimeZone::UTC);
    let priced = session.price(&tariff.tariff, &zone).map_err(|error| at(path, error))?;
    let mut report = PriceReport::of_session(&priced, &tariff.tariff).map_err(|error| at(path, error))?;
    report.found("tariff", &tariff.warnings);
    without_zone(&mut report, known.as_ref());
    Ok(report)
}

fn without_zone(report: &mut PriceReport, zone: Option<&TimeZone>) {
    if zone.is_none() {
        report.warn("time_zone_unknown", "no time zone is given; UTC is used");
    }
}

/// The tariff of a file that is meant: by the id that is given, else by the one that the CDR names.
fn of_list(file: &Path, given: Option<&str>, named: Option<&str>) -> Result<Parsed, CliError> {
    match one_tariff(file, given) {
        Err(error) if given.is_none() && named.is_some() => one_tariff(file, named).map_err(|_| error),
        found => found,
    }
}

pub(super) fn zone_named(name: &str) -> Result<TimeZone, CliError> {
    zone(name).map_err(|error| CliError::new(Exit::Usage, error))
}

/// Hours as on a clock: `1:58:22.8` is exact where a decimal of an hour is not.
fn clock(hours: &str) -> String {
    let ms = hours.parse::<Decimal>().ok().and_then(|hours| hours.checked_mul(Decimal::from(3_600_000)));
    let Some(ms) = ms.and_then(|ms| ms.round().to_i64()) else { return hours.to_owned() };
    let (seconds, rest) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
    let rest = if rest == 0 { String::new() } else { format!(".{rest:03}").trim_end_matches('0').to_owned() };
    format!(
        "{}:{:02}:{:02}{rest}",
        seconds.div_euclid(3_600),
        seconds.div_euclid(60).rem_euclid(60),
        seconds.rem_euclid(60)
    )
}

/// A cost as the other commands show it: `EUR 3.90`, with at least the decimals of the currency.
fn money(currency: &str, exact: &str) -> String {
    let decimals = currency.parse::<Currency>().map_or(0, |currency| u32::from(currency.exponent()));
    match exact.parse::<Decimal>() {
        Ok(value) => {
            let mut value = value.normalize();
            value.rescale(value.scale().max(decimals));
            format!("{currency} {value}")
        }
        Err(_) => format!("{currency} {exact}"),
    }
}

fn text(out: &mut dyn Write, report: &PriceReport) -> io::Result<()> {
    let currency = &report.currency;
    for segment in &report.segments {
        let unit = match segment.dimension.as_str() {
            "ENERGY" => "kWh",
            dimension if dimension.ends_with("TIME") => "h",
            _ => "x",
        };
        let vat = match &segment.vat {
            Some(vat) if report.tax_included => format!("  including {vat} % VAT"),
            Some(vat) => format!("  plus {vat} % VAT"),
            None => String::new(),
        };
        let shown = |volume: &str| if unit == "h" { clock(volume) } else { volume.to_owned() };
        let billed = if segment.billed_volume == segment.volume {
            format!("{} {unit}", shown(&segment.volume))
        } else {
            format!("{} {unit} (consumed {})", shown(&segment.billed_volume), shown(&segment.volume))
        };
        writeln!(
            out,
            "{}  {:<24} {billed} at {} = {}{vat}  [{}]",
            segment.from,
            segment.dimension,
            segment.price,
            money(currency, &segment.amount),
            segment.reason
        )?;
    }
    for (name, cost) in [
        ("fees", &report.total_fixed_cost),
        ("energy", &report.total_energy_cost),
        ("time", &report.total_time_cost),
        ("parking", &report.total_parking_cost),
        ("reservation", &report.total_reservation_cost),
        ("total", &report.total_cost),
    ] {
        if let Some(PriceText { excl_vat, incl_vat }) = cost {
            let (excl_vat, incl_vat) = (money(currency, excl_vat), money(currency, incl_vat));
            writeln!(out, "{name:<12} {excl_vat} before tax, {incl_vat} after tax")?;
        }
    }
    if let Some(payable) = &report.payable {
        writeln!(out, "{:<12} {}", "to pay", money(currency, payable))?;
    }
    for warning in &report.warnings {
        writeln!(out, "warning[{}]: {}", warning.code, warning.message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_the_decimals_of_its_currency() {
        for (currency, exact, shown) in [
            ("EUR", "3.9", "EUR 3.90"),
            ("EUR", "3.90000", "EUR 3.90"),
            ("EUR", "3.9055", "EUR 3.9055"),
            ("EUR", "-4", "EUR -4.00"),
            ("JPY", "40", "JPY 40"),
            ("KWD", "1.5", "KWD 1.500"),
        ] {
            assert_eq!(money(currency, exact), shown);
        }
    }
}
