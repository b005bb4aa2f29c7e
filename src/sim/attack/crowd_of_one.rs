//! One processor's certificate on as many connections as it can get.

use super::charger_line::Incoming;
use super::processor_line::{ProcessorLine, processor_id};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::ToProcessor;
use crate::payment::CredentialKind;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "crowd-of-one",
    findings: "S5",
    does: "one processor's certificate on 60 connections at once",
    expects: "at most processors.connections_each_max (16) of them are taken in, the others are closed",
    pause: Duration::from_secs(5),
    currency: 352,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const CONNECTIONS: usize = 60;
/// The gate's built-in `processors.connections_each_max`.
const TAKEN_IN_MAX: usize = 16;
const HELD_FOR: Duration = Duration::from_secs(2);

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = processor_id(&field, 0)?;
    let (mut taken_in, mut last) = (Vec::new(), None);
    for _ in 0..CONNECTIONS {
        let mut line = match ProcessorLine::dial(&field, &id).await {
            Ok(line) => line,
            Err(Trouble(why)) => {
                last = Some(why);
                field.tally.right("not taken in");
                continue;
            }
        };
        line.send_hello(&id, &[CredentialKind::WalletToken]);
        match line.receive(Duration::from_secs(10)).await {
            Incoming::Message(ToProcessor::HelloAck(_)) => taken_in.push(line),
            Incoming::Message(_) => {}
            Incoming::Ended(_) => field.tally.right("not taken in"),
            Incoming::Nothing => field.tally.violation("a connection too many: neither greeted nor closed"),
        }
    }
    match taken_in.len() {
        0 => return Err(Trouble(last.unwrap_or_else(|| "no connection at all".to_owned()))),
        count if count <= TAKEN_IN_MAX => field.tally.right_times("taken in", count as u64),
        count => field.tally.violation(format!("{count} connections of one processor are taken in")),
    }
    field.pause(HELD_FOR).await;
    Ok(())
}
