//! Thousands of answers to operations that do not exist.

use super::card_numbers::nobodys;
use super::charger_line::{ANSWER, Incoming};
use super::processor_line::{ProcessorLine, processor_id};
use super::simulated_processor::{approved, judge};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::ToProcessor;
use crate::payment::CredentialKind;
use crate::units::{Amount, OpId};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "refused-answers",
    findings: "S15",
    does: "2,000 answers a round to operations that were never requested",
    expects: "each is refused (501), and the log does not grow with them",
    pause: Duration::from_secs(4),
    currency: 985,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const ANSWERS: u32 = 2_000;
/// Fewer than the window for callbacks.
const AT_ONCE: u32 = 500;

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let id = processor_id(&field, 0)?;
    let mut line = ProcessorLine::greeted(&field, &id, &[CredentialKind::WalletToken]).await?;
    let mut operation = nobodys(&field, &id);
    for _ in 0..ANSWERS / AT_ONCE {
        for _ in 0..AT_ONCE {
            operation.id = OpId::from_u128(u128::from(field.rng.bits()) << 64 | u128::from(field.rng.bits()));
            let message = approved(&mut line, &operation, Amount::new(100, field.currency));
            line.send(&message);
        }
        for _ in 0..AT_ONCE {
            match line.receive(ANSWER).await {
                Incoming::Message(ToProcessor::Nack { code, .. }) => {
                    judge(&field, "answer", &Incoming::Message(Some(code)), &[501]);
                }
                Incoming::Message(ToProcessor::Ack { .. }) => judge(&field, "answer", &Incoming::Message(None), &[501]),
                Incoming::Message(_) => {}
                Incoming::Ended(ended) => return Err(Trouble(ended.text)),
                Incoming::Nothing => {
                    field.tally.violation("an answer is neither acknowledged nor refused");
                    return Ok(());
                }
            }
        }
        if !field.goes_on() {
            break;
        }
    }
    Ok(())
}
