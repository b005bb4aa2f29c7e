//! Hellos that name sessions by the hundred and the thousand.

use super::charger_line::{ANSWER, ChargerLine, Incoming, charger_id, hello, reading, start};
use super::{Attacker, Attacking, Field, Trouble};
use crate::limits;
use crate::message::{FromCharger, SessionMark, ToCharger};
use crate::payment::CredentialKind;
use crate::units::{Energy, Power, SessionKey, TimeSpan};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "hello-flood",
    findings: "S2",
    does: "finishes 20 sessions a round, then says Hello with 200 that are over, with 1,024 and with 5,000 sessions",
    expects: "one position for each session that may be named, and a closed connection for more of them",
    pause: Duration::from_secs(4),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const FINISHED_EACH_ROUND: u64 = 20;
/// Hellos in a row.
const REPEATED: usize = 5;

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, field.round % 8)?;
    let power = Power::from_milliwatts(22_000_000);
    let mut line = ChargerLine::greeted(&field, &id, power).await?;
    let base = field.fresh_key(0);
    let register = Energy::from_watt_hours(1_000).unwrap_or(Energy::ZERO);
    for number in 0..FINISHED_EACH_ROUND {
        let (key, now) = (base + number, field.now().wall);
        let token = format!("evil-hello-{}", field.round);
        let begun = line.start(start(key, CredentialKind::WalletToken, token.as_bytes(), now, register)).await;
        if begun.is_err() {
            break;
        }
        // No energy: the hold is released.
        let last = reading(1, now.saturating_add(TimeSpan::from_ms(1)), register);
        if matches!(line.stop(key, last).await, Incoming::Ended(_) | Incoming::Nothing) {
            break;
        }
    }
    drop(line);
    let marks = |count: u64| {
        let key = |number: u64| SessionKey((base + FINISHED_EACH_ROUND).saturating_sub(number + 1));
        (0..count).map(|number| SessionMark { session: key(number), last_sequence: 1 }).collect::<Vec<_>>()
    };
    for _ in 0..REPEATED {
        expect_positions(&field, &id, power, marks(200)).await?;
    }
    let most = limits::SESSIONS_PER_HELLO as u64;
    expect_positions(&field, &id, power, marks(most)).await?;
    expect_refusal(&field, &id, power, marks(most * 5)).await
}

async fn expect_positions(
    field: &Field,
    id: &crate::units::ChargerId,
    power: Power,
    marks: Vec<SessionMark>,
) -> Result<(), Trouble> {
    let named = marks.len();
    let mut line = ChargerLine::dial(field, id).await?;
    line.send(&FromCharger::Hello(hello(id, power, field.now().wall, marks)));
    loop {
        match line.receive(ANSWER).await {
            Incoming::Message(ToCharger::HelloAck(ack)) if ack.sessions.len() == named => {
                field.tally.right(format!("positions of {named} sessions"));
                return Ok(());
            }
            Incoming::Message(ToCharger::HelloAck(ack)) => {
                field.tally.violation(format!("{} positions for {named} sessions", ack.sessions.len()));
                return Ok(());
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => {
                field.tally.violation(format!("a Hello with {named} sessions: {}", ended.text));
                return Ok(());
            }
            Incoming::Nothing => {
                field.tally.violation(format!("a Hello with {named} sessions is not answered"));
                return Ok(());
            }
        }
    }
}

async fn expect_refusal(
    field: &Field,
    id: &crate::units::ChargerId,
    power: Power,
    marks: Vec<SessionMark>,
) -> Result<(), Trouble> {
    let named = marks.len();
    let mut line = ChargerLine::dial(field, id).await?;
    line.send(&FromCharger::Hello(hello(id, power, field.now().wall, marks)));
    match line.receive(ANSWER).await {
        Incoming::Ended(ended) => field.tally.right(format!("{named} sessions: {}", ended.word())),
        Incoming::Message(other) => field.tally.violation(format!("{named} sessions are taken: {other:?}")),
        Incoming::Nothing => field.tally.violation(format!("{named} sessions: neither answer nor end")),
    }
    Ok(())
}
