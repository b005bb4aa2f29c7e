//! Settlement batches without end, and batches that never end.

use super::charger_line::Incoming;
use super::processor_line::ProcessorLine;
use super::settlement_lies::part_of;
use super::simulated_processor::judge;
use super::{Attacker, Attacking, Field, Trouble};
use crate::limits::SETTLEMENT_LINES_PER_PART;
use crate::message::{FromProcessor, SettlementKind, SettlementLine, SettlementPart, SettlementTrailer, ToProcessor};
use crate::payment::CredentialKind;
use crate::units::{OpId, ProcessorId};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "settlement-floods",
    findings: "S12, S13",
    does: "70 batches of a processor that are begun and never finished, and one of 20 full parts without a trailer",
    expects: "parts are acknowledged or refused (509, 510), never left unanswered; other processors' batches are taken",
    pause: Duration::from_secs(15),
    currency: 208,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const UNFINISHED: u32 = 70;
const FULL_PARTS: u32 = 20;
/// Processors of the attacker: enough for every partition of a small gate.
const PROCESSORS: u64 = 12;
const RIGHT: &[u16] = &[0, 509, 510];

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let id = super::processor_line::processor_id(&field, field.round % PROCESSORS)?;
    let mut line = ProcessorLine::greeted(&field, &id, &[CredentialKind::WalletToken]).await?;
    let one = [line_of(1)];
    for _ in 0..UNFINISHED {
        let batch = u128::from(field.rng.bits());
        send_part(&field, &mut line, batch, 1, &one).await?;
        if !field.goes_on() {
            return Ok(());
        }
    }
    let batch = u128::from(field.rng.bits()) << 64;
    let full: Vec<SettlementLine> = (0..SETTLEMENT_LINES_PER_PART as u64).map(line_of).collect();
    for part in 1..=FULL_PARTS {
        send_part(&field, &mut line, batch, part, &full).await?;
    }
    another_is_taken(&field).await
}

fn line_of(number: u64) -> SettlementLine {
    let operation = Some(OpId::from_u128(u128::from(number) << 32 | 0x0001_0003));
    SettlementLine { operation, kind: SettlementKind::Capture, gross: 1, fee: 0, net: 1 }
}

async fn send_part(
    field: &Field,
    line: &mut ProcessorLine,
    batch: u128,
    part: u32,
    lines: &[SettlementLine],
) -> Result<(), Trouble> {
    let callback = line.fresh_callback();
    line.send(&FromProcessor::Settlement(part_of(field, callback, batch, part, lines)));
    match line.verdict(callback).await {
        Incoming::Ended(ended) => Err(Trouble(ended.text)),
        verdict => {
            judge(field, "a part without end", &verdict, RIGHT);
            Ok(())
        }
    }
}

/// Batches of processors that behave are taken whatever this one did: one of each, small and whole.
async fn another_is_taken(field: &Field) -> Result<(), Trouble> {
    for number in 0..PROCESSORS {
        let id = ProcessorId::new(&format!("EVIL-{}-good-{number:02}", field.name)).map_err(Trouble::of)?;
        let mut line = ProcessorLine::greeted(field, &id, &[CredentialKind::WalletToken]).await?;
        let lines = [line_of(number)];
        let trailer = SettlementTrailer::of(&lines);
        let callback = line.fresh_callback();
        let batch = u128::from(field.round) << 8 | 1;
        let part = SettlementPart { trailer, ..part_of(field, callback, batch, 1, &lines) };
        line.send(&FromProcessor::Settlement(part));
        match line.verdict(callback).await {
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
            verdict => judge(field, "a batch of another processor", &verdict, &[0]),
        }
        // It leaves in good order.
        line.send(&FromProcessor::Credit { operations: 0 });
        if let Incoming::Message(ToProcessor::GoAway(go)) = line.receive(Duration::from_millis(10)).await {
            return Err(Trouble(go.text.into()));
        }
    }
    Ok(())
}
