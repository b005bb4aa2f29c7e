//! A good reading with what it adds to the price, and how that is written: the fact of which there are more than of all
//! others together.

use crate::tariff::{Phase, Reason, Slice, Slices};
use crate::units::{Current, Energy, MeterReading, Power, TimeSpan, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A good reading, and what it adds to the price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The reading.
    pub reading: MeterReading,
    /// What accrues, priced when it was decided: a replay never prices again.
    pub slices: Slices,
}

/// For people: everything by its name.
#[derive(Serialize, Deserialize)]
struct Named {
    reading: MeterReading,
    slices: Slices,
}

/// For the log: nothing twice.
#[derive(Serialize, Deserialize)]
enum Packed {
    /// No price changed since the last reading: one slice, which ends with the reading.
    Plain(Plain),
    /// Anything else.
    Cut(MeterReading, Slices),
    /// A plain one of a charger that also measures power or current.
    Measured(Plain, Option<Power>, Option<Current>),
}

#[derive(Serialize, Deserialize)]
struct Plain {
    sequence: u32,
    at: Timestamp,
    register: Energy,
    span: TimeSpan,
    energy: Energy,
    /// Components, counted from 1; 0: none.
    components: [u16; 3],
    phase: Phase,
    reason: Reason,
}

impl Packed {
    fn of(metered: &Metered) -> Packed {
        let Metered { reading, slices } = metered;
        let [slice] = slices.0.as_slice() else { return Packed::Cut(*reading, slices.clone()) };
        if slice.to != reading.at || slice.from > slice.to {
            return Packed::Cut(*reading, slices.clone());
        }
        let plain = Plain {
            sequence: reading.sequence,
            at: reading.at,
            register: reading.register,
            span: slice.span(),
            energy: slice.energy,
            components: [slice.energy_component, slice.time_component, slice.flat_component]
                .map(|component| component.wrapping_sub(Slice::NO_COMPONENT)),
            phase: slice.phase,
            reason: slice.reason,
        };
        match (reading.power, reading.current) {
            (None, None) => Packed::Plain(plain),
            (power, current) => Packed::Measured(plain, power, current),
        }
    }

    fn metered(self) -> Metered {
        let (plain, power, current) = match self {
            Packed::Plain(plain) => (plain, None, None),
            Packed::Measured(plain, power, current) => (plain, power, current),
            Packed::Cut(reading, slices) => return Metered { reading, slices },
        };
        let Plain { sequence, at, register, span, energy, components, phase, reason } = plain;
        let [energy_component, time_component, flat_component] =
            components.map(|component| component.wrapping_add(Slice::NO_COMPONENT));
        let from = at.saturating_add(TimeSpan::from_ms(-span.ms()));
        let slice = Slice { from, to: at, energy, energy_component, time_component, flat_component, phase, reason };
        let reading = MeterReading { sequence, at, register, power, current };
        Metered { reading, slices: Slices(std::iter::once(slice).collect()) }
    }
}

impl Serialize for Metered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => Named { reading: self.reading, slices: self.slices.clone() }.serialize(serializer),
            false => Packed::of(self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Metered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metered, D::Error> {
        if deserializer.is_human_readable() {
            let Named { reading, slices } = Named::deserialize(deserializer)?;
            return Ok(Metered { reading, slices });
        }
        Ok(Packed::deserialize(deserializer)?.metered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slice(to: i64, span: i64, components: [u16; 3]) -> Slice {
        let [energy_component, time_component, flat_component] = components;
        Slice {
            from: Timestamp::from_unix_ms(to - span),
            to: Timestamp::from_unix_ms(to),
            energy: Energy::from_microwatt_hours(10_000_000),
            energy_component,
            time_component,
            flat_component,
            phase: Phase::Charging,
            reason: Reason::Reading,
        }
    }

    fn metered(at: i64, power: Option<i64>, slices: Vec<Slice>) -> Metered {
        let reading = MeterReading {
            sequence: 300,
            at: Timestamp::from_unix_ms(at),
            register: Energy::from_microwatt_hours(123_456_789_000),
            power: power.and_then(Power::from_watts),
            current: None,
        };
        Metered { reading, slices: Slices(slices.into()) }
    }

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn an_ordinary_reading_takes_twenty_eight_bytes() {
        let ordinary = metered(NOW, None, vec![slice(NOW, 30_000, [0, u16::MAX, u16::MAX])]);
        let bytes = postcard::to_stdvec(&ordinary).unwrap();
        assert!(bytes.len() <= 28, "{} bytes", bytes.len());
        assert_eq!(postcard::from_bytes::<Metered>(&bytes).unwrap(), ordinary);
        let text = serde_json::to_string(&ordinary).unwrap();
        assert!(text.contains("\"slices\""), "{text}");
        assert_eq!(serde_json::from_str::<Metered>(&text).unwrap(), ordinary);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            at in NOW - 1_000..NOW + 1_000,
            power in prop::option::of(0_i64..400_000),
            slices in prop::collection::vec((NOW - 1_000..NOW + 1_000, 0_i64..90_000, any::<[u16; 3]>()), 0..3),
        ) {
            let slices = slices.into_iter().map(|(to, span, components)| slice(to, span, components)).collect();
            let metered = metered(at, power, slices);
            let bytes = postcard::to_stdvec(&metered).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Metered>(&bytes).unwrap(), metered);
        }
    }
}
