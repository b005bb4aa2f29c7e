//! Recorded charging sessions: read from CSV, and turned into the readings that a charger would have sent.
//!
//! A recording has a start, an end and a total, but nothing in between. The readings are made: constant power from the
//! start until `end - inactive_s`, none afterwards, one reading per interval and one at the end. The register is counted
//! in whole microwatt hours and its last value is exactly the recorded total above the first.

use crate::billing::reconciliation::ReadRows;
use crate::billing::reconciliation::table::{self, BadRows, Encoding, Finder, read_text, shortened, wrong_fields};
use crate::limits;
use crate::units::{
    ChargerId, ConnectorId, Cost, Currency, Energy, MeterReading, MoneyError, Power, SessionKey, TimeSpan, Timestamp,
};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;

/// One session as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSession {
    /// The number it has in the recording; unique there, so it serves as the charger's own key of the session.
    pub key: SessionKey,
    /// The charging station.
    pub charger: ChargerId,
    /// The connector that was used.
    pub connector: ConnectorId,
    /// When the session started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How long, at the end of the session, the vehicle was plugged in without charging.
    pub inactive: TimeSpan,
    /// Energy delivered.
    pub energy: Energy,
    /// What was billed, unrounded.
    pub billed: Cost,
    /// What kind of place it was (`work`, `home`).
    pub place: Box<str>,
}

/// A recording that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Not text, not CSV, or without a row.
    #[error("{0}")]
    Table(String),
    /// A column that is needed is not in the first line.
    #[error("line 1: {0}")]
    Column(String),
    /// A row with too few or too many fields.
    #[error("line {line}: {what}")]
    Fields {
        /// Line of the file, counted from 1.
        line: u64,
        /// How many it has, and how many the line of names has.
        what: String,
    },
    /// A field that does not hold what its column needs.
    #[error("line {line}, column `{column}`: `{value}` {why}")]
    Field {
        /// Line of the file, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The value found.
        value: String,
        /// The fault.
        why: String,
    },
    /// Rows that cannot be read: all of them are reported at once.
    #[error("{0}")]
    Rows(BadRows),
}

/// The columns, by name; other columns are left alone. The one of what was billed also goes by `billed_` and the code of
/// the currency.
const COLUMNS: [&str; 9] =
    ["session_id", "charger_id", "connector", "start", "end", "inactive_s", "energy_wh", "billed", "place"];

/// The column of what was billed.
const BILLED: usize = 7;

/// More power than any connector had in a recording so far; a higher bound has to be given explicitly.
pub const POWER_MAX: Power = Power::from_milliwatts(400_000_000);

/// Reads sessions billed in euros, of at most [`POWER_MAX`], from CSV with a header line; the columns may stand in any order.
///
/// # Errors
/// See [`read_recording`]; and [`RecordingError::Rows`] with every bad row.
pub fn read_sessions(source: impl Read) -> Result<Vec<RecordedSession>, RecordingError> {
    let found = read_recording(source, Currency::EUR, POWER_MAX)?;
    if found.bad.is_empty() { Ok(found.rows) } else { Err(RecordingError::Rows(found.bad)) }
}

/// Reads sessions from CSV: the rows that are good, and the fault in the others. A session id that stands twice, and
/// more mean power than `power_max`, are wrong.
///
/// # Errors
/// When the file as a whole cannot be used: a column that is not there, bytes that are not text.
pub fn read_recording(
    source: impl Read,
    currency: Currency,
    power_max: Power,
) -> Result<ReadRows<RecordedSession>, RecordingError> {
    let text = read_text(source, Encoding::Utf8, limits::SETTLEMENT_FILE_BYTES_MAX)
        .map_err(|fault| RecordingError::Table(fault.to_string()))?;
    let (mut reader, header) = table::open(&text, b',').map_err(RecordingError::Table)?;
    let own = format!("billed_{}", currency.code().to_ascii_lowercase());
    let mut finder = Finder::of(&header);
    let other = header.iter().find(|found| found.starts_with("billed_") && *found != own);
    if let Some(other) = other.filter(|_| !finder.has(&own) && !finder.has(COLUMNS[BILLED])) {
        let expected = format!("in {currency}, the tariff's currency; expected is `{own}`");
        return Err(RecordingError::Column(format!("the column `{}` is not {expected}", shortened(other))));
    }
    let mut places = [0; COLUMNS.len()];
    for (column, (place, name)) in places.iter_mut().zip(COLUMNS).enumerate() {
        *place = match column {
            BILLED => finder.find_by(&own, |found| found == name || found == own),
            _ => finder.find(name),
        };
    }
    finder.done().map_err(RecordingError::Column)?;
    let mut found = ReadRows { rows: Vec::new(), bad: BadRows::default() };
    let mut lines: BTreeMap<SessionKey, u64> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| RecordingError::Table(error.to_string()))?;
        if record.iter().all(str::is_empty) {
            continue;
        }
        let row = Row { record: &record, header: &header, places: &places };
        match session_of(&row, currency, power_max) {
            Ok(session) => match lines.entry(session.key) {
                Entry::Vacant(free) => {
                    free.insert(row.line());
                    found.rows.push(session);
                }
                Entry::Occupied(first) => {
                    let why = format!("stands in line {} already; each session has an id of its own", first.get());
                    found.bad.push(row.error(0, why));
                }
            },
            Err(error) => found.bad.push(error),
        }
    }
    if found.rows.is_empty() && found.bad.is_empty() {
        return Err(RecordingError::Table("there is no session below the line of names".to_owned()));
    }
    Ok(found)
}

/// One line of the file.
struct Row<'a> {
    record: &'a csv::StringRecord,
    header: &'a csv::StringRecord,
    places: &'a [usize; COLUMNS.len()],
}

impl Row<'_> {
    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn text(&self, column: usize) -> &str {
        self.record.get(self.places[column]).unwrap_or("")
    }

    fn error(&self, column: usize, why: impl std::fmt::Display) -> RecordingError {
        RecordingError::Field {
            line: self.line(),
            column: self.header.get(self.places[column]).unwrap_or_default().to_owned(),
            value: shortened(self.text(column)),
            why: why.to_string(),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: usize, max: impl std::fmt::Display) -> Result<T, RecordingError> {
        let wrong = || self.error(column, format!("is not a whole number from 0 to {max}"));
        self.text(column).parse().map_err(|_| wrong())
    }

    fn time(&self, column: usize) -> Result<Timestamp, RecordingError> {
        let wrong = |_| self.error(column, "is not an RFC 3339 time with offset, like 2026-03-01T10:00:00+01:00");
        Timestamp::parse_rfc3339(self.text(column)).map_err(wrong)
    }
}

fn session_of(row: &Row<'_>, currency: Currency, power_max: Power) -> Result<RecordedSession, RecordingError> {
    if row.record.len() != row.header.len() {
        return Err(RecordingError::Fields { line: row.line(), what: wrong_fields(row.record, row.header.len()) });
    }
    let start = row.time(3)?;
    let end = row.time(4)?;
    if end < start {
        return Err(row.error(4, "lies before the start"));
    }
    let inactive = TimeSpan::from_secs(i64::from(row.number::<u32>(5, u32::MAX)?));
    let energy = Energy::from_watt_hours(i64::from(row.number::<u32>(6, u32::MAX)?))
        .ok_or_else(|| row.error(6, "is too large"))?;
    // No separators of thousands: a recording does not state the decimal mark.
    let billed: Decimal = row.text(BILLED).parse().map_err(|_| {
        row.error(BILLED, "is not a decimal number; expected is one with a point and no unit, like 2.541")
    })?;
    let billed = Cost::from_major(billed, currency).map_err(|error: MoneyError| row.error(BILLED, error))?;
    let session = RecordedSession {
        key: SessionKey(row.number(0, u64::MAX)?),
        charger: ChargerId::new(row.text(1)).map_err(|error| row.error(1, error))?,
        connector: ConnectorId(row.number(2, u16::MAX)?),
        start,
        end,
        inactive,
        energy,
        billed,
        place: row.text(8).into(),
    };
    let power = session.power();
    if power > power_max {
        let kw = |power: Power| Decimal::new(power.milliwatts(), 6).normalize();
        let (seconds, power, max) = (session.active().ms() / 1_000, kw(power), kw(power_max));
        let why =
            format!("Wh in {seconds} s of charging are {power} kW, more than the {max} kW that a connector may give");
        return Err(row.error(6, why));
    }
    Ok(session)
}

impl RecordedSession {
    /// Time of energy flow. A recording with more inactive time than its length is inconsistent, so energy is taken
    /// to have flowed all the time.
    pub fn active(&self) -> TimeSpan {
        let whole = self.end.since(self.start);
        match whole.ms() - self.inactive.ms() {
            active if active > 0 => TimeSpan::from_ms(active),
            _ => whole,
        }
    }

    /// Energy delivered since the start at an instant `elapsed` after it, rounded down to whole microwatt hours.
    pub fn delivered_after(&self, elapsed: TimeSpan) -> Energy {
        let active = self.active().ms();
        if elapsed.ms() >= active {
            return self.energy;
        }
        let share = i128::from(self.energy.microwatt_hours()) * i128::from(elapsed.ms().max(0)) / i128::from(active);
        Energy::from_microwatt_hours(i64::try_from(share).expect("a share of an i64 fits an i64"))
    }

    /// The constant power while energy flowed, rounded down to milliwatts.
    pub fn power(&self) -> Power {
        let active = self.active().ms().max(1);
        let milliwatts = i128::from(self.energy.microwatt_hours()) * 3_600 / i128::from(active);
        Power::from_milliwatts(i64::try_from(milliwatts).unwrap_or(i64::MAX))
    }

    /// Readings every `interval` after the start, and one at the end. `meter_start` is the register at the start.
    pub fn readings(
        &self,
        meter_start: Energy,
        interval: TimeSpan,
    ) -> impl ExactSizeIterator<Item = MeterReading> + '_ {
        let interval = interval.ms().max(1);
        let whole = self.end.since(self.start).ms();
        // Full intervals that end before the session does, then the end.
        let before_end = u32::try_from((whole - 1).max(0) / interval).unwrap_or(u32::MAX - 1);
        let power = self.power();
        let active = self.active().ms();
        (1..before_end + 2).map(move |sequence| {
            let elapsed = if sequence <= before_end { i64::from(sequence) * interval } else { whole };
            let delivered = self.delivered_after(TimeSpan::from_ms(elapsed));
            MeterReading {
                sequence,
                at: self.start.saturating_add(TimeSpan::from_ms(elapsed)),
                register: meter_start.checked_add(delivered).unwrap_or(meter_start),
                power: Some(if elapsed <= active { power } else { Power::default() }),
                current: None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "session_id,charger_id,connector,start,end,inactive_s,energy_wh,billed_eur,place\n";
    const MINUTE: TimeSpan = TimeSpan::from_secs(60);

    fn one(line: &str) -> RecordedSession {
        read_sessions(format!("{HEADER}{line}\n").as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_real_row_becomes_its_readings() {
        let session = one(
            "362759571,SAP-Mougins-02,1,2017-06-01T09:13:56+02:00,2017-06-01T18:48:33+02:00,24097,11311,1.58354,work",
        );
        assert_eq!(session.billed.to_string(), "EUR 1.58354");
        let start = Energy::from_watt_hours(1_000_000).unwrap();
        let readings: Vec<MeterReading> = session.readings(start, MINUTE).collect();
        // 34,477 s are 574 full minutes and 37 s.
        assert_eq!(readings.len(), 575);
        assert_eq!(readings[0].at, Timestamp::parse_rfc3339("2017-06-01T09:14:56+02:00").unwrap());
        let last = readings[574];
        assert_eq!((last.sequence, last.at), (575, session.end));
        assert_eq!(last.register.checked_sub(start), Energy::from_watt_hours(11_311));
        // 10,380 s of charging: the register grows until minute 173 and stands still from there.
        assert!(readings[171].register < readings[172].register);
        assert_eq!(readings[172].register, last.register);
        assert_eq!(readings[172].power, Some(Power::from_milliwatts(3_922_890)));
        assert_eq!(readings[173].power, Some(Power::default()));
    }

    #[test]
    fn the_end_is_one_reading_even_on_a_full_minute() {
        let session = one("1,C,1,2018-01-01T00:00:00Z,2018-01-01T00:02:00Z,0,2,0.00028,home");
        let readings: Vec<MeterReading> = session.readings(Energy::ZERO, MINUTE).collect();
        assert_eq!(readings.iter().map(|r| r.register.microwatt_hours()).collect::<Vec<_>>(), [1_000_000, 2_000_000]);
    }

    #[test]
    fn inactive_for_longer_than_it_lasted_means_energy_all_the_time() {
        let session = one("1,C,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,7200,600,0.084,work");
        assert_eq!(session.active(), TimeSpan::from_secs(3_600));
        assert_eq!(session.delivered_after(MINUTE), Energy::from_watt_hours(10).unwrap());
    }

    /// Source of the data: tests/data/README.md.
    #[test]
    fn every_row_of_the_sample_ends_on_its_recorded_total() {
        let sample = include_str!("../../tests/data/charging-sessions-sap-sample.csv");
        let sessions = read_sessions(sample.as_bytes()).unwrap();
        assert_eq!(sessions.len(), 299);
        let price = Decimal::new(14, 2);
        for session in sessions {
            let readings: Vec<MeterReading> = session.readings(Energy::ZERO, MINUTE).collect();
            assert!(readings.is_sorted_by(|a, b| a.at < b.at && a.register <= b.register), "{}", session.key);
            assert!(readings.iter().zip(1..).all(|(reading, sequence)| reading.sequence == sequence));
            let last = readings.last().map(|reading| (reading.at, reading.register));
            assert_eq!(last, Some((session.end, session.energy)));
            assert_eq!(session.billed.major(), (session.energy.kwh() * price).normalize(), "{}", session.key);
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        let read = |line: &str| read_sessions(format!("{HEADER}{line}").as_bytes()).unwrap_err().to_string();
        let good = "1,C,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,0,600,0.084,work\n";
        assert_eq!(
            read(&format!("{good}2,C,1,2018-01-01T00:00:00,2018-01-01T01:00:00Z,0,600,0.084,work\n")),
            "line 3, column `start`: `2018-01-01T00:00:00` is not an RFC 3339 time with offset, like 2026-03-01T10:00:00+01:00"
        );
        assert_eq!(
            read("1,C,1,2018-01-01T01:00:00Z,2018-01-01T00:00:00Z,0,600,0.084,work\n"),
            "line 2, column `end`: `2018-01-01T00:00:00Z` lies before the start"
        );
        assert!(read("1,C D,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,0,6,0.1,w\n").contains("`charger_id`: `C D`"));
        assert!(read("1,C,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,0,-6,0.1,w\n").contains("`energy_wh`: `-6`"));
        assert!(read("1,C,1\n").starts_with("line 2: "));
        assert_eq!(
            read_sessions(b"session_id\n1\n".as_slice()).unwrap_err().to_string(),
            "line 1: there is no column `charger_id`: the file has one column only, `session_id`"
        );
    }
    /// After a public report: the same id twice, and 500 kWh in 50 minutes, were billed without a warning.
    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let row = |id: &str, energy: &str| {
            format!("{id},CH-A,1,2026-03-01T10:00:00+01:00,2026-03-01T11:00:00+01:00,600,{energy},2.541,work\n")
        };
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        let file = [("1", "7000"), ("1", "7000"), (uuid, "7000"), ("2", "500000"), ("3", "3840.5"), ("4", "7000")];
        let file: String = file.iter().map(|(id, energy)| row(id, energy)).collect();
        let file = format!("\u{feff}{HEADER}{file}5,CH-A\n");
        let found = read_recording(file.as_bytes(), Currency::EUR, POWER_MAX).unwrap();
        assert_eq!(found.rows.iter().map(|session| session.key.0).collect::<Vec<_>>(), [1, 4]);
        let expected = [
            "line 3, column `session_id`: `1` stands in line 2 already",
            "line 4, column `session_id`: `550e8400",
            "line 5, column `energy_wh`: `500000` Wh in 3000 s of charging are 600 kW",
            "line 6, column `energy_wh`: `3840.5` is not a whole number",
            "line 8: 2 fields, expected 9",
        ];
        assert_eq!(found.bad.count, 5);
        for (refused, expected) in found.bad.listed_rows.iter().zip(expected) {
            assert!(refused.starts_with(expected), "{refused}");
        }
        assert!(matches!(read_sessions(file.as_bytes()), Err(RecordingError::Rows(bad)) if bad.count == 5));
    }

    /// After a public report: 2,541 stands for 2.541 and was taken for 2541.
    #[test]
    fn a_comma_in_what_was_billed_is_refused() {
        let row = "1,C,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,0,600,\"2,541\",work\n";
        let error = read_sessions(format!("{HEADER}{row}").as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 2, column `billed_eur`: `2,541` is not a decimal number"), "{error}");
    }

    #[test]
    fn a_recording_is_in_the_currency_of_its_tariff() {
        let sek: Currency = "SEK".parse().unwrap();
        let row = "1,C,1,2018-01-01T00:00:00Z,2018-01-01T01:00:00Z,0,600,0.084,work\n";
        let read = |header: &str| read_recording(format!("{header}{row}").as_bytes(), sek, POWER_MAX);
        let found = read(&HEADER.replace("billed_eur", "billed_sek")).unwrap();
        assert_eq!(found.rows[0].billed.to_string(), "SEK 0.084");
        assert_eq!(read(&HEADER.replace("billed_eur", "billed")).unwrap().rows.len(), 1);
        let error = read(HEADER).unwrap_err().to_string();
        assert!(error.contains("`billed_eur`") && error.contains("`billed_sek`"), "{error}");
        let twice = HEADER.replace("billed_eur", "billed").replace("place", "billed_sek");
        assert!(read(&twice).unwrap_err().to_string().contains("`billed_sek` stands twice, as columns 8 and 9"));
        let other = HEADER.replace("billed_eur", "billed").replace("connector", "plug").replace("place", "site");
        let error = read(&other).unwrap_err().to_string();
        assert!(error.starts_with("line 1: there are no columns `connector`, `place`; the columns are "), "{error}");
        let error = read_recording(HEADER.as_bytes(), sek, POWER_MAX).unwrap_err().to_string();
        assert!(error.contains("`billed_eur` is not in SEK"), "{error}");
        let error = read_recording(HEADER.as_bytes(), Currency::EUR, POWER_MAX).unwrap_err().to_string();
        assert_eq!(error, "there is no session below the line of names");
        let error = read(&HEADER.replace(',', ";")).unwrap_err().to_string();
        assert!(error.contains("separator seems to be `;`"), "{error}");
    }
}
