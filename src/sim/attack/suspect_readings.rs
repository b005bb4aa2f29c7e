//! Sessions of nothing but readings that cannot be.

use super::charger_line::{ANSWER, ChargerLine, Incoming, charger_id, reading, start};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{Code, ToCharger};
use crate::payment::CredentialKind;
use crate::units::{Energy, Power};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "suspect-readings",
    findings: "S6",
    does: "60 readings in a row that fall, jump, come from the past and from the future, and then a stop",
    expects: "each is recorded and not believed (405 to 408), the session ends in a receipt",
    pause: Duration::from_secs(3),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const READINGS: u32 = 60;

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, field.round % 8)?;
    let mut line = ChargerLine::greeted(&field, &id, Power::from_milliwatts(22_000_000)).await?;
    let (key, begin) = (field.fresh_key(0), field.now().wall);
    let first = Energy::from_watt_hours(100_000_000).unwrap_or(Energy::ZERO);
    let token = format!("evil-suspect-{}", field.round);
    if let Err(refused) = line.start(start(key, CredentialKind::WalletToken, token.as_bytes(), begin, first)).await {
        return Err(Trouble(format!("the start: {refused:?}")));
    }
    for sequence in 1..=READINGS {
        // Each is far from the start and from the one before it, so that none confirms another one.
        let far = i64::from(sequence) * 1_000_000;
        let (at, wh) = match field.rng.below(4) {
            0 => (field.now().wall, 100_000_000 + far),
            1 => (field.now().wall, 99_000_000 - far),
            2 => (super::field::seconds_from(begin, -far / 1_000 - 86_400), 100_000_000 + far),
            _ => (super::field::seconds_from(begin, far / 1_000 + 86_400), 100_000_000 - far),
        };
        line.send_readings(key, &[reading(sequence, at, Energy::from_watt_hours(wh).unwrap_or(first))]);
        match line.receive(ANSWER).await {
            Incoming::Message(ToCharger::SessionRejected { code, .. }) if is_doubt(code) => {
                field.tally.right(code.number().to_string());
            }
            Incoming::Message(ToCharger::StopNow { .. }) => field.tally.right("ordered to stop"),
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
            other => field.tally.violation(format!("reading {sequence} at {at}, {wh} Wh: {other:?}")),
        }
    }
    let mut received = line.stop(key, reading(READINGS + 1, field.now().wall, first)).await;
    loop {
        match received {
            Incoming::Message(ToCharger::Receipt(_)) => {
                field.tally.right("receipt");
                return Ok(());
            }
            Incoming::Message(ToCharger::SessionRejected { code, .. }) if !is_doubt(code) => {
                field.tally.violation(format!("the stop: {code}"));
                return Ok(());
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
            Incoming::Nothing => {
                field.tally.violation("no receipt in time");
                return Ok(());
            }
        }
        received = line.receive(Duration::from_secs(60)).await;
    }
}

fn is_doubt(code: Code) -> bool {
    matches!(code, Code::RegisterFalls | Code::RegisterJumps | Code::TimeBackwards | Code::TimeImplausible)
}
