//! A day of readings from a meter of whole watt hours that reports no power.

use super::alternating_registers::{Scenario, long_session};
use super::{Attacker, Attacking, Field, Trouble};
use crate::units::{Energy, Power, TimeSpan};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "coarse-meter",
    findings: "S1",
    does: "86,400 readings of a meter of whole Wh without power, one Wh in 2.6 readings: a day at 1.38 kW in an hour",
    expects: "every reading is acknowledged, the session ends in a receipt",
    pause: Duration::from_secs(30),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const READINGS: u32 = 86_400;
/// By the charger's clock: all of them fit into the hour that a start may be old.
const STEP: TimeSpan = TimeSpan::from_ms(41);

async fn attack(field: Field) -> Result<(), Trouble> {
    let scenario = Scenario { readings: READINGS, step: STEP, power: Power::from_milliwatts(50_000_000) };
    let whole_watt_hours = |number: u32| i64::from(number) * 10 / 26;
    long_session(&field, scenario, |number| Energy::from_watt_hours(whole_watt_hours(number)).unwrap_or(Energy::ZERO))
        .await
}
