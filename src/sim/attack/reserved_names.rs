//! Names that the gate keeps for itself.

use super::charger_line::Incoming;
use super::processor_line::ProcessorLine;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::Subject;
use crate::payment::CredentialKind;
use crate::units::ProcessorId;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "reserved-names",
    findings: "S18",
    does: "asks for certificates of processors called `account:NAME`, and says Hello in such a name with a good one",
    expects: "no such certificate is signed, and the connection is closed (203)",
    pause: Duration::from_secs(6),
    currency: 946,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

async fn attack(field: Field) -> Result<(), Trouble> {
    for name in ["account:fleet-under-attack", "account:evil", "account:"] {
        let id = ProcessorId::new(name).map_err(Trouble::of)?;
        match field.ways.certificate(&Subject::Processor(id.clone())) {
            Err(_) => field.tally.right("no certificate"),
            Ok(_) => field.tally.violation(format!("a certificate for the processor `{name}`")),
        }
        let own = super::processor_line::processor_id(&field, 0)?;
        let stream = field.dial(&Subject::Processor(own)).await?;
        let mut line = ProcessorLine::over(stream, &id, &field);
        line.send_hello(&id, &[CredentialKind::WalletToken]);
        match line.receive(Duration::from_secs(10)).await {
            Incoming::Ended(ended) => field.tally.right(format!("Hello: {}", ended.word())),
            other => field.tally.violation(format!("a Hello of `{name}`: {other:?}")),
        }
    }
    Ok(())
}
