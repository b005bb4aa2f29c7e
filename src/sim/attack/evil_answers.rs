//! A processor with impossible answers: other amounts, other holds, other outcomes than before.

use super::card_numbers::nobodys;
use super::processor_line::ProcessorLine;
use super::simulated_processor::{SentMessage, SimulatedProcessor, approved, of, well};
use super::{Attacker, Attacking, Field, Trouble};
use crate::payment::{Decline, DeclineClass, Operation, OperationKind, Outcome, Request};
use crate::units::{Amount, Currency, HoldId, OpId};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "evil-answers",
    findings: "held well",
    does: "answers with other currencies, larger amounts, amounts below zero, other holds, for unknown operations, and \
           with the contrary of its answer before",
    expects: "each is refused (501 to 507) and changes nothing; the right answers beside them count",
    pause: Duration::from_secs(2),
    currency: 756,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

async fn attack(field: Field) -> Result<(), Trouble> {
    let mut processor = SimulatedProcessor::open(&field).await?;
    let mut answering = |line: &mut ProcessorLine, operation: &Operation| evil(&field, line, operation);
    if !processor.session(&field, &mut answering).await? {
        return Err(Trouble("the session was not admitted".to_owned()));
    }
    processor.serve(&field, Duration::from_secs(15), Some(OperationKind::Capture), &mut answering).await?;
    // The answers to the last messages.
    processor.serve(&field, Duration::from_secs(1), None, &mut answering).await?;
    processor.done(&field);
    Ok(())
}

fn evil(field: &Field, line: &mut ProcessorLine, operation: &Operation) -> Vec<SentMessage> {
    let amount = match &operation.request {
        Request::Authorize { amount, .. } | Request::Capture { amount, .. } if operation.attempt == 1 => *amount,
        _ => return well(line, operation),
    };
    let question = |message, what, right| SentMessage { message, what, right };
    let more = Amount::new(amount.minor.saturating_add(1), amount.currency);
    let below = Amount::new(-1, amount.currency);
    let other_hold = Operation { hold: HoldId(OpId::from_u128(operation.hold.0.as_u128() ^ 2)), ..operation.clone() };
    let unknown = nobodys(field, &operation.processor);
    let mut all = vec![
        question(approved(line, operation, Amount::new(amount.minor, Currency::EUR)), "another currency", &[505][..]),
        question(approved(line, operation, more), "more than was asked for", &[504][..]),
        question(approved(line, operation, below), "an amount below zero", &[504, 107][..]),
        question(approved(line, &other_hold, amount), "another hold", &[503][..]),
        question(approved(line, &unknown, amount), "an unknown operation", &[501][..]),
    ];
    all.extend(well(line, operation));
    let decline = Decline { class: DeclineClass::Hard, code: "14".into(), retry_after: None };
    all.push(question(of(line, operation, Outcome::Declined(decline)), "the contrary", &[507][..]));
    all
}
