//! One message of a processor, again and again while it is in flight.

use super::card_numbers::nobodys;
use super::charger_line::{ANSWER, Incoming};
use super::processor_line::{ProcessorLine, processor_id};
use super::simulated_processor::judge;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{FromProcessor, ToProcessor};
use crate::payment::{CredentialKind, Notification, NotificationKind};
use crate::units::Amount;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "repeated-callback",
    findings: "S16",
    does: "one report 5,000 times in a row without waiting for its answer, then another one",
    expects: "the connection stays, and both reports are answered (501, 508)",
    pause: Duration::from_secs(4),
    currency: 348,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const TIMES: u32 = 5_000;

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = processor_id(&field, 0)?;
    let mut line = ProcessorLine::greeted(&field, &id, &[CredentialKind::WalletToken]).await?;
    let hold = nobodys(&field, &id).hold;
    let (kind, amount) = (NotificationKind::DisputeOpened, Amount::new(100, field.currency));
    let mut report =
        Notification { callback: line.fresh_callback(), hold, kind, amount, occurred_at: field.now().wall };
    for _ in 0..TIMES {
        line.send(&FromProcessor::Notification(report.clone()));
    }
    let repeated = report.callback;
    report.callback = line.fresh_callback();
    line.send(&FromProcessor::Notification(report.clone()));
    let mut answered = false;
    loop {
        match line.receive(ANSWER).await {
            Incoming::Message(ToProcessor::Nack { callback, .. } | ToProcessor::Ack { callback })
                if callback == repeated =>
            {
                answered = true;
            }
            Incoming::Message(ToProcessor::Nack { callback, code, .. }) if callback == report.callback => {
                judge(&field, "report of an unknown hold", &Incoming::Message(Some(code)), &[501, 508]);
                break;
            }
            Incoming::Message(_) => {}
            Incoming::Ended(ended) => {
                field.tally.violation(format!("one message, repeated, ends the connection: {}", ended.text));
                return Ok(());
            }
            Incoming::Nothing => {
                field.tally.violation("the message behind a repeated one is not answered");
                return Ok(());
            }
        }
    }
    if answered {
        field.tally.right("repeated message answered")
    } else {
        field.tally.violation("a repeated message is not answered")
    }
    Ok(())
}
