//! Settlement batches with impossible lines: chargebacks without a dispute, wrong sums, money without an operation.

use super::http::{ask, get};
use super::simulated_processor::{SentMessage, SimulatedProcessor, well};
use super::{Attacker, Attacking, Field, Trouble};
use crate::limits::LIST_ITEMS_MAX;
use crate::message::{FromProcessor, SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};
use crate::payment::CallbackId;
use crate::units::{OpId, ProcessorId};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "settlement-lies",
    findings: "S11, S13",
    does: "a chargeback of -1,000,000.00 without a dispute, lines for unknown operations, amounts at the ends of their \
           range, a trailer that does not fit",
    expects: "batches that do not add up are refused (509); the others end booked, and their lines are listed as extra",
    pause: Duration::from_secs(25),
    currency: 578,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const BOOKED_WITHIN: Duration = Duration::from_secs(60);
const A_MILLION: i64 = -100_000_000;

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let mut processor = SimulatedProcessor::open(&field).await?;
    let unknown = Some(OpId::from_u128(u128::from(field.rng.bits()) << 64 | 0x0001_0002));
    let line = |operation, kind, gross, fee, net| SettlementLine { operation, kind, gross, fee, net };
    let negative = [line(None, SettlementKind::Chargeback, A_MILLION, 0, A_MILLION)];
    let of_unknown = [
        line(unknown, SettlementKind::Capture, 109, -1, 108),
        line(unknown, SettlementKind::Refund, -109, 0, -109),
        line(unknown, SettlementKind::ChargebackReversal, 77, 0, 77),
        line(None, SettlementKind::Capture, 5, 0, 5),
    ];
    let wrong_sums = [line(unknown, SettlementKind::Capture, 100, 0, 99)];
    let extreme = [line(None, SettlementKind::Chargeback, i64::MAX, 0, i64::MAX)];
    let smallest = [line(None, SettlementKind::Fee, 0, i64::MIN, i64::MIN)];
    let (booked, either): (&'static [u16], &'static [u16]) = (&[0], &[0, 107, 509]);
    let batches: [(&'static str, &[SettlementLine], &'static [u16]); 5] = [
        ("a chargeback without a dispute", &negative, booked),
        ("lines of unknown operations", &of_unknown, booked),
        ("a line that does not add up", &wrong_sums, either),
        ("the largest amount", &extreme, either),
        ("the smallest amount", &smallest, either),
    ];
    for ((what, lines, right), number) in batches.into_iter().zip(0_u32..) {
        let batch = u128::from(field.rng.bits()) << 32 | u128::from(number);
        let message = whole(&mut processor, &field, batch, lines);
        processor.ask(&field, SentMessage { message, what, right }, &mut well).await?;
        if number == 0 {
            listed_as_extra(&field, &processor.id.clone()).await?;
        }
    }
    let batch = u128::from(field.rng.bits());
    let FromProcessor::Settlement(mut part) = whole(&mut processor, &field, batch, &of_unknown) else { return Ok(()) };
    if let Some(trailer) = &mut part.trailer {
        trailer.net = trailer.net.saturating_add(1);
    }
    let question =
        SentMessage { message: FromProcessor::Settlement(part), what: "a trailer that does not fit", right: &[509] };
    processor.ask(&field, question, &mut well).await?;
    processor.done(&field);
    Ok(())
}

/// A batch of one part.
fn whole(processor: &mut SimulatedProcessor, field: &Field, batch: u128, lines: &[SettlementLine]) -> FromProcessor {
    let callback = processor.line.fresh_callback();
    FromProcessor::Settlement(SettlementPart {
        trailer: SettlementTrailer::of(lines),
        ..part_of(field, callback, batch, 1, lines)
    })
}

/// A part of a batch, without a trailer.
pub(super) fn part_of(
    field: &Field,
    callback: CallbackId,
    batch: u128,
    part: u32,
    lines: &[SettlementLine],
) -> SettlementPart {
    let today = field.now().wall.unix_ms().div_euclid(86_400_000);
    let value_day = i32::try_from(today).unwrap_or(0);
    let (currency, lines, trailer) = (field.currency, lines.to_vec(), None);
    SettlementPart { callback, batch, part, value_day, currency, lines, trailer }
}

/// Waits until the gate's report names the line of a million.
async fn listed_as_extra(field: &Field, processor: &ProcessorId) -> Result<(), Trouble> {
    let Some(console) = &field.ways.console else { return Ok(()) };
    let path = format!("/api/settlement/extra?processor={processor}&limit={LIST_ITEMS_MAX}");
    let request = get(&path, &console.address.to_string(), Some(&console.token));
    let deadline = Instant::now() + BOOKED_WITHIN;
    while Instant::now() < deadline && field.goes_on() {
        let answer = ask(field, console.address, &request).await?;
        let report = answer.document().unwrap_or_default();
        let extra = report["items"].as_array().cloned().unwrap_or_default();
        if extra.iter().any(|row| row["gross"].as_str().is_some_and(|gross| gross.starts_with("-1000000"))) {
            field.tally.right("listed as extra");
            return Ok(());
        }
        field.pause(Duration::from_secs(1)).await;
    }
    if field.goes_on() {
        field.tally.violation("a chargeback without a dispute is not listed as extra");
    }
    Ok(())
}
