//! Registers, powers and times from the ends of their ranges.

use super::charger_line::{ANSWER, ChargerLine, Incoming, Refused, charger_id, start};
use super::raw::{Fields, zigzag};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{Channel, Code, ToCharger};
use crate::payment::CredentialKind;
use crate::units::{ChargerId, Energy, Power, Timestamp};
use crate::wire::frame::FrameType;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "extreme-figures",
    findings: "S3",
    does: "connectors, starts and readings with the largest and smallest registers, powers, currents, times and sequences",
    expects: "refused, or recorded and not believed (codes 107, 314, 403, 405 to 408); never acknowledged as good",
    pause: Duration::from_secs(2),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// Numbers at the ends of all ranges that a sum may run through.
const NUMBERS: [u64; 9] = [
    0,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX,
    u64::MAX - 1,
    u32::MAX as u64,
    300_000_000_000_000_000,
    1_000_000_000_000_000_001,
    4_611_686_018_427_387_904,
];

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, field.round % 4)?;
    connectors(&mut field, &id).await?;
    starts(&mut field, &id).await?;
    readings(&mut field, &id).await
}

fn pick(field: &mut Field) -> u64 {
    let place = usize::try_from(field.rng.below(NUMBERS.len() as u64)).unwrap_or(0);
    NUMBERS[place]
}

/// A connector that gives more than any power station.
async fn connectors(field: &mut Field, id: &ChargerId) -> Result<(), Trouble> {
    let power = 300_000_000_000_000_000_u64.saturating_add(pick(field));
    let connector = Fields::default().number(1, 1).number(2, power).done();
    let hello = Fields::default()
        .number(1, 1)
        .bytes(2, id.as_str().as_bytes())
        .bytes(3, &connector)
        .bytes(4, b"1.0")
        .number(5, field.now().wall.unix_ms().cast_unsigned());
    let mut line = ChargerLine::dial(field, id).await?;
    line.send_bytes(&hello.frame(FrameType::ChargerHello, Channel::ZERO));
    match line.receive(ANSWER).await {
        Incoming::Ended(ended) => field.tally.right(format!("connector: {}", ended.word())),
        other => field.tally.violation(format!("a connector of {power} mW is taken: {other:?}")),
    }
    Ok(())
}

/// Starts at registers and times that cannot be.
async fn starts(field: &mut Field, id: &ChargerId) -> Result<(), Trouble> {
    let mut line = ChargerLine::greeted(field, id, Power::from_milliwatts(22_000_000)).await?;
    for number in 0..4 {
        let register = 1_000_000_000_000_000_001_u64.saturating_add(pick(field) / 2);
        let at = if field.rng.chance(5_000) { field.now().wall.unix_ms().cast_unsigned() } else { pick(field) };
        let key = field.fresh_key(number);
        let credential = Fields::default().number(1, 2).bytes(2, b"evil-extreme").done();
        let start =
            Fields::default().number(1, key).number(2, 1).bytes(3, &credential).number(4, at).number(5, register);
        line.send_bytes(&start.frame(FrameType::StartSession, Channel::ZERO));
        let mut received = line.receive(ANSWER).await;
        // The receipt of an earlier session may come in between.
        while let Incoming::Message(ToCharger::Receipt(_)) = received {
            received = line.receive(ANSWER).await;
        }
        match received {
            Incoming::Message(ToCharger::StartRejected { code, .. }) => {
                field.tally.right(format!("start: {}", code.number()));
            }
            // A register beyond 63 bits is no message.
            Incoming::Ended(ended) => {
                field.tally.right(format!("start: {}", ended.word()));
                return Ok(());
            }
            other => {
                field.tally.violation(format!("a start at {at} ms, {register} µWh: {other:?}"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An ordinary session with readings that cannot be.
async fn readings(field: &mut Field, id: &ChargerId) -> Result<(), Trouble> {
    let mut line = ChargerLine::greeted(field, id, Power::from_milliwatts(22_000_000)).await?;
    let (key, begin) = (field.fresh_key(9), field.now().wall);
    let token = format!("evil-extreme-{}", field.round);
    let first = Energy::from_microwatt_hours(500_000_000_000_000_000);
    match line.start(start(key, CredentialKind::WalletToken, token.as_bytes(), begin, first)).await {
        Ok(_) => {}
        Err(Refused::Code(code @ (Code::TooManyRefusals | Code::ConnectorOccupied))) => {
            field.tally.right(format!("start: {}", code.number()));
            return Ok(());
        }
        Err(other) => {
            field.tally.violation(format!("an ordinary start: {other:?}"));
            return Ok(());
        }
    }
    let mut sequence = 0;
    for _ in 0..12 {
        sequence += 1;
        if !extreme_reading(field, &mut line, key, sequence, begin).await? {
            return Ok(());
        }
    }
    let last = super::charger_line::reading(sequence + 1, field.now().wall, first);
    match line.stop(key, last).await {
        Incoming::Message(ToCharger::SessionRejected { code, .. }) => {
            field.tally.right(format!("stop: {}", code.number()))
        }
        Incoming::Message(_) => field.tally.right("session over"),
        other => field.tally.violation(format!("the stop after extreme readings: {other:?}")),
    }
    Ok(())
}

/// One reading; false: the connection is over.
async fn extreme_reading(
    field: &mut Field,
    line: &mut ChargerLine,
    key: u64,
    sequence: u32,
    begin: Timestamp,
) -> Result<bool, Trouble> {
    let register = 1_000_000_000_000_000_001_u64.saturating_add(pick(field) / 2);
    let at = if field.rng.chance(5_000) { begin.unix_ms().cast_unsigned() + u64::from(sequence) } else { pick(field) };
    let flow = zigzag(if field.rng.chance(5_000) { i64::MIN } else { i64::MAX });
    let reading = Fields::default()
        .number(1, u64::from(sequence))
        .number(2, at)
        .number(3, register)
        .number(4, flow)
        .number(5, flow)
        .done();
    let values = Fields::default().number(1, key).bytes(2, &reading);
    line.send_bytes(&values.frame(FrameType::MeterValues, Channel::ZERO));
    loop {
        match line.receive(ANSWER).await {
            Incoming::Message(ToCharger::SessionRejected { code, .. }) => {
                field.tally.right(format!("reading: {}", code.number()));
                return Ok(true);
            }
            Incoming::Message(ToCharger::MeterAck(ack)) if ack.up_to >= sequence => {
                field.tally.violation(format!("a reading at {at} ms, {register} µWh is believed"));
                return Ok(true);
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => {
                field.tally.right(format!("reading: {}", ended.word()));
                return Ok(false);
            }
            Incoming::Nothing => {
                field.tally.violation(format!("a reading at {at} ms, {register} µWh is not answered"));
                return Ok(false);
            }
        }
    }
}
