//! Recorded charging sessions: read from CSV, and turned into the readings that a charger would have sent.
//!
//! A recording has a start, an end and a total, but nothing in between. The readings are made: constant power from the
//! start until `end - inactive_s`, none afterwards, one reading per interval and one at the end. The register is counted
//! in whole microwatt hours and its last value is exactly the recorded total above the first.

use crate::units::{
    ChargerId, ConnectorId, Cost, Currency, Energy, MeterReading, MoneyError, Power, SessionKey, TimeSpan, Timestamp,
};
use rust_decimal::Decimal;
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
    /// Not CSV, not UTF-8, or not readable.
    #[error("line {line}: {source}")]
    Csv {
        /// Line of the file, counted from 1 (0 when the reader does not know).
        line: u64,
        /// What the CSV reader says.
        source: csv::Error,
    },
    /// A column that is needed is not in the first line.
    #[error("line 1: no column `{0}`")]
    Column(&'static str),
    /// A field that does not hold what its column needs.
    #[error("line {line}, column `{column}`: `{value}` {why}")]
    Field {
        /// Line of the file, counted from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What was found.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The columns, by name; other columns are left alone.
const COLUMNS: [&str; 9] =
    ["session_id", "charger_id", "connector", "start", "end", "inactive_s", "energy_wh", "billed_eur", "place"];

/// Reads sessions from CSV with a header line; the columns may stand in any order.
pub fn read_sessions(source: impl Read) -> Result<Vec<RecordedSession>, RecordingError> {
    let mut reader = csv::Reader::from_reader(source);
    let header = reader.headers().map_err(|source| RecordingError::Csv { line: 1, source })?.clone();
    let mut places = [0; COLUMNS.len()];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        *place = header.iter().position(|found| found.trim() == name).ok_or(RecordingError::Column(name))?;
    }
    let mut sessions = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|source| {
            let line = source.position().map_or(0, csv::Position::line);
            RecordingError::Csv { line, source }
        })?;
        sessions.push(session_of(&Row { record: &record, places: &places })?);
    }
    Ok(sessions)
}

/// One line of the file.
struct Row<'a> {
    record: &'a csv::StringRecord,
    places: &'a [usize; COLUMNS.len()],
}

impl Row<'_> {
    fn text(&self, column: usize) -> &str {
        self.record.get(self.places[column]).unwrap_or("").trim()
    }

    fn error(&self, column: usize, why: impl std::fmt::Display) -> RecordingError {
        RecordingError::Field {
            line: self.record.position().map_or(0, csv::Position::line),
            column: COLUMNS[column],
            value: self.text(column).to_owned(),
            why: why.to_string(),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T, RecordingError> {
        self.text(column).parse().map_err(|_| self.error(column, "is not a whole number in range"))
    }

    fn time(&self, column: usize) -> Result<Timestamp, RecordingError> {
        Timestamp::parse_rfc3339(self.text(column))
            .map_err(|_| self.error(column, "is not an RFC 3339 time with offset"))
    }
}

fn session_of(row: &Row<'_>) -> Result<RecordedSession, RecordingError> {
    let start = row.time(3)?;
    let end = row.time(4)?;
    if end < start {
        return Err(row.error(4, "lies before the start"));
    }
    let inactive = TimeSpan::from_secs(i64::from(row.number::<u32>(5)?));
    let energy =
        Energy::from_watt_hours(i64::from(row.number::<u32>(6)?)).ok_or_else(|| row.error(6, "is too large"))?;
    let billed: Decimal = row.text(7).parse().map_err(|_| row.error(7, "is not a decimal number"))?;
    let billed = Cost::from_major(billed, Currency::EUR).map_err(|error: MoneyError| row.error(7, error))?;
    Ok(RecordedSession {
        key: SessionKey(row.number(0)?),
        charger: ChargerId::new(row.text(1)).map_err(|error| row.error(1, error))?,
        connector: ConnectorId(row.number(2)?),
        start,
        end,
        inactive,
        energy,
        billed,
        place: row.text(8).into(),
    })
}

impl RecordedSession {
    /// How long energy flowed. A recording that claims to have been inactive for longer than it lasted says nothing
    /// about when energy flowed, so it is taken to have flowed all the time.
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
            "line 3, column `start`: `2018-01-01T00:00:00` is not an RFC 3339 time with offset"
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
            "line 1: no column `charger_id`"
        );
    }
}
