//! One capture, disputed and lost as often as it can be, and failed on top.

use super::field::ConsoleWay;
use super::http::{ask, get};
use super::simulated_processor::{SentMessage, SimulatedProcessor, well};
use super::{Attacker, Attacking, Field, Trouble};
use crate::limits::LIST_ITEMS_MAX;
use crate::message::FromProcessor;
use crate::payment::{Notification, NotificationKind, OperationKind, Request};
use crate::units::{Amount, HoldId};
use rust_decimal::Decimal;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "repeated-disputes",
    findings: "S10",
    does: "three disputes of the whole of one capture, two of them lost, then the capture is reported as failed",
    expects: "one dispute is taken and lost, the others are refused (504, 507, 510); the books lose the capture once",
    pause: Duration::from_secs(4),
    currency: 752,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const TAKEN: &[u16] = &[0];
const REFUSED: &[u16] = &[504, 507, 510];

async fn attack(field: Field) -> Result<(), Trouble> {
    let before = lost(&field).await?;
    let mut processor = SimulatedProcessor::open(&field).await?;
    if !processor.session(&field, &mut well).await? {
        return Err(Trouble("the session was not admitted".to_owned()));
    }
    processor.serve(&field, Duration::from_secs(15), Some(OperationKind::Capture), &mut well).await?;
    let capture = processor.operations.get(&OperationKind::Capture).cloned();
    let capture = capture.ok_or_else(|| Trouble("nothing was captured".to_owned()))?;
    let Request::Capture { amount, .. } = capture.request else { return Ok(()) };
    // The answer to the capture is taken in before it is disputed.
    processor.serve(&field, Duration::from_millis(500), None, &mut well).await?;
    use NotificationKind::{CaptureFailed, DisputeLost, DisputeOpened};
    let scenario = [
        (DisputeOpened, "the first dispute", TAKEN),
        (DisputeOpened, "the second dispute", REFUSED),
        (DisputeOpened, "the third dispute", REFUSED),
        (DisputeLost, "lost", TAKEN),
        (DisputeLost, "lost again", REFUSED),
        (DisputeOpened, "disputed after it was lost", REFUSED),
        (CaptureFailed, "the capture failed after it was lost", REFUSED),
    ];
    for (kind, what, right) in scenario {
        let message = report(&mut processor, capture.hold, kind, amount, &field);
        processor.ask(&field, SentMessage { message, what, right }, &mut well).await?;
    }
    processor.done(&field);
    let (after, captured) = (lost(&field).await?, amount.major());
    match (before, after) {
        (Some(before), Some(after)) if after - before == captured => field.tally.right("lost once in the books"),
        (Some(before), Some(after)) => {
            field.tally.violation(format!("the books lost {} of a capture of {captured}", after - before));
        }
        _ => {}
    }
    Ok(())
}

fn report(
    processor: &mut SimulatedProcessor,
    hold: HoldId,
    kind: NotificationKind,
    amount: Amount,
    field: &Field,
) -> FromProcessor {
    let (callback, occurred_at) = (processor.line.fresh_callback(), field.now().wall);
    FromProcessor::Notification(Notification { callback, hold, kind, amount, occurred_at })
}

/// What lost disputes in the attacker's own currency come to in the gate's books, where they can be seen.
async fn lost(field: &Field) -> Result<Option<Decimal>, Trouble> {
    let Some(ConsoleWay { address, token, .. }) = &field.ways.console else { return Ok(None) };
    let (mut sum, mut after) = (Decimal::ZERO, String::new());
    loop {
        let path = format!("/api/ledger/accounts?limit={LIST_ITEMS_MAX}{after}");
        let answer = ask(field, *address, &get(&path, &address.to_string(), Some(token))).await?;
        let page = answer.document().ok_or_else(|| Trouble(format!("the books: {}", answer.status)))?;
        let rows = page["items"].as_array().cloned().unwrap_or_default();
        let mine = rows.iter().filter(|row| row["code"] == "5020" && row["currency"] == field.currency.code());
        sum += mine.filter_map(|row| row["balance"].as_str()?.parse::<Decimal>().ok()).sum::<Decimal>();
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(Some(sum)),
        }
    }
}
