//! Frames that are none, frames that were changed, frames that end in the middle.

use super::charger_line::{ChargerLine, Incoming, charger_id, hello, reading, start};
use super::processor_line::{ProcessorLine, processor_id};
use super::raw::Fields;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{Channel, FromCharger};
use crate::payment::CredentialKind;
use crate::units::{Energy, Power};
use crate::wire::frame::FrameType;
use crate::wire::{ChargerClientLink, MeterValues};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "garbage",
    findings: "held well",
    does: "random bytes, good frames with changed bytes, whole frames of random payload, frames cut off, at both listeners",
    expects: "an answer, or a closed connection; never silence",
    pause: Duration::from_secs(1),
    currency: 764,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// A frame that was begun has to be finished within 10 s.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
const TRIES: usize = 12;

async fn attack(mut field: Field) -> Result<(), Trouble> {
    for _ in 0..TRIES {
        at_chargers(&mut field).await?;
        if !field.goes_on() {
            return Ok(());
        }
    }
    for _ in 0..TRIES / 3 {
        at_processors(&mut field).await?;
    }
    Ok(())
}

fn bytes(field: &mut Field, most: u64) -> Vec<u8> {
    let count = field.rng.below(most) + 1;
    (0..count).map(|_| u8::try_from(field.rng.below(256)).unwrap_or(0)).collect()
}

/// A conversation as a charger would have it, in bytes.
fn conversation(field: &Field, id: &crate::units::ChargerId) -> Vec<u8> {
    let now = field.now();
    let mut link = ChargerClientLink::new(now.mono);
    let mut out = Vec::new();
    let key = field.fresh_key(field.round);
    let greeting = hello(id, Power::from_milliwatts(22_000_000), now.wall, Vec::new());
    let start = start(key, CredentialKind::WalletToken, b"evil-garbage", now.wall, Energy::ZERO);
    for message in [FromCharger::Hello(greeting), FromCharger::Start(start)] {
        let _ = link.send(Channel::ZERO, &message, now.mono, &mut out);
    }
    let readings: Vec<_> = (1..20).map(|number| reading(number, now.wall, Energy::ZERO)).collect();
    let session = crate::units::SessionKey(key);
    let _ = link.send_readings(Channel::ZERO, MeterValues { session, readings: &readings }, now.mono, &mut out);
    out
}

async fn at_chargers(field: &mut Field) -> Result<(), Trouble> {
    let number = field.rng.below(4);
    let id = charger_id(field, number)?;
    let kind = field.rng.below(4);
    let mut sent = conversation(field, &id);
    let what = match kind {
        0 => {
            sent = bytes(field, 4_096);
            "random bytes"
        }
        1 => {
            for _ in 0..=field.rng.below(8) {
                let place = usize::try_from(field.rng.below(sent.len() as u64)).unwrap_or(0);
                sent[place] ^= u8::try_from(field.rng.below(255) + 1).unwrap_or(1);
            }
            "changed bytes"
        }
        2 => {
            let end = usize::try_from(field.rng.below(sent.len() as u64)).unwrap_or(0);
            sent.truncate(end.max(1));
            "cut off"
        }
        _ => {
            let (place, payload) = (field.rng.below(FrameType::ALL.len() as u64), bytes(field, 2_000));
            let kind = FrameType::ALL[usize::try_from(place).unwrap_or(0)];
            sent.extend(Fields::raw(payload).frame(kind, Channel(u32::try_from(field.rng.below(3)).unwrap_or(0))));
            "random payload"
        }
    };
    let mut line = ChargerLine::dial(field, &id).await?;
    line.send_bytes(&sent);
    let received = line.receive(CLOSED_WITHIN).await;
    answered(field, what, &received);
    Ok(())
}

async fn at_processors(field: &mut Field) -> Result<(), Trouble> {
    let id = processor_id(field, 0)?;
    let mut line = ProcessorLine::dial(field, &id).await?;
    let what = match field.rng.below(2) {
        0 => {
            line.send_bytes(&bytes(field, 4_096));
            "random bytes of a processor"
        }
        _ => {
            line.send_hello(&id, &[CredentialKind::WalletToken]);
            let (place, payload) = (field.rng.below(FrameType::ALL.len() as u64), bytes(field, 2_000));
            let kind = FrameType::ALL[usize::try_from(place).unwrap_or(0)];
            line.send_bytes(&Fields::raw(payload).frame(kind, Channel::ZERO));
            "random payload of a processor"
        }
    };
    let received = line.receive(CLOSED_WITHIN).await;
    answered(field, what, &received);
    Ok(())
}

fn answered<Message: std::fmt::Debug>(field: &Field, what: &str, received: &Incoming<Message>) {
    match received {
        Incoming::Ended(ended) => field.tally.right(format!("{what}: {}", ended.word())),
        Incoming::Message(_) => field.tally.right(format!("{what}: answered")),
        Incoming::Nothing => field.tally.violation(format!("{what}: silence for {} s", CLOSED_WITHIN.as_secs())),
    }
}
