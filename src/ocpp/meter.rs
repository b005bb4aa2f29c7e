//! Values that a charger samples, read as the value of its meter's register.
//!
//! The register is the energy that went out, in microwatt hours, exactly; what is finer is cut. The sum over all phases counts;
//! where only single phases are reported, theirs are added up. Defaults of the protocols hold: a value without a measurand is
//! the register, one without a unit is in watt hours. What is no energy leaves no register.

use super::decimal::scaled;
use super::json::Object;
use crate::units::{Energy, Power};

/// What the values of one moment say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sampled {
    /// The register at the beginning of the transaction, where the values are marked as that.
    pub begin: Option<Energy>,
    /// The register at its end, or at any other time.
    pub register: Option<Energy>,
    /// The power that flows.
    pub power: Option<Power>,
}

/// A measured value, without the way in which its protocol writes it.
struct Value<'a> {
    object: Object<'a>,
    unit: Option<std::borrow::Cow<'a, str>>,
    multiplier: i32,
}

/// Sums of one measurand.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// The sum over all phases, as measured at the outlet.
    total: Option<i64>,
    /// The same, measured elsewhere.
    elsewhere: Option<i64>,
    phases: [Option<i64>; 3],
}

impl Sums {
    fn take(&mut self, value: &Value<'_>, amount: i64) {
        let outlet = value.object.text("location").is_none_or(|location| location.eq_ignore_ascii_case("outlet"));
        match value.object.text("phase").as_deref() {
            None | Some("") if outlet => self.total = Some(amount),
            None | Some("") => self.elsewhere = Some(amount),
            Some(phase) => {
                let phase = ["L1", "L2", "L3"].iter().position(|one| phase == *one || phase == format!("{one}-N"));
                if let Some(sum) = phase.and_then(|phase| self.phases.get_mut(phase)) {
                    sum.get_or_insert(amount);
                }
            }
        }
    }

    fn sum(&self) -> Option<i64> {
        let phases = || {
            let mut measured = self.phases.iter().flatten().peekable();
            measured.peek()?;
            measured.try_fold(0_i64, |sum, phase| sum.checked_add(*phase))
        };
        self.total.or_else(phases).or(self.elsewhere)
    }
}

/// Reads the values of one moment.
pub(super) fn read<'a>(sampled: impl Iterator<Item = Object<'a>>) -> Sampled {
    let (mut begin, mut register, mut power) = (Sums::default(), Sums::default(), Sums::default());
    for object in sampled {
        if object.text("format").as_deref() == Some("SignedData") {
            continue;
        }
        let unit = object.object("unitOfMeasure");
        let multiplier = unit.integer("multiplier").map_or(Some(0), |power| i32::try_from(power).ok());
        let Some(multiplier) = multiplier.filter(|power| power.abs() <= 24) else { continue };
        let value = Value { object, unit: object.text("unit").or_else(|| unit.text("unit")), multiplier };
        let measurand = object.text("measurand");
        match measurand.as_deref() {
            None | Some("" | "Energy.Active.Import.Register") => {
                let Some(energy) = value.energy() else { continue };
                match object.text("context").as_deref() {
                    Some("Transaction.Begin") => begin.take(&value, energy),
                    _ => register.take(&value, energy),
                }
            }
            Some("Power.Active.Import") => {
                if let Some(milliwatts) = value.power() {
                    power.take(&value, milliwatts);
                }
            }
            Some(_) => {}
        }
    }
    let energy = |sums: Sums| sums.sum().map(Energy::from_microwatt_hours);
    // A part of the power is no power: a phase may be missing.
    let power = power.total.map(Power::from_milliwatts);
    Sampled { begin: energy(begin), register: energy(register), power }
}

impl Value<'_> {
    /// Microwatt hours, if it is energy.
    fn energy(&self) -> Option<i64> {
        let power = match self.unit.as_deref() {
            None | Some("") => 6,
            Some(unit) if unit.eq_ignore_ascii_case("Wh") => 6,
            Some(unit) if unit.eq_ignore_ascii_case("kWh") => 9,
            Some(unit) if unit.eq_ignore_ascii_case("MWh") => 12,
            Some(_) => return None,
        };
        scaled(&self.object.text("value")?, power + self.multiplier)
    }

    /// Milliwatts, if it is power.
    fn power(&self) -> Option<i64> {
        let power = match self.unit.as_deref() {
            None | Some("" | "W") => 3,
            Some("kW") => 6,
            Some(_) => return None,
        };
        scaled(&self.object.text("value")?, power + self.multiplier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(values: &str) -> Sampled {
        let value = serde_json::from_str(&format!(r#"{{"sampledValue":{values}}}"#)).unwrap();
        read(Object::of(&value).list("sampledValue"))
    }

    fn register(values: &str) -> Option<i64> {
        read_text(values).register.map(Energy::microwatt_hours)
    }

    #[test]
    fn all_units_and_spellings_are_the_same_1500_wh() {
        for values in [
            r#"[{"value":"1500"}]"#,
            r#"[{"value":1500}]"#,
            r#"[{"value":"1500.0","unit":"Wh"}]"#,
            r#"[{"value":"1.5","unit":"kWh"}]"#,
            r#"{"value":"1.5","unit":"kwh"}"#,
            r#"[{"value":1.5,"measurand":"Energy.Active.Import.Register","unit":"kWh","context":"Sample.Periodic"}]"#,
            r#"[{"value":1.5,"unitOfMeasure":{"unit":"kWh"}}]"#,
            r#"[{"value":1.5,"unitOfMeasure":{"unit":"Wh","multiplier":3}}]"#,
            r#"[{"value":1500000,"unitOfMeasure":{"multiplier":-3}}]"#,
            r#"[{"value":"15e2","unit":null,"measurand":null,"phase":null}]"#,
            r#"[{"value":"500","phase":"L1"},{"value":"400","phase":"L2"},{"value":"600","phase":"L3"}]"#,
            r#"[{"value":"500","phase":"L1-N"},{"value":"0.4","unit":"kWh","phase":"L2-N"},{"value":"600","phase":"L3"}]"#,
            r#"[{"value":"500","phase":"L1"},{"value":"1500"},{"value":"400","phase":"L2"}]"#,
            r#"[{"value":"1500"},{"value":"9","measurand":"SoC"},{"value":"9","measurand":"Energy.Active.Export.Register"}]"#,
            r#"[{"value":"1600","location":"Inlet"},{"value":"1500","location":"Outlet"}]"#,
            r#"[{"value":"1500","location":"Inlet"}]"#,
        ] {
            assert_eq!(register(values), Some(1_500_000_000), "{values}");
        }
        assert_eq!(register(r#"[{"value":"0.0000005"}]"#), Some(0), "finer than a microwatt hour");
        assert_eq!(register(r#"[{"value":"53.1234567890123456"}]"#), Some(53_123_456));
    }

    #[test]
    fn values_without_energy_leave_no_register() {
        for values in [
            "[]",
            r#"[{"value":"7000","measurand":"Power.Active.Import","unit":"W"}]"#,
            r#"[{"value":"50","measurand":"SoC"}]"#,
            r#"[{"value":"21","unit":"Celsius"}]"#,
            r#"[{"value":""}]"#,
            r#"[{"value":null}]"#,
            r#"[{"value":"OCMF|{}|{}","format":"SignedData"}]"#,
            r#"[{"value":"5","measurand":"Energy.Active.Import.Interval","context":"Sample.Clock"}]"#,
            r#"[{"value":"1","unitOfMeasure":{"multiplier":99}}]"#,
            r#"[{"value":"99999999999999999999"}]"#,
            r#"[{"value":"5","phase":"N"}]"#,
        ] {
            assert_eq!(register(values), None, "{values}");
        }
    }

    #[test]
    fn the_beginning_is_kept_apart_and_only_whole_power_is_power() {
        let both = r#"[{"value":"10","context":"Transaction.Begin"},{"value":"30","context":"Transaction.End"},
            {"value":"7.4","unit":"kW","measurand":"Power.Active.Import"}]"#;
        let expected = Sampled {
            begin: Energy::from_watt_hours(10),
            register: Energy::from_watt_hours(30),
            power: Power::from_watts(7_400),
        };
        assert_eq!(read_text(both), expected);
        let phase = r#"[{"value":"7400","phase":"L1","measurand":"Power.Active.Import"}]"#;
        assert_eq!(read_text(phase), Sampled::default());
    }
}
