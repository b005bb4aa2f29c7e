//! The payload of a record of kind `session_event`: a session, and a fact of it.
//!
//! Most records of a log are of this kind. Only the part of the session's id that is unique within its partition is
//! written, because the record has the partition. Nearly all of these facts are readings between which no price
//! changed; they have a layout of their own, written in a fifth of the time that other facts take
//! ([`crate::stored`]):
//!
//! ```text
//!   0            12       13         16           20         27           28       33      36        40        44
//!   +------------+--------+----------+------------+----------+------------+--------+-------+---------+---------+
//!   | session    | marker | sequence | at - begun | register | components | energy | span  | power   | current |
//!   +------------+--------+----------+------------+----------+------------+--------+-------+---------+---------+
//! ```
//!
//! Bit 7 of the marker stands only here, bit 6 says that power and current (mW and mA, all ones: not measured) are there, then
//! the slice's phase (2 bits) and reason (4 bits); all bits of the reason are set, and the slice's fields zero, where the reading
//! leaves undecided what the time was and adds no slice. `begun` is the time in the session's id; times are in milliseconds, register
//! and energy in µWh. Components are those of energy (lower 4 bits) and of time, counted from 1; 0: none. Numbers are
//! little-endian. What does not fit is written like any other fact.

use crate::session::{Event, Metered};
use crate::stored::{self, Stored, StoredError};
use crate::tariff::{Phase, Reason, Slice, Slices};
use crate::units::{Current, Energy, MeterReading, PartitionId, Power, SessionId, TimeSpan};
use smallvec::smallvec;

/// Is set in no first byte of another fact: that has its number, which is below 64, in the upper seven bits.
const PLAIN: u8 = 0x80;
const MEASURED: u8 = 0x40;
const PHASES: [Phase; 4] = [Phase::Charging, Phase::Parked, Phase::Reserved, Phase::Expired];
/// In place of a reason: no slice.
const UNDECIDED: u8 = 15;
/// Not measured.
const NOTHING: u32 = u32::MAX;

/// Writes the payload behind what is in `bytes`.
#[inline]
pub(super) fn write(id: SessionId, event: &Event, bytes: &mut Vec<u8>) {
    if let Event::Metered(metered) = event
        && let Some(words) = plain(id, metered)
    {
        let mut record = [0; 36];
        record[..12].copy_from_slice(&id.within_partition());
        for (place, word) in record[12..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes.extend_from_slice(&record);
        if record[12] & MEASURED != 0 {
            let MeterReading { power, current, .. } = metered.reading;
            let power = measured(power.map(Power::milliwatts)).unwrap_or(NOTHING).to_le_bytes();
            let current = measured(current.map(Current::milliamperes)).unwrap_or(NOTHING).to_le_bytes();
            bytes.extend_from_slice(&[power, current].concat());
        }
        return;
    }
    bytes.extend_from_slice(&id.within_partition());
    event.store(bytes);
}

/// The fixed part of a plain reading; `None` when it does not fit.
#[inline]
fn plain(id: SessionId, metered: &Metered) -> Option<[u64; 3]> {
    let Metered { reading, slices } = metered;
    let slice = match slices.0.as_slice() {
        [slice] if slice.to == reading.at && slice.flat_component == Slice::NO_COMPONENT => Some(slice),
        [] => None,
        _ => return None,
    };
    let marker = PLAIN | slice.map_or(UNDECIDED, |slice| (slice.phase as u8) << 4 | slice.reason as u8);
    let marker = match (reading.power, reading.current) {
        (None, None) => marker,
        (power, current) => {
            measured(power.map(Power::milliwatts))?;
            measured(current.map(Current::milliamperes))?;
            marker | MEASURED
        }
    };
    let sequence = within(i64::from(reading.sequence), 24)?;
    let since = within(reading.at.since(id.begun()).ms(), 32)?;
    let register = within(reading.register.microwatt_hours(), 56)?;
    let (components, energy, span) = match slice {
        Some(slice) => {
            let component = |component: u16| within(i64::from(component.wrapping_sub(Slice::NO_COMPONENT)), 4);
            let components = component(slice.energy_component)? | component(slice.time_component)? << 4;
            (components, within(slice.energy.microwatt_hours(), 40)?, within(slice.span().ms(), 24)?)
        }
        None => (0, 0, 0),
    };
    Some([u64::from(marker) | sequence << 8 | since << 32, register | components << 56, energy | span << 40])
}

/// A number that is not negative and takes no more bits.
#[inline]
fn within(number: i64, bits: u32) -> Option<u64> {
    let number = number.cast_unsigned();
    (number >> bits == 0).then_some(number)
}

/// A measured value, or the mark for none; `None` when it does not fit.
fn measured(number: Option<i64>) -> Option<u32> {
    match number {
        None => Some(NOTHING),
        Some(number) => u32::try_from(number).ok().filter(|number| *number != NOTHING),
    }
}

/// Reads the payload of a record of this partition.
///
/// # Errors
/// [`StoredError`]: it is none.
pub fn read(partition: PartitionId, payload: &[u8]) -> Result<(SessionId, Event), StoredError> {
    let (id, event) = split(partition, payload).ok_or_else(|| StoredError::invalid("it has no session"))?;
    let event = match read_plain(id, event) {
        Some(plain) => plain.ok_or_else(|| StoredError::invalid("it is no reading"))?,
        None => stored::from_bytes(event)?,
    };
    Ok((id, event))
}

/// The session, and the bytes of its fact.
pub(super) fn split(partition: PartitionId, payload: &[u8]) -> Option<(SessionId, &[u8])> {
    let (id, event) = payload.split_first_chunk()?;
    Some((SessionId::in_partition(partition, *id), event))
}

/// Reads a fact that has the layout of a plain reading, which is the same in version 4 of the data directory. `None`: it has
/// not; `Some(None)`: it has, and is damaged.
pub(super) fn read_plain(id: SessionId, event: &[u8]) -> Option<Option<Event>> {
    (event.first()? & PLAIN != 0).then(|| read_reading(id, event))
}

fn read_reading(id: SessionId, bytes: &[u8]) -> Option<Event> {
    let (words, rest) = bytes.as_chunks::<8>();
    let (words, measures) = match (words, rest) {
        ([first, second, third], []) => ([first, second, third], None),
        ([first, second, third, measures], []) => ([first, second, third], Some(measures)),
        _ => return None,
    };
    let [first, second, third] = words.map(|word| u64::from_le_bytes(*word));
    let part = |word: u64, from: u32, bits: u32| (word >> from & ((1 << bits) - 1)).cast_signed();
    let marker = first.to_le_bytes()[0];
    if (marker & MEASURED != 0) != measures.is_some() {
        return None;
    }
    let half = |from: usize| {
        let number = u32::from_le_bytes(*measures?[from..].first_chunk()?);
        (number != NOTHING).then_some(i64::from(number))
    };
    let at = id.begun().saturating_add(TimeSpan::from_ms(part(first, 32, 32)));
    let reading = MeterReading {
        sequence: u32::try_from(part(first, 8, 24)).ok()?,
        at,
        register: Energy::from_microwatt_hours(part(second, 0, 56)),
        power: half(0).map(Power::from_milliwatts),
        current: half(4).map(Current::from_milliamperes),
    };
    let slices = match marker & 15 {
        UNDECIDED if second.to_le_bytes()[7] != 0 || third != 0 || marker >> 4 & 3 != 0 => return None,
        UNDECIDED => Slices::default(),
        reason => {
            let component = |from: u32| Slice::NO_COMPONENT.wrapping_add(second.to_le_bytes()[7] as u16 >> from & 15);
            Slices(smallvec![Slice {
                from: at.saturating_add(TimeSpan::from_ms(-part(third, 40, 24))),
                to: at,
                energy: Energy::from_microwatt_hours(part(third, 0, 40)),
                energy_component: component(0),
                time_component: component(4),
                flat_component: Slice::NO_COMPONENT,
                phase: PHASES[usize::from(marker >> 4 & 3)],
                reason: Reason::ALL.get(usize::from(reason)).copied()?,
            }])
        }
    };
    Some(Event::Metered(Metered { reading, slices }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use proptest::prelude::*;

    const BEGUN: i64 = 1_800_000_000_000;
    const P: PartitionId = PartitionId(513);

    fn id() -> SessionId {
        SessionId::new(Timestamp::from_unix_ms(BEGUN), P, 0x1234_5678_9abc)
    }

    fn written(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(id(), event, &mut bytes);
        bytes
    }

    fn slice(to: i64, span: i64, energy: i64, components: [u16; 3], reason: usize) -> Slice {
        let [energy_component, time_component, flat_component] = components;
        Slice {
            from: Timestamp::from_unix_ms(to - span),
            to: Timestamp::from_unix_ms(to),
            energy: Energy::from_microwatt_hours(energy),
            energy_component,
            time_component,
            flat_component,
            phase: PHASES[reason % 4],
            reason: Reason::ALL[reason],
        }
    }

    fn metered(sequence: u32, at: i64, register: i64, measures: [Option<i64>; 2], slices: Vec<Slice>) -> Event {
        let reading = MeterReading {
            sequence,
            at: Timestamp::from_unix_ms(at),
            register: Energy::from_microwatt_hours(register),
            power: measures[0].map(Power::from_milliwatts),
            current: measures[1].map(Current::from_milliamperes),
        };
        Event::Metered(Metered { reading, slices: Slices(slices.into()) })
    }

    #[test]
    fn what_is_written_is_read() {
        let event = Event::Closed { at: Timestamp::from_unix_ms(7) };
        let bytes = written(&event);
        assert_eq!(hex::encode(&bytes[..12]), "01a3185c5000123456789abc");
        assert_eq!(read(P, &bytes), Ok((id(), event)));
        assert!(read(P, &bytes[..11]).is_err());
    }

    #[test]
    fn an_ordinary_reading_takes_thirty_six_bytes_and_a_measured_one_eight_more() {
        let (at, none) = (BEGUN + 3_600_000, Slice::NO_COMPONENT);
        let slices = || vec![slice(at, 30_000, 183_333_333, [0, none, none], 1)];
        let ordinary = metered(120, at, 123_456_789_000_000, [None, None], slices());
        let bytes = written(&ordinary);
        assert_eq!(
            hex::encode(&bytes[12..]),
            concat!("91", "780000", "80ee3600", "40af0d864870", "00", "01", "d571ed0a00", "307500"),
        );
        assert_eq!(read(P, &bytes), Ok((id(), ordinary)));
        let measured = metered(120, at, 123_456_789_000_000, [Some(22_000_000), None], slices());
        let bytes = written(&measured);
        assert_eq!((bytes.len(), read(P, &bytes)), (44, Ok((id(), measured))));
        for wrong in [&bytes[..43], &bytes[..36], &[&bytes[..], &[0]].concat()] {
            assert!(read(P, wrong).is_err());
        }
        let mut unknown = bytes;
        unknown[12] |= 15;
        assert!(read(P, &unknown).is_err(), "there is no such reason");
    }

    #[test]
    fn what_just_fits_and_what_does_not_is_read_as_it_was() {
        let none = Slice::NO_COMPONENT;
        let (most, longest) = ((1 << 40) - 1, (1 << 24) - 1);
        let fits = metered(
            0xff_ffff,
            BEGUN,
            (1 << 56) - 1,
            [None, None],
            vec![slice(BEGUN, longest, most, [14, 14, none], 10)],
        );
        assert_eq!((written(&fits).len(), read(P, &written(&fits))), (36, Ok((id(), fits))));
        let one = |to, span, energy, components| vec![slice(to, span, energy, components, 1)];
        let plain = || one(BEGUN, 0, 0, [none, none, none]);
        for event in [
            metered(1 << 24, BEGUN, 0, [None, None], plain()),
            metered(1, BEGUN - 1, 0, [None, None], one(BEGUN - 1, 0, 0, [0, 0, none])),
            metered(1, BEGUN + (1 << 32), 0, [None, None], one(BEGUN + (1 << 32), 0, 0, [0, 0, none])),
            metered(1, BEGUN, -1, [None, None], plain()),
            metered(1, BEGUN, 1 << 56, [None, None], plain()),
            metered(1, BEGUN, 0, [Some(-1), None], plain()),
            metered(1, BEGUN, 0, [None, Some(i64::from(NOTHING))], plain()),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, 1 << 24, 0, [0, 0, none])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, -1, 0, [0, 0, none])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, 0, 1 << 40, [0, 0, none])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, 0, 0, [15, 0, none])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, 0, 0, [0, none - 1, none])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN, 0, 0, [0, 0, 0])),
            metered(1, BEGUN, 0, [None, None], one(BEGUN + 1, 0, 0, [0, 0, none])),
            metered(1 << 24, BEGUN, 0, [None, None], vec![]),
            metered(1, BEGUN, 0, [None, None], [plain(), plain()].concat()),
        ] {
            let bytes = written(&event);
            assert_eq!(bytes[12] & PLAIN, 0, "{event:?}");
            assert_eq!(read(P, &bytes), Ok((id(), event)));
        }
    }

    #[test]
    fn a_reading_that_decides_nothing_takes_as_little() {
        let undecided = metered(7, BEGUN + 1_000, 5_000_000, [None, None], vec![]);
        let mut bytes = written(&undecided);
        assert_eq!((bytes.len(), bytes[12]), (36, 0x8f));
        assert_eq!(read(P, &bytes), Ok((id(), undecided)));
        bytes[28] = 1;
        assert!(read(P, &bytes).is_err(), "no slice has no energy");
    }

    proptest! {
        #[test]
        fn readings_are_read_as_they_were_written(
            (sequence, since, register) in (any::<u32>(), -1_000_000_i64..10_000_000_000, any::<i64>()),
            measures in any::<[Option<i32>; 2]>(),
            slices in prop::collection::vec((-1_000_i64..90_000, any::<i64>(), prop::array::uniform3(0_u16..20), 0_usize..12), 0..3),
            of_the_reading in any::<bool>(),
        ) {
            let at = BEGUN + since;
            let to = if of_the_reading { at } else { at + 1 };
            let components = |numbers: [u16; 3]| numbers.map(|number| number.wrapping_sub(1));
            let slices = slices.into_iter().map(|(span, energy, numbers, reason)| {
                slice(to, span, energy >> 20, components(numbers), reason)
            });
            let event = metered(sequence >> 4, at, register >> 6, measures.map(|measure| measure.map(i64::from)), slices.collect());
            let bytes = written(&event);
            prop_assert_eq!(read(P, &bytes), Ok((id(), event)));
        }
    }
}
