//! Sessions that claim to have begun when they cannot have.

use super::charger_line::{ChargerLine, Refused, charger_id, start};
use super::field::seconds_from;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::Code;
use crate::payment::CredentialKind;
use crate::units::{Energy, Power, Timestamp};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "implausible-starts",
    findings: "S6",
    does: "starts of 30 days ago, of two hours ago, in two hours, in the year 9999, in 1970 and before it",
    expects: "each is refused: 314",
    pause: Duration::from_secs(1),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, field.round % 8)?;
    let mut line = ChargerLine::greeted(&field, &id, Power::from_milliwatts(22_000_000)).await?;
    let now = field.now().wall;
    let times = [
        seconds_from(now, -30 * 86_400),
        seconds_from(now, -2 * 3_600),
        seconds_from(now, 2 * 3_600),
        Timestamp::from_unix_ms(253_370_764_800_000),
        Timestamp::from_unix_ms(0),
        Timestamp::from_unix_ms(-1),
        Timestamp::from_unix_ms(i64::MIN),
        Timestamp::from_unix_ms(i64::MAX),
    ];
    for (at, number) in times.into_iter().zip(0..) {
        let register = Energy::from_watt_hours(1_000).unwrap_or(Energy::ZERO);
        let asked = start(field.fresh_key(number), CredentialKind::WalletToken, b"evil-start", at, register);
        match line.start(asked).await {
            Err(Refused::Code(Code::StartImplausible)) => field.tally.right("314"),
            Err(Refused::Ended(ended)) => return Err(Trouble(ended.text)),
            other => field.tally.violation(format!("a start at {} ms: {other:?}", at.unix_ms())),
        }
    }
    Ok(())
}
