//! An expectation that no gate meets: a check that a run fails on a violation.

use super::charger_line::{ChargerLine, charger_id};
use super::{Attacker, Attacking, Field, Trouble};
use crate::units::Power;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "planted",
    findings: "none",
    does: "says Hello as a charger with a good certificate",
    expects: "that it is refused, which no gate does",
    pause: Duration::from_secs(1),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, 0)?;
    match ChargerLine::greeted(&field, &id, Power::from_milliwatts(22_000_000)).await {
        Ok(_) => field.tally.violation("a good Hello is answered, as planted"),
        Err(_) => field.tally.right("refused"),
    }
    Ok(())
}
