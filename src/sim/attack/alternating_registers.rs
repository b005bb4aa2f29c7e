//! Thousands of readings whose register alternates between no change and a microwatt hour.

use super::charger_line::{ANSWER, ChargerLine, Incoming, Refused, charger_id, reading, start};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::ToCharger;
use crate::payment::CredentialKind;
use crate::units::{Energy, MeterReading, Power, TimeSpan, Timestamp};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "alternating-registers",
    findings: "S1",
    does: "40,000 readings in an hour whose register alternates +0 and +1 µWh, in frames as full as they can be",
    expects: "every reading is acknowledged, the session ends in a receipt",
    pause: Duration::from_secs(20),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// Readings of a session.
const READINGS: u32 = 40_000;
/// Readings in flight.
const AT_ONCE: usize = 512;
/// Between two readings, by the charger's clock.
const STEP: TimeSpan = TimeSpan::from_ms(80);

async fn attack(field: Field) -> Result<(), Trouble> {
    let scenario = Scenario { readings: READINGS, step: STEP, power: Power::from_milliwatts(22_000_000) };
    long_session(&field, scenario, |number| Energy::from_microwatt_hours(i64::from(number / 2))).await
}

/// What a long session is like.
pub(super) struct Scenario {
    pub readings: u32,
    pub step: TimeSpan,
    pub power: Power,
}

/// A session of many readings, as fast as they are acknowledged. `counted`: what reading number n shows above the start.
pub(super) async fn long_session(
    field: &Field,
    scenario: Scenario,
    counted: impl Fn(u32) -> Energy,
) -> Result<(), Trouble> {
    let id = charger_id(field, field.round % 4)?;
    let mut line = ChargerLine::greeted(field, &id, scenario.power).await?;
    // The session ends with the last reading, and the start is younger than an hour.
    let length = TimeSpan::from_ms(scenario.step.ms().saturating_mul(i64::from(scenario.readings) + 1));
    let begin = field.now().wall.saturating_add(TimeSpan::from_ms(-length.ms()));
    let first = Energy::from_microwatt_hours(7_000_000_000);
    let key = field.fresh_key(0);
    let token = format!("evil-{}-{}", field.name, field.round);
    match line.start(start(key, CredentialKind::WalletToken, token.as_bytes(), begin, first)).await {
        Ok(_) => field.tally.right("session begun"),
        Err(Refused::Code(code)) => {
            field.tally.violation(format!("an ordinary start is refused: {code}"));
            return Ok(());
        }
        Err(refused) => return Err(Trouble(format!("the start: {refused:?}"))),
    }
    let at = |number: u32| moment(begin, scenario.step, number);
    let register = |number: u32| first.checked_add(counted(number)).unwrap_or(first);
    let all: Vec<MeterReading> =
        (1..scenario.readings).map(|number| reading(number, at(number), register(number))).collect();
    for chunk in all.chunks(AT_ONCE) {
        line.send_readings(key, chunk);
        let last = chunk.last().map_or(0, |last| last.sequence);
        if !acknowledged(field, &mut line, last).await? {
            return Ok(());
        }
        if !field.goes_on() {
            // Cut short: the last reading that was sent is the last of the session.
            return end(field, &mut line, key, reading(last + 1, at(last + 1), register(last + 1))).await;
        }
    }
    let last = reading(scenario.readings, at(scenario.readings), register(scenario.readings));
    end(field, &mut line, key, last).await
}

fn moment(begin: Timestamp, step: TimeSpan, number: u32) -> Timestamp {
    begin.saturating_add(TimeSpan::from_ms(step.ms().saturating_mul(i64::from(number))))
}

/// Waits until everything up to this reading is durable. False: it never will be.
async fn acknowledged(field: &Field, line: &mut ChargerLine, sequence: u32) -> Result<bool, Trouble> {
    loop {
        match line.receive(ANSWER).await {
            Incoming::Message(ToCharger::MeterAck(ack)) if ack.up_to >= sequence => {
                field.tally.right_times("readings acknowledged", AT_ONCE as u64);
                return Ok(true);
            }
            Incoming::Message(ToCharger::SessionRejected { code, .. }) => {
                field.tally.violation(format!("reading {sequence} is refused: {code}"));
                return Ok(false);
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
            Incoming::Nothing => {
                field.tally.violation(format!("reading {sequence} is not acknowledged in time"));
                return Ok(false);
            }
        }
    }
}

/// Stops, and waits for the receipt.
async fn end(field: &Field, line: &mut ChargerLine, key: u64, last: MeterReading) -> Result<(), Trouble> {
    let mut received = line.stop(key, last).await;
    loop {
        match received {
            Incoming::Message(ToCharger::Receipt(_)) => {
                field.tally.right("receipt");
                return Ok(());
            }
            Incoming::Message(ToCharger::SessionRejected { code, .. }) => {
                field.tally.violation(format!("the stop is refused: {code}"));
                return Ok(());
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
            Incoming::Nothing => {
                field.tally.violation("no receipt in time".to_owned());
                return Ok(());
            }
        }
        received = line.receive(Duration::from_secs(60)).await;
    }
}
